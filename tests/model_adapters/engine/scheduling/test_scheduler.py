"""The scheduler's decisions for given results, and prompts that share a pass in a real engine."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from evalkit.records import Request
from model_adapters.engine.engine import Engine
from model_adapters.engine.forward.decode_graph import Choices
from model_adapters.engine.forward.model_runner import ModelRunner
from model_adapters.engine.forward.stopwatch import Stopwatch
from model_adapters.engine.memory.passes import Pass
from model_adapters.engine.scheduling.executor import Picked
from model_adapters.engine.scheduling.room import Room
from model_adapters.engine.scheduling.scheduler import Scheduler
from model_adapters.engine.scheduling.sequence import Generation
from model_adapters.engine.scheduling.sequence import Sequence as Progress
from model_adapters.engine.scheduling.work import (
    Decode,
    MakeRoom,
    Prefill,
    ReadTokens,
    Refuse,
    Score,
    ScoreBranches,
    Unread,
    Work,
)
from model_adapters.failures import Failure
from tests.model_adapters.engine.prompts import make_requests, random_prompt, transformers_generate
from tests.model_adapters.small_models import EOS_ID, FAMILIES, small_model

CPU = torch.device("cpu")


def scheduler_of(requests: Sequence[Request]) -> Scheduler:
    """A scheduler with a room of three slots of about 110 tokens, and passes of 100."""
    engine = Engine(small_model("llama"), segment_tokens=100, slots=3)
    scheduler = engine._schedule(iter(requests), None)
    longest = Progress(Request("room", random_prompt(105), 5, prefix_id="a", prefix_tokens=5))
    room = engine.executor.run(MakeRoom(longest), None, ran_out=())
    assert isinstance(room, Room)
    scheduler.room = room
    return scheduler


def started(work: Prefill | Decode, *, runs_ahead: bool = False) -> Unread:
    return Unread(work, Choices(torch.zeros(len(work.sequences)), Stopwatch(CPU)), runs_ahead)


def read(scheduler: Scheduler, picked: list[int | None], seconds: float = 0.0) -> list[Generation]:
    """Let the oldest unread pass have picked these tokens; returns what they end."""
    work = scheduler.next()
    assert isinstance(work, ReadTokens)
    return list(scheduler.apply(work, Picked(picked, seconds)))


def ids(work: Any) -> list[str]:
    return [sequence.request.id for sequence in work.sequences]


def test_short_prompts_share_a_pass_and_are_then_decoded_together() -> None:
    scheduler = scheduler_of([Request(str(i), random_prompt(tokens), 5) for i, tokens in enumerate((60, 30, 20, 99))])
    work = scheduler.next()
    assert isinstance(work, Prefill)
    # The third would exceed the pass.
    assert (ids(work), work.first_slot) == (["0", "1"], 0)
    assert list(scheduler.apply(work, started(work))) == []
    assert read(scheduler, [7, 7]) == []
    work = scheduler.next()
    assert isinstance(work, Prefill)
    assert (ids(work), work.first_slot) == (["2"], 2)
    list(scheduler.apply(work, started(work)))
    read(scheduler, [EOS_ID])
    work = scheduler.next()  # the slot is free again
    assert isinstance(work, Prefill)
    assert (ids(work), work.first_slot) == (["3"], 2)
    list(scheduler.apply(work, started(work)))
    read(scheduler, [7])
    work = scheduler.next()
    assert isinstance(work, Decode)
    assert ids(work) == ["0", "1", "3"]
    list(scheduler.apply(work, started(work)))
    # The last sequence moves into the slot of one that ends.
    (ended,) = read(scheduler, [EOS_ID, 8, 8], 0.3)
    assert (ended.request_id, ended.token_ids, ended.decode_seconds) == ("0", (7, EOS_ID), pytest.approx(0.1))
    assert [sequence.request.id for sequence in scheduler.active] == ["3", "1"]


def prompts_of_passes(engine: Engine, requests: Sequence[Request], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of prompts in each pass over prompts; checks that every request is answered as by transformers."""
    found: list[int] = []
    run = engine.executor.run

    def noting(work: Work, *args: Any, **options: Any) -> Any:
        if isinstance(work, Prefill):
            found.append(len(work.sequences))
        return run(work, *args, **options)

    monkeypatch.setattr(engine.executor, "run", noting)
    for generation in engine.generate(requests):
        assert generation.token_ids == transformers_generate("llama", requests[int(generation.request_id)])
    return found


def test_short_prompts_wait_for_slots_to_share_a_pass_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [Request(str(i), random_prompt(13 - i % 5, seed=i), 12 - 7 * i % 11) for i in range(90)]
    passes = {}
    for reads_late in (False, True):
        engine = Engine(small_model("llama"), segment_tokens=1024, slots=48)
        engine.reads_late = reads_late
        passes[reads_late] = prompts_of_passes(engine, requests, monkeypatch)
        assert sum(passes[reads_late]) == len(requests)
    # Three of 48 slots, except for the last prompts.
    assert passes[True][0] == 48
    assert all(prompts >= 3 for prompts in passes[True][:-1])
    assert len(passes[True]) < len(passes[False])


@pytest.mark.parametrize(
    ("waiting", "kind"),
    [
        (Request("x", random_prompt(1100), 5), Prefill),
        (Request("x", random_prompt(900), 5), Decode),
        (Request("x", random_prompt(900), 3000), Prefill),
        (Request("x", random_prompt(400), 0, scored_from=3), Score),
    ],
)
def test_what_gains_nothing_by_waiting_takes_the_next_free_slot(waiting: Request, kind: type) -> None:
    engine = Engine(small_model("llama"), segment_tokens=2**14, slots=48)
    engine.reads_late = True
    others = [Request(str(i), random_prompt(330), 700) for i in range(48)]
    scheduler = engine._schedule(iter([*others, waiting]), None)
    room = engine.executor.run(MakeRoom(Progress(Request("room", random_prompt(900), 3000))), None, ran_out=())
    assert isinstance(room, Room)
    scheduler.room = room
    work = scheduler.next()
    assert isinstance(work, Prefill)
    list(scheduler.apply(work, started(work)))
    # One of 48 slots is free.
    read(scheduler, [EOS_ID, *[7] * 47])
    assert isinstance(scheduler.next(), kind)


def decoding(*budgets: int) -> Scheduler:
    """A scheduler whose prompts have been read, with one token each."""
    scheduler = scheduler_of([Request(str(i), random_prompt(30 + i), budget) for i, budget in enumerate(budgets)])
    work = scheduler.next()
    assert isinstance(work, Prefill)
    list(scheduler.apply(work, started(work)))
    read(scheduler, [7] * len(budgets))
    return scheduler


def step(scheduler: Scheduler, *, runs_ahead: bool = True) -> bool:
    """Start the next decode step; returns whether it follows one that has not been read."""
    work = scheduler.next()
    assert isinstance(work, Decode)
    list(scheduler.apply(work, started(work, runs_ahead=runs_ahead)))
    return work.follows


def test_a_step_starts_before_the_one_ahead_of_it_is_read_unless_a_budget_ends() -> None:
    scheduler = decoding(9, 4)
    assert [step(scheduler), step(scheduler)] == [False, True]
    read(scheduler, [8, 8])
    assert step(scheduler)
    read(scheduler, [8, 8])
    (ended,) = read(scheduler, [8, 9])
    assert (ended.request_id, ended.token_ids, ended.finish_reason) == ("1", (7, 8, 8, 9), "length")
    assert [step(scheduler), step(scheduler)] == [False, True]


def test_a_step_without_a_recording_is_read_first() -> None:
    scheduler = decoding(9)
    assert not step(scheduler, runs_ahead=False)
    read(scheduler, [8])
    assert not step(scheduler, runs_ahead=False)


def test_tokens_of_sequences_that_have_ended_are_dropped() -> None:
    """The step in flight counts for the others, in whichever slot they are by then."""
    scheduler = decoding(9, 9, 9)
    assert [step(scheduler), step(scheduler)] == [False, True]
    assert [one.request_id for one in read(scheduler, [EOS_ID, None, 8])] == ["1", "0"]
    assert [sequence.request.id for sequence in scheduler.active] == ["2"]
    assert read(scheduler, [EOS_ID, EOS_ID, 9]) == []
    assert scheduler.active[0].token_ids == [7, 8, 9]
    assert not step(scheduler)


def test_a_step_that_could_not_start_fails_after_the_one_before_it() -> None:
    scheduler = decoding(9, 9)
    step(scheduler)
    work = scheduler.next()
    assert isinstance(work, Decode)
    list(scheduler.apply(work, Unread(work, failure := Failure("KeyError: 3", out_of_memory=False), runs_ahead=True)))
    (ended,) = read(scheduler, [EOS_ID, 8])
    assert (ended.request_id, ended.error) == ("0", None)
    work = scheduler.next()
    assert isinstance(work, ReadTokens)
    (failed,) = scheduler.apply(work, failure)
    assert (failed.request_id, failed.error, scheduler.active) == ("1", "KeyError: 3", [])
    assert scheduler.next() is None


def test_steps_in_flight_fail_together() -> None:
    scheduler = decoding(9, 9)
    assert [step(scheduler), step(scheduler)] == [False, True]
    work = scheduler.next()
    assert isinstance(work, ReadTokens)
    assert list(scheduler.apply(work, Failure("out of memory", out_of_memory=True))) == []
    assert isinstance(scheduler.next(), MakeRoom)  # both start again


def test_prompts_whose_pass_failed_are_read_again_alone() -> None:
    scheduler = scheduler_of(make_requests((30, 30), budget=5))
    work = scheduler.next()
    assert isinstance(work, Prefill)
    assert ids(work) == ["0", "1"]
    assert list(scheduler.apply(work, Failure("KeyError: 3", out_of_memory=False))) == []
    assert isinstance(scheduler.next(), MakeRoom)
    assert all(sequence.alone and not sequence.attempts for sequence in work.sequences)


def test_continuations_of_one_prefix_go_through_passes_and_scores_through_slots() -> None:
    shared: dict[str, Any] = {"prefix_id": "a", "prefix_tokens": 20, "continuations": ((5,), (6,))}
    requests = [Request(str(i), random_prompt(20) + random_prompt(5 + i), 0, **shared) for i in range(3)]
    scheduler = scheduler_of([*requests, Request("text", random_prompt(50), 0, scored_from=1), Request("no", (), 1)])
    work = scheduler.next()
    assert isinstance(work, ScoreBranches)
    assert ids(work) == ["0"]  # a pass of 100 tokens holds one, counted as 64
    kinds = [scheduler.next() for _ in range(4)]
    assert [type(kind) for kind in kinds] == [ScoreBranches, ScoreBranches, Score, Refuse]
    assert scheduler.next() is None


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_that_share_a_pass_give_what_transformers_gives(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts of different lengths, some with a shared prefix, some in a slot used before."""
    prefix = random_prompt(40)
    requests = make_requests((50, 13, 1, 33, 20, 50, 5), budget=4)
    requests += [Request(f"s{i}", prefix + random_prompt(9 + i), 4, prefix_id="a", prefix_tokens=40) for i in range(3)]
    rows: list[int] = []
    run = ModelRunner.run

    def counted(self: ModelRunner, step: Pass, id_1X: torch.Tensor) -> Any:
        if type(step) is Pass:
            rows.append(len(step.rows))
        return run(self, step, id_1X)

    engine = Engine(small_model(family), segment_tokens=120, slots=4)
    monkeypatch.setattr(ModelRunner, "run", counted)
    found = list(engine.generate(requests))
    assert {one.request_id: one.token_ids for one in found} == {
        request.id: transformers_generate(family, request) for request in requests
    }
    assert max(rows) > 2
    assert all(one.prefill_seconds > 0 for one in found)


def test_an_error_in_a_shared_pass_is_that_of_one_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = make_requests((20, 30, 25), budget=4)
    prefill_together, prefill = ModelRunner.prefill_together, ModelRunner.prefill

    def together(self: ModelRunner, cache: Any, first_slot: int, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        if any(len(prompt) == 30 for prompt in prompts):
            raise ValueError("no such pass")
        return prefill_together(self, cache, first_slot, prompts)

    def alone(self: ModelRunner, cache: Any, slot: int, token_ids: Sequence[int], segment_tokens: int) -> torch.Tensor:
        if len(token_ids) == 30:
            raise ValueError("no such prompt")
        return prefill(self, cache, slot, token_ids, segment_tokens)

    monkeypatch.setattr(ModelRunner, "prefill_together", together)
    monkeypatch.setattr(ModelRunner, "prefill", alone)
    found = {
        one.request_id: one for one in Engine(small_model("llama"), segment_tokens=100, slots=3).generate(requests)
    }
    assert found["1"].error == "ValueError: no such prompt"
    for request in (requests[0], requests[2]):
        assert found[request.id].token_ids == transformers_generate("llama", request)
