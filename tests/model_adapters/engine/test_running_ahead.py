"""Decode steps that start before the tokens of the step ahead are read give the answers of transformers' greedy stream.

The expected answers are cut from streams that transformers generates: at a budget, a stop id, a stop string, or after a
token whose embedding is NaN.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import count

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.records import Request
from model_adapters.engine.engine import Engine
from model_adapters.engine.forward.decode_graph import Choices, DecodeSteps, Work
from model_adapters.engine.scheduling.sequence import Generation
from model_adapters.tokenizer import HfTokenizer
from tests.model_adapters.engine.prompts import make_requests, random_prompt, transformers_generate
from tests.model_adapters.engine.recorder import Refuser, Repeater
from tests.model_adapters.printable_tokenizer import printable_tokenizer
from tests.model_adapters.small_models import EOS_ID, small_model

TOKENIZER = HfTokenizer(printable_tokenizer().backend_tokenizer, name="printable")
PROMPTS = tuple(random_prompt(tokens) for tokens in (30, 37, 45, 28, 61, 33))
STREAM = 16


@lru_cache(maxsize=16)
def stream(prompt: tuple[int, ...]) -> tuple[int, ...]:
    return transformers_generate("olmo_hybrid", Request("stream", prompt, STREAM))


@lru_cache(maxsize=8)
def engine_of(slots: int) -> Engine:
    engine = Engine(small_model("olmo_hybrid"), segment_tokens=64, slots=slots, tokenizer=TOKENIZER)
    list(engine.generate([Request("longest", max(PROMPTS, key=len), STREAM)]))  # makes a room for all of them
    return engine


class Ahead(DecodeSteps):
    """Recorded steps on a CPU that either run ahead or not; counts the ones that are started."""

    def __init__(self, engine: Engine, *, ahead: bool) -> None:
        super().__init__(engine.runner, make_recorder=Repeater)
        self._ahead, self.steps = ahead, 0

    @property
    def runs_ahead(self) -> bool:
        return self._ahead and super().runs_ahead

    def start_next(self) -> Choices:
        self.steps += 1
        return super().start_next()


def expected(request: Request, stop_ids: frozenset[int], poisoned: int | None) -> tuple[object, ...]:
    """The tokens, reason and error of an answer cut from transformers' stream."""
    tokens: list[int] = []
    for token_id in stream(request.token_ids):
        if poisoned in tokens:
            return (), "error", f"the logits are not finite after {len(tokens)} new tokens"
        tokens.append(token_id)
        text = TOKENIZER.decode(tokens)
        if token_id in stop_ids or any(stop in text for stop in request.stop):
            return tuple(tokens), "stop", None
        if len(tokens) == request.generation_tokens:
            break
    return tuple(tokens), "length", None


@contextmanager
def nan_embedding(engine: Engine, token_id: int | None) -> Iterator[None]:
    weight = engine.runner.model.get_input_embeddings().weight
    kept = weight.detach().clone()
    with torch.no_grad():
        if token_id is not None:
            weight[token_id] = torch.nan
    try:
        yield
    finally:
        with torch.no_grad():
            weight.copy_(kept)


def run(
    engine: Engine, requests: Sequence[Request], *, ahead: bool, reads_late: bool
) -> tuple[dict[str, Generation], int]:
    engine.executor.decoder = decoder = Ahead(engine, ahead=ahead)
    engine.reads_late = reads_late
    found = {one.request_id: one for one in engine.generate(requests)}
    cache = engine.cache
    assert cache is not None
    assert cache.length_N.tolist() == cache.lengths
    return found, decoder.steps


@given(data=st.data(), slots=st.integers(1, 3), reads_late=st.booleans())
@settings(max_examples=15, deadline=None)
def test_answers_and_steps(data: st.DataObject, slots: int, reads_late: bool) -> None:
    order = data.draw(st.permutations(range(len(PROMPTS))))[: data.draw(st.integers(1, len(PROMPTS)))]
    streams = {index: stream(PROMPTS[index]) for index in order}
    written = sorted({token_id for tokens in streams.values() for token_id in tokens})
    stop_ids = data.draw(st.frozensets(st.sampled_from(written), max_size=2)) | {EOS_ID}
    poisoned = data.draw(st.none() | st.sampled_from(sorted(set(written).difference(*PROMPTS)) or [None]))
    requests = []
    for index in order:
        budget = data.draw(st.integers(1, STREAM))
        text = TOKENIZER.decode(streams[index])
        first = data.draw(st.integers(0, max(0, len(text) - 2)))
        stop = data.draw(st.sampled_from([(), (text[first : first + 2],)]))
        requests.append(Request(str(index), PROMPTS[index], budget, stop=stop))
    engine = engine_of(slots)
    engine.stop_ids = stop_ids
    with nan_embedding(engine, poisoned):
        found, steps = run(engine, requests, ahead=True, reads_late=reads_late)
        single, least = run(engine, requests, ahead=False, reads_late=reads_late)
    answers = {name: (one.token_ids, one.finish_reason, one.error) for name, one in found.items()}
    assert answers == {one.id: expected(one, stop_ids, poisoned) for one in requests}
    assert answers == {name: (one.token_ids, one.finish_reason, one.error) for name, one in single.items()}
    by_rule = sum(one.finish_reason != "length" for one in found.values())
    assert least <= steps <= least + by_rule


@pytest.mark.parametrize("reads_late", [False, True])
def test_a_step_in_vain_whose_logits_are_not_finite_leaves_nothing_behind(reads_late: bool) -> None:
    """An answer ends with a token whose embedding is NaN; a shorter prompt is read into its slot beside a long one."""
    other, long, short = random_prompt(61, seed=1), PROMPTS[4], PROMPTS[3]
    ended = stream(long)[2]
    assert ended not in (*other, *stream(other), *short, *stream(short))
    requests = [Request(str(number), prompt, STREAM) for number, prompt in enumerate((other, long, short))]
    engine = engine_of(2)
    engine.stop_ids = frozenset({ended, EOS_ID})
    with nan_embedding(engine, ended):
        found, _ = run(engine, requests, ahead=True, reads_late=reads_late)
    assert [found[str(number)].token_ids for number in range(3)] == [stream(other), stream(long)[:3], stream(short)]


def test_logits_that_are_not_finite_leave_nothing_in_the_slot_before_a_move() -> None:
    """A neighbour ends, so that the failing sequence is moved while its last step, with NaN, has not been read."""
    neighbour, failing = PROMPTS[1], PROMPTS[4]
    poisoned = stream(failing)[1]
    assert poisoned not in (*neighbour, *stream(neighbour)[:3], *failing, stream(failing)[0])
    ends = TOKENIZER.decode(stream(neighbour)[:2])
    engine = engine_of(2)
    engine.stop_ids = frozenset({EOS_ID})
    requests = [Request("ends", neighbour, STREAM, stop=(ends,)), Request("fails", failing, STREAM)]
    with nan_embedding(engine, poisoned):
        found, _ = run(engine, requests, ahead=True, reads_late=False)
    assert found["ends"].finish_reason == "stop"
    assert found["fails"].error == "the logits are not finite after 2 new tokens"
    assert engine.cache is not None
    assert not any(x.isnan().any() for slot in range(2) for x in engine.cache._tensors(slot, engine.cache.max_tokens))


class Fragile(Repeater):
    """Fails instead of the fifth replay of any recording."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error, self._calls = error, count(1)

    def record(self, work: Work) -> Work:
        replay = super().record(work)

        def fragile() -> None:
            if next(self._calls) == 5:
                raise self._error
            replay()

        return fragile


def test_a_step_that_fails_to_start_costs_no_token_of_the_one_before_it() -> None:
    """The first answer is complete with the sixth token, which has not been read when the next step fails."""
    prompts = PROMPTS[:2]
    engine = engine_of(2)
    engine.stop_ids = frozenset({stream(prompts[0])[6]})
    engine.executor.decoder = DecodeSteps(engine.runner, make_recorder=lambda: Fragile(KeyError("x")))
    found = {one.request_id: one for one in engine.generate(Request(str(i), p, STREAM) for i, p in enumerate(prompts))}
    assert (found["0"].token_ids, found["0"].error) == (stream(prompts[0])[:7], None)
    assert found["1"].error == "KeyError: 'x'"


def test_memory_that_runs_out_with_a_step_in_flight_starts_the_sequences_again() -> None:
    requests = make_requests((40, 50, 35), budget=9)
    engine = Engine(small_model("llama"), segment_tokens=64, slots=2)
    recorders = iter([Fragile(torch.OutOfMemoryError("CUDA out of memory.")), Repeater()])
    engine.executor.decoder = DecodeSteps(engine.runner, make_recorder=lambda: next(recorders))
    found = {one.request_id: one.token_ids for one in engine.generate(requests)}
    assert found == {request.id: transformers_generate("llama", request) for request in requests}


@pytest.mark.parametrize("recorder", [Repeater, Refuser])
def test_a_stream_that_is_abandoned_with_a_step_in_flight_leaves_nothing_behind(recorder: type[Repeater]) -> None:
    requests = make_requests((40, 50, 35), budget=9)
    engine = Engine(small_model("olmo_hybrid"), segment_tokens=64, slots=2)
    engine.executor.decoder = DecodeSteps(engine.runner, make_recorder=recorder)
    for _ in engine.generate([Request("short", requests[0].token_ids, 3), *requests]):
        break
    found = {one.request_id: one.token_ids for one in engine.generate(requests)}
    assert found == {request.id: transformers_generate("olmo_hybrid", request) for request in requests}
