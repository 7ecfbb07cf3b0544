"""Completions of the requests of one sample as one."""

from dataclasses import replace

from evalkit.records import Completion, ContinuationScore

DONE = Completion("x", "text", 10, 3, "length", 0.5, 0.25)


def test_scores_stand_one_after_the_other() -> None:
    first = replace(DONE, log_probabilities=(-1.0, -2.0), is_greedy=True)
    second = replace(DONE, log_probabilities=(-3.0,), is_greedy=False)
    joined = Completion.joined("x", [first, second])
    assert (joined.log_probabilities, joined.is_greedy) == ((-1.0, -2.0, -3.0), False)
    scores = [ContinuationScore(-float(n), is_greedy=False) for n in range(3)]
    parts = [replace(DONE, continuations=tuple(scores[:2])), replace(DONE, continuations=(scores[2],))]
    assert Completion.joined("x", parts).continuations == tuple(scores)


def test_one_failure_fails_the_whole() -> None:
    failed = replace(DONE, finish_reason="error", error="out of memory", text="")
    joined = Completion.joined("x", [replace(DONE, log_probabilities=(-1.0,)), failed])
    assert (joined.error, joined.finish_reason, joined.text, joined.log_probabilities) == (
        *("out of memory", "error", ""),
        None,
    )


def test_one_part_is_the_whole_under_the_samples_name() -> None:
    assert Completion.joined("a/0/0/0", [DONE]) == replace(DONE, request_id="a/0/0/0")
