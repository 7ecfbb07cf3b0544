"""A recorded decode step gives the same tokens as ordinary steps, whatever inactive slots contain.

Without a GPU, a replay repeats the step's work on the same fixed addresses.
"""

from collections.abc import Callable

import pytest
import torch

from model_adapters.engine.engine import Engine
from model_adapters.engine.forward.decode_graph import (
    DecodeSteps,
    StaticStep,
    Work,
    sequence_bucket,
)
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.memory.cost import rounded_length
from model_adapters.engine.memory.slotted_cache import SlottedCache
from model_adapters.kernels.greedy_choice.choice import greedy_choice
from tests.model_adapters.engine.prompts import make_requests, random_prompt, transformers_generate
from tests.model_adapters.engine.recorder import Refuser, Repeater
from tests.model_adapters.small_models import FAMILIES, small_model

SLOTS, MAX_TOKENS = 5, 160


def filled_cache(runner: ModelRunner, lengths: tuple[int, ...]) -> SlottedCache:
    cache = runner.new_cache(slots=SLOTS, max_tokens=MAX_TOKENS)
    for slot, length in enumerate(lengths):
        runner.prefill(cache, slot, random_prompt(length), 50)
    return cache


def tensors_of(cache: SlottedCache, slots: int) -> list[torch.Tensor]:
    return [tensor.clone() for slot in range(slots) for tensor in cache._tensors(slot, cache.lengths[slot])]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lengths", [(30,), (90, 3, 61)])
def test_a_static_step_is_an_ordinary_step(family: str, lengths: tuple[int, ...]) -> None:
    """The step has one more slot than active sequences, and that slot is completely full."""
    runner = ModelRunner(small_model(family, sliding_window=40) if family == "olmo3" else small_model(family))
    expected_cache, cache = filled_cache(runner, lengths), filled_cache(runner, lengths)
    runner.prefill(cache, len(lengths), random_prompt(MAX_TOKENS), 50)
    step, ids = StaticStep(runner, cache), [7 + slot for slot in range(len(lengths))]
    for _ in range(3):
        id_B1 = torch.tensor(ids)[:, None]
        expected = greedy_choice(runner.decode(expected_cache, id_B1, max(expected_cache.lengths) + 1)).tolist()
        step.load(ids)
        step.run(len(lengths) + 1, MAX_TOKENS)
        assert step.advance().tolist() == expected
        ids = expected
    assert cache.lengths[: len(lengths)] == expected_cache.lengths[: len(lengths)]
    assert cache.length_N[: len(lengths)].tolist() == cache.lengths[: len(lengths)]
    assert cache.length_N[len(lengths)] == MAX_TOKENS
    pairs = zip(tensors_of(cache, len(lengths)), tensors_of(expected_cache, len(lengths)), strict=True)
    for found, truth in pairs:
        torch.testing.assert_close(found, truth, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_generation_through_recorded_steps_equals_transformers(family: str) -> None:
    """Sequences end at different times: slots are released, moved and refilled under the same recordings."""
    requests = make_requests((350, 37, 1, 233, 64, 500, 130), budget=10)
    engine = Engine(small_model(family), segment_tokens=100, slots=3)
    recorders: list[Repeater] = []

    def make_recorder() -> Repeater:
        recorders.append(Repeater())
        return recorders[-1]

    engine.executor.decoder = DecodeSteps(engine.runner, make_recorder=make_recorder)
    found = {generation.request_id: generation.token_ids for generation in engine.generate(requests)}
    assert found == {request.id: transformers_generate(family, request) for request in requests}
    assert sum(recorder.replays for recorder in recorders) > sum(recorder.runs for recorder in recorders) > 0
    assert engine.decoder.path == "CUDA graphs"


def decoded(runner: ModelRunner, make_recorder: Callable[[], Repeater] | None, steps: int) -> list[list[int | None]]:
    cache = filled_cache(runner, (20, 30))
    decoder, ids, found = DecodeSteps(runner, make_recorder=make_recorder), [1, 2], []
    for _ in range(steps):
        found.append(decoder.start(cache, ids).read())
        ids = [token_id for token_id in found[-1] if token_id is not None]
    return found


def test_steps_run_as_they_are_where_recording_fails(capsys: pytest.CaptureFixture[str]) -> None:
    runner = ModelRunner(small_model("olmo_hybrid"))
    assert decoded(runner, Refuser, 5) == decoded(runner, None, 5)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "single launches" in told[0]
    assert "not permitted when stream is capturing" in told[0]


class Starved(Repeater):
    def record(self, work: Work) -> Work:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")


def test_a_lack_of_memory_for_recordings_is_forgotten_with_the_cache() -> None:
    """The next cache is smaller, so steps are recorded again."""
    runner, recorder = ModelRunner(small_model("llama")), Repeater()
    recorders = iter([Starved(), recorder])
    decoder = DecodeSteps(runner, make_recorder=lambda: next(recorders))
    for _ in range(2):
        decoder.start(filled_cache(runner, (20,)), [5]).read()
    assert (decoder.path, decoder.refused) == ("single launches", "out of memory")
    decoder.drop()
    cache = filled_cache(runner, (20,))
    for _ in range(3):
        decoder.start(cache, [5]).read()
    assert (decoder.path, recorder.runs, recorder.replays) == ("CUDA graphs", 1, 2)


def test_recordings_are_dropped_with_their_cache() -> None:
    runner, recorders = ModelRunner(small_model("llama")), [Repeater(), Repeater(), Repeater()]
    waiting = iter(recorders)
    decoder = DecodeSteps(runner, make_recorder=lambda: next(waiting))
    for cache in (filled_cache(runner, (20,)), filled_cache(runner, (25,))):
        for _ in range(3):
            decoder.start(cache, [5]).read()
    assert [(recorder.runs, recorder.replays) for recorder in recorders] == [(1, 2), (1, 2), (0, 0)]


def test_a_failed_sequence_does_not_reach_the_others() -> None:
    """With NaN in one slot's keys and states, its token is None, the neighbour's is right, and the slot is reusable."""
    runner = ModelRunner(small_model("olmo_hybrid"))
    clean, cache = filled_cache(runner, (40, 41)), filled_cache(runner, (40, 41))
    for tensor in cache._tensors(1, 41):
        tensor.fill_(torch.nan)
    expected = DecodeSteps(runner).start(clean, [3, 4]).read()
    decoder = DecodeSteps(runner, make_recorder=Repeater)
    found = decoder.start(cache, [3, 4]).read()
    assert found == [expected[0], None]
    cache.erase(1)
    # The slot is the free neighbour in a recorded step of one sequence, and is then refilled.
    for _ in range(3):
        decoder.start(cache, [3]).read()
    runner.prefill(cache, 1, random_prompt(41), 50)
    assert decoder.start(cache, [3, 4]).read()[1] == expected[1]


@pytest.mark.parametrize(
    ("sequences", "slots", "bucket"), [(1, 16, 1), (2, 16, 2), (3, 16, 4), (9, 16, 16), (9, 11, 11), (11, 11, 11)]
)
def test_sequences_are_rounded_up_to_powers_of_two(sequences: int, slots: int, bucket: int) -> None:
    assert sequence_bucket(sequences, slots) == bucket


def test_places_are_rounded_up_by_at_most_a_quarter() -> None:
    for places in range(1, 5000):
        assert places <= rounded_length(places) <= max(places * 1.25, places)


def test_greedy_choice_marks_logits_that_are_not_finite() -> None:
    logits_BV = torch.tensor([[0.0, 2.0, 1.0], [0.0, torch.nan, 1.0], [torch.inf, 0.0, 0.0], [3.0, 0.0, 0.0]])
    assert greedy_choice(logits_BV).tolist() == [1, -1, -1, 0]
