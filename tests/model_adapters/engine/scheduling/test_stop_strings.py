"""Stop strings end an answer at the token that completes one, however tokens and characters are cut."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.records import Completion, Request
from evalkit.running.text_requests import cut_at
from model_adapters.engine.engine import Engine
from model_adapters.engine.scheduling.stop_strings import reaches_stop
from model_adapters.scripted import SCRIPTED_IDENTITY
from model_adapters.tokenizer import HfTokenizer
from model_adapters.transformers_adapter import TransformersAdapter
from tests.model_adapters.engine.prompts import random_prompt, transformers_generate
from tests.model_adapters.printable_tokenizer import MERGED, printable_tokenizer
from tests.model_adapters.small_models import VOCAB_SIZE, small_model

BUDGET = 40
TOKENIZER = HfTokenizer(printable_tokenizer().backend_tokenizer, name="printable")
MERGED_IDS = [index for index in range(VOCAB_SIZE) if TOKENIZER.decode([index]) in MERGED]
IDS = [*TOKENIZER.encode("abc \né🙂!<eos>"), *MERGED_IDS]
STOPS = ["a", "ab", "b\n", "\n", "\n\n", "é", "é!", "🙂", "c a", "<eos>", "\n<eos>", "abcab", ""]


@given(st.lists(st.sampled_from(IDS), min_size=1, max_size=40), st.lists(st.sampled_from(STOPS), max_size=3))
def test_the_last_tokens_tell_what_the_whole_text_does(token_ids: list[int], stop: list[str]) -> None:
    for count in range(1, len(token_ids) + 1):
        answer = token_ids[:count]
        texts = TOKENIZER.decode(answer), TOKENIZER.spell(answer)
        found = reaches_stop(stop, answer, TOKENIZER)
        assert found == any(one in text for one in stop if one for text in texts)
        if found:
            return  # no more tokens are generated


def test_a_character_stops_with_its_last_byte() -> None:
    first, *others = TOKENIZER.encode("é")
    assert len(others) == 1
    assert not reaches_stop(["é"], [first], TOKENIZER)
    assert reaches_stop(["é"], [first, *others], TOKENIZER)


def stops_of(text: str) -> list[tuple[str, ...]]:
    """Stop strings of one to five characters in a text, one that does not occur, and several at once."""
    texts = [text[place : place + length] for place, length in ((9, 1), (14, 2), (19, 3), (24, 5))]
    return [*((one,) for one in texts), ("nowhere in it",), (texts[2], "nowhere", texts[0]), ("",), ()]


def expected(answer: Sequence[int], stop: tuple[str, ...]) -> tuple[str, int]:
    """The text and number of tokens up to a stop string, found in transformers' whole answer."""
    counts = range(1, len(answer) + 1)
    reached = (count for count in counts if any(one in TOKENIZER.decode(answer[:count]) for one in stop if one))
    count = next(reached, len(answer))
    return cut_at(TOKENIZER.decode(answer[:count]), stop), count


@pytest.mark.parametrize("family", ["olmo_hybrid", "llama"])
def test_each_answer_of_a_batch_ends_at_its_own_stop_string(family: str) -> None:
    requests, wanted = [], {}
    for prompt in range(3):
        whole = Request("whole", random_prompt(30 + 17 * prompt), BUDGET)
        answer = transformers_generate(family, whole)
        for number, stop in enumerate(stops_of(TOKENIZER.decode(answer))):
            requests.append(Request(f"{prompt}/{number}", whole.token_ids, BUDGET, stop=stop))
            wanted[requests[-1].id] = expected(answer, stop)
    adapter = TransformersAdapter(small_model(family), TOKENIZER, SCRIPTED_IDENTITY, batch_sequences=5)
    found = list(adapter.generate(requests))
    assert {one.request_id: (one.text, one.completion_tokens) for one in found} == wanted
    assert len({tokens for _, tokens in wanted.values()}) > 4
    assert {one.finish_reason for one in found if one.completion_tokens < BUDGET} == {"stop"}


def generated(requests: Sequence[Request], monkeypatch: pytest.MonkeyPatch, error: Exception) -> dict[str, Completion]:
    """Answers to requests while the search for the stop string "broken" raises `error`."""
    spell = HfTokenizer.spell

    def fail(self: HfTokenizer, token_ids: Sequence[int]) -> str:
        if len(token_ids) > 3:
            raise error
        return spell(self, token_ids)

    monkeypatch.setattr(HfTokenizer, "spell", fail)
    adapter = TransformersAdapter(small_model("llama"), TOKENIZER, SCRIPTED_IDENTITY)
    return {one.request_id: one for one in adapter.generate(requests)}


def test_an_error_while_looking_for_one_is_that_request_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = random_prompt(30)
    requests = [Request("broken", prompt, BUDGET, stop=("no such text",)), Request("other", prompt, BUDGET)]
    found = generated(requests, monkeypatch, ValueError("no such token"))
    assert (found["broken"].error, found["broken"].text) == ("ValueError: no such token", "")
    assert found["other"].completion_tokens == len(transformers_generate("llama", requests[1]))


def test_without_a_tokenizer_the_request_is_refused() -> None:
    (found,) = Engine(small_model("llama")).generate([Request("a", random_prompt(30), BUDGET, stop=("x",))])
    assert found.error == "stop strings need a tokenizer, and this engine has none"
