"""The scripted model keeps the Adapter's promises, and its tokenizer is lossless."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import RequestFailedError
from evalkit.records import Completion, ContinuationScore, Request
from model_adapters.scripted import BOS, ScriptedAdapter, ScriptedReply, ScriptedTokenizer

TOKENIZER = ScriptedTokenizer()


def request(id: str = "vt/512/0/42", text: str = "What is it?", generation_tokens: int = 8) -> Request:
    return Request(id, tuple(TOKENIZER.encode_prompt(text)), generation_tokens)


def answer(adapter: ScriptedAdapter, asked: Request | None = None) -> Completion:
    (completion,) = adapter.generate([asked or request()])
    return completion


@given(st.text())
def test_decode_undoes_encode_and_offsets_cover_the_text(text: str) -> None:
    ids, offsets = TOKENIZER.encode_with_offsets(text)
    assert ids == TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert [TOKENIZER.decode([token_id]) for token_id in ids] == [text[start:end] for start, end in offsets]
    assert "".join(text[start:end] for start, end in offsets) == text


@given(st.text(), st.text())
def test_a_seam_never_costs_a_token(first: str, second: str) -> None:
    apart = len(TOKENIZER.encode(first)) + len(TOKENIZER.encode(second))
    assert len(TOKENIZER.encode(first + second)) <= apart


@given(st.text())
def test_ids_fit_signed_64_bit_integers(text: str) -> None:
    assert all(BOS < token_id < 2**57 for token_id in TOKENIZER.encode(text))


def test_words_split_as_documented() -> None:
    ids, offsets = TOKENIZER.encode_with_offsets("The special number, 1234567.")
    pieces = [TOKENIZER.decode([token_id]) for token_id in ids]
    assert pieces == ["The", " specia", "l", " number", ",", " 123456", "7", "."]
    assert offsets[1] == (3, 10)


def test_bos_is_added_to_prompts_only_and_never_decoded() -> None:
    tokenizer = ScriptedTokenizer(adds_bos=True)
    assert tokenizer.encode_prompt("a b") == [BOS, *tokenizer.encode("a b")]
    assert tokenizer.add_special_tokens([]) == [BOS]
    assert tokenizer.decode(tokenizer.encode_prompt("a b")) == "a b"
    assert tokenizer.fingerprint != TOKENIZER.fingerprint


@pytest.mark.parametrize("token_id", [0, 7, 2 << 8])
def test_ids_that_spell_nothing_are_refused(token_id: int) -> None:
    with pytest.raises(ValueError, match="is not an id"):
        TOKENIZER.decode([token_id])


def test_a_mapping_answers_by_request_id() -> None:
    completion = answer(ScriptedAdapter({"vt/512/0/42": "A, B"}, prefill_seconds=0.5, decode_seconds=0.25))
    assert completion == Completion("vt/512/0/42", "A, B", 4, 3, "stop", 0.5, 0.25)


def test_a_callable_answers_from_the_request() -> None:
    adapter = ScriptedAdapter(lambda asked: TOKENIZER.decode(asked.token_ids)[:4])
    assert answer(adapter).text == "What"


def test_a_text_beyond_the_budget_is_cut() -> None:
    completion = answer(ScriptedAdapter({"vt/512/0/42": "one two three"}), request(generation_tokens=2))
    assert (completion.text, completion.completion_tokens, completion.finish_reason) == ("one two", 2, "length")


def test_a_reply_can_set_everything() -> None:
    reply = ScriptedReply("x", finish_reason="length", prefill_seconds=2.0, decode_seconds=3.0)
    assert answer(ScriptedAdapter({"vt/512/0/42": reply})) == Completion("vt/512/0/42", "x", 4, 1, "length", 2.0, 3.0)


def test_failures_end_the_request_and_not_the_stream() -> None:
    def reply(asked: Request) -> str | ScriptedReply:
        if asked.id == "raises":
            raise RequestFailedError("NaN logits")
        return ScriptedReply(error="out of memory") if asked.id == "fails" else "fine"

    completions = list(ScriptedAdapter(reply).generate([request("raises"), request("fails"), request("works")]))
    assert [(c.text, c.finish_reason, c.error) for c in completions] == [
        ("", "error", "NaN logits"),
        ("", "error", "out of memory"),
        ("fine", "stop", None),
    ]


def test_an_id_without_a_reply_is_loud() -> None:
    with pytest.raises(KeyError, match="vt/512/0/42"):
        answer(ScriptedAdapter({}))


def test_requests_are_pulled_a_batch_at_a_time_and_answered_in_reverse() -> None:
    pulled: list[str] = []

    def stream() -> Iterator[Request]:
        for id in "abcde":
            pulled.append(id)
            yield request(id)

    adapter = ScriptedAdapter(lambda asked: asked.id, batch_sequences=2)
    completions = adapter.generate(stream())
    assert next(completions).request_id == "b"
    assert pulled == ["a", "b"]
    assert [completion.request_id for completion in completions] == ["a", "d", "c", "e"]
    assert [asked.id for asked in adapter.requests] == list("abcde")


def test_continuations_are_scored_from_the_script() -> None:
    scores = (ContinuationScore(-1.5, True), ContinuationScore(-3.0, False))
    asked = Request("q", (1, 2), 0, continuations=((3,), (4, 5)))
    adapter = ScriptedAdapter({"q": ScriptedReply(continuations=scores)})
    assert next(adapter.generate([asked])).continuations == scores
    failed = next(ScriptedAdapter({"q": ScriptedReply(error="out of memory")}).generate([asked]))
    assert (failed.error, failed.continuations) == ("out of memory", None)


def test_a_script_must_score_every_continuation() -> None:
    asked = Request("q", (1, 2), 0, continuations=((3,), (4, 5)))
    with pytest.raises(ValueError, match="q requests 2 continuations, not 1"):
        next(ScriptedAdapter({"q": ScriptedReply(continuations=(ContinuationScore(-1.0, True),))}).generate([asked]))
