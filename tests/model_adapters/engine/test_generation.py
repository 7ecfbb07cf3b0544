"""Greedy generation equals `transformers.generate`, alone and batched, and pulls requests lazily."""

from collections.abc import Iterator

import pytest

from evalkit.records import Request
from model_adapters.engine.engine import Engine, stop_ids
from model_adapters.engine.memory.cost import rounded_length
from tests.model_adapters.engine.prompts import make_requests, random_prompt, transformers_generate
from tests.model_adapters.small_models import EOS_ID, FAMILIES, small_model

LENGTHS = (350, 37, 1, 233, 64, 500, 130)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("slots", [1, 3])
def test_tokens_equal_transformers_whatever_the_batch(family: str, slots: int) -> None:
    requests = make_requests(LENGTHS, budget=10)
    expected = {request.id: transformers_generate(family, request) for request in requests}
    assert len(set(expected.values())) == len(requests)
    engine = Engine(small_model(family), segment_tokens=100, slots=slots)
    generations = {generation.request_id: generation for generation in engine.generate(requests)}
    assert {key: generation.token_ids for key, generation in generations.items()} == expected
    for request in requests:
        generation = generations[request.id]
        assert generation.prompt_tokens == len(request.token_ids)
        assert generation.finish_reason == ("stop" if generation.token_ids[-1] == EOS_ID else "length")
        assert generation.error is None
        assert generation.prefill_seconds > 0
        assert (generation.decode_seconds > 0) == (len(generation.token_ids) > 1)


@pytest.mark.parametrize("family", ["olmo_hybrid", "olmo3"])
def test_first_tokens_read_late_are_the_same(family: str) -> None:
    """As on a GPU; sequences with a budget of one token end in slots that others wait for."""
    requests = [
        Request(str(index), random_prompt(tokens), budget)
        for index, (tokens, budget) in enumerate(zip(LENGTHS, (3, 1, 1, 5, 1, 2, 1), strict=True))
    ]
    engine = Engine(small_model(family), segment_tokens=100, slots=3)
    engine.reads_late = True
    generations = list(engine.generate(requests))
    assert {generation.request_id: generation.token_ids for generation in generations} == {
        request.id: transformers_generate(family, request) for request in requests
    }
    assert len(generations) == len(requests)
    assert all(generation.prefill_seconds > 0 for generation in generations)


def test_stops_at_any_of_several_ids() -> None:
    request = Request("0", random_prompt(90), 24)
    free = transformers_generate("llama", request)
    model = small_model("llama")
    assert model.generation_config is not None
    model.generation_config.eos_token_id = [EOS_ID, free[5]]
    (generation,) = Engine(model).generate([request])
    assert generation.token_ids == free[: free.index(free[5]) + 1]
    assert generation.finish_reason == "stop"


def test_stop_ids_of_the_configuration_serve_where_generation_has_none() -> None:
    model = small_model("llama", eos_token_id=7)
    assert model.generation_config is not None
    model.generation_config.eos_token_id = None
    assert stop_ids(model) == {7}
    model.config.eos_token_id = None
    assert stop_ids(model) == frozenset()


def test_one_token_budget() -> None:
    request = Request("0", random_prompt(40), 1)
    (generation,) = Engine(small_model("olmo_hybrid")).generate([request])
    assert generation.token_ids == transformers_generate("olmo_hybrid", request)
    assert generation.decode_seconds == 0.0


def test_requests_are_pulled_when_a_slot_is_free() -> None:
    pulled: list[str] = []
    finished: list[str] = []

    def stream() -> Iterator[Request]:
        for index in range(8):
            # Never more than the number of slots: pulled but unanswered requests are bounded.
            assert len(pulled) - len(finished) < 2
            pulled.append(str(index))
            yield Request(str(index), random_prompt(20 + index), 3 + index % 3)

    for generation in Engine(small_model("llama"), slots=2).generate(stream()):
        finished.append(generation.request_id)  # noqa: PERF401  # the stream looks at it in between
    assert sorted(finished) == pulled == [str(index) for index in range(8)]


def test_nothing_is_pulled_before_the_first_answer_is_asked_for() -> None:
    def stream() -> Iterator[Request]:
        raise AssertionError("pulled")
        yield

    Engine(small_model("llama")).generate(stream())


def test_a_finished_sequence_frees_its_slot_at_once() -> None:
    """One long answer and many short ones, which pass through the other slot."""
    requests = [Request("long", random_prompt(50), 40)] + [Request(str(i), random_prompt(30 + i), 2) for i in range(6)]
    model = small_model("llama")
    assert model.generation_config is not None
    model.generation_config.eos_token_id = None
    model.config.eos_token_id = None
    order = [generation.request_id for generation in Engine(model, slots=2).generate(requests)]
    assert order == ["0", "1", "2", "3", "4", "5", "long"]


def test_longer_requests_get_a_larger_cache_and_much_shorter_ones_more_slots() -> None:
    engine = Engine(small_model("llama"), segment_tokens=64)
    sizes = []
    # With a budget of one token each request ends before the next is pulled.
    requests = [Request(str(index), random_prompt(tokens), 1) for index, tokens in enumerate((40, 300, 280, 30))]
    for _ in engine.generate(requests):
        assert engine.plan is not None
        sizes.append(engine.plan.max_tokens)
    assert sizes == [rounded_length(41), rounded_length(301), rounded_length(301), rounded_length(31)]


def test_abandoned_generation_leaves_the_engine_usable() -> None:
    engine = Engine(small_model("llama"), slots=2)
    requests = make_requests((60, 61, 62), budget=5)
    next(engine.generate(requests))
    again = {generation.request_id: generation.token_ids for generation in engine.generate(requests)}
    assert again == {request.id: transformers_generate("llama", request) for request in requests}


@pytest.mark.parametrize(
    ("need", "rounded"), [(1, 1), (7, 7), (9, 10), (3_900, 4_096), (4_096, 4_096), (60_000, 65_536), (65_536, 65_536)]
)
def test_slot_sizes_are_shared_by_prompts_of_one_context(need: int, rounded: int) -> None:
    assert rounded_length(need) == rounded
