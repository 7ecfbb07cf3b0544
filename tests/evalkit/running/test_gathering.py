"""Completions of one sample are joined once the last of them is there."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.records import Completion, ContinuationScore, Request, Sample, SampleKey
from evalkit.running.gathering import Gathering, join_completions

DONE = Completion("x", "text", 10, 3, "length", 0.5, 0.25)


def sample(name: str) -> Sample:
    return Sample(SampleKey(name, 0, 0, 0), "prompt", "", (), 0, 1)


@given(st.permutations(["a#0", "a#1", "a#2", "b"]))
def test_the_order_of_the_answers_does_not_matter(order: list[str]) -> None:
    gathering = Gathering()
    gathering.ask(sample("a"), [Request(f"a#{n}", (1,), 0) for n in range(3)])
    gathering.ask(sample("b"), [Request("b", (1,), 0)])
    joined = {}
    for name in order:
        answered = gathering.answer(replace(DONE, request_id=name, text=name))
        assert (answered is None) == (
            name != order[-1] and any(n[0] == name[0] for n in order[order.index(name) + 1 :])
        )
        if answered is not None:
            joined[answered[0].key.task] = answered[1]
    assert joined["a"].text == "a#0a#1a#2"
    assert joined["a"].request_id == "a/0/0/0"
    assert (joined["a"].prompt_tokens, joined["a"].completion_tokens, joined["a"].prefill_seconds) == (30, 9, 1.5)
    assert joined["b"] == replace(DONE, request_id="b/0/0/0", text="b")


def test_scores_stand_one_after_the_other() -> None:
    first = replace(DONE, log_probabilities=(-1.0, -2.0), is_greedy=True)
    second = replace(DONE, log_probabilities=(-3.0,), is_greedy=False)
    joined = join_completions("x", [first, second])
    assert (joined.log_probabilities, joined.is_greedy) == ((-1.0, -2.0, -3.0), False)
    scores = [ContinuationScore(-float(n), is_greedy=False) for n in range(3)]
    parts = [replace(DONE, continuations=tuple(scores[:2])), replace(DONE, continuations=(scores[2],))]
    assert join_completions("x", parts).continuations == tuple(scores)


def test_one_failure_fails_the_whole() -> None:
    failed = replace(DONE, finish_reason="error", error="out of memory", text="")
    joined = join_completions("x", [replace(DONE, log_probabilities=(-1.0,)), failed])
    assert (joined.error, joined.finish_reason, joined.text, joined.log_probabilities) == (
        *("out of memory", "error", ""),
        None,
    )


def test_a_name_is_asked_once() -> None:
    gathering = Gathering()
    gathering.ask(sample("a"), [Request("a", (1,), 0)])
    with pytest.raises(ValueError, match="two requests are called a"):
        gathering.ask(sample("b"), [Request("a", (1,), 0)])
