"""Replicas that join, die and hang answer every sample once, with the answers of one process."""

import itertools
import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.records import SampleKey, SampleRecord
from evalkit.running.replicas.dispatcher import Limits
from evalkit.running.replicas.fleet import Event, Gone, Loading
from evalkit.running.replicas.options import loading_seconds
from evalkit.running.replicas.pool import ReplicaPool, ReplicasLostError
from evalkit.running.replicas.simulated import SimulatedFleet
from tests.evalkit.running.replicas.simulation import Sink, answers_of, facts, fleet, keys_of, respond
from tests.evalkit.runs import manifest_of
from tests.evalkit.tiny_suite import TinySuite

COSTS = st.lists(st.sampled_from([512, 4_096, 65_536]), min_size=1, max_size=40)


def seconds_of(key: SampleKey) -> float:
    return key.ctx / 4_096


def run(replicas: SimulatedFleet, count: int, keys: list[SampleKey], sink: Sink | None = None) -> Sink:
    sink = sink or Sink()
    pool = ReplicaPool(replicas, count, clock=replicas.clock)
    pool.first()
    pool.answer(keys, sink)
    return sink


def without_replica(records: dict[str, SampleRecord]) -> dict[str, SampleRecord]:
    return {name: replace(record, replica=0) for name, record in records.items()}


@given(COSTS, st.integers(1, 8), st.integers(1, 4), st.integers(1, 3))
def test_answers_are_those_of_one_process_and_asked_once(costs: list[int], count: int, slots: int, tasks: int) -> None:
    keys, replicas = keys_of(costs, tasks), fleet(seconds=seconds_of, slots=slots, latency=0.01)
    sink = run(replicas, count, keys)
    assert without_replica(sink.records) == answers_of(keys)
    assert Counter(replicas.asked) == Counter(sink.sent_ids) == Counter(key.id for key in keys)


@given(COSTS, st.integers(1, 8))
def test_no_schedule_ends_much_earlier(costs: list[int], count: int) -> None:
    """Graham's bound: the longest sample waits for no more than an equal share of all others."""
    keys, replicas = keys_of(costs), fleet(seconds=seconds_of)
    run(replicas, count, keys)
    seconds = [seconds_of(key) for key in keys]
    assert replicas.clock() <= (sum(seconds) - max(seconds)) / count + max(seconds) + 1e-6


@given(COSTS, st.integers(1, 6), st.integers(1, 3), st.randoms(use_true_random=False))
def test_kills_change_no_answer_and_repeat_only_what_was_in_flight(
    costs: list[int], count: int, slots: int, drawn: random.Random
) -> None:
    keys = keys_of(costs)
    # Killed at most twice each: the third replica in a place lives.
    lifetimes = iter([drawn.uniform(0.0, 20.0) for _ in range(2 * count)])
    replicas = fleet(seconds=seconds_of, slots=slots, lifetime=lambda: next(lifetimes, float("inf")))
    sink = run(replicas, count, keys)
    asked = Counter(replicas.asked)
    assert asked.total() - len(keys) <= slots * replicas.kills, "a killed replica had at most `slots` in flight"
    lost = {name for name, record in sink.records.items() if record.error is not None}
    right = answers_of(keys)
    assert without_replica(sink.records) == {
        name: record if name not in lost else replace(sink.records[name], replica=0) for name, record in right.items()
    }
    assert all(asked[name] >= 3 for name in lost), "an error only after two further tries"
    assert set(asked.values()) <= {1, 2, 3}


def test_a_sample_that_kills_its_replicas_is_tried_three_times() -> None:
    class Deadly(SimulatedFleet):
        def receive(self, seconds: float) -> list[Event]:
            events = super().receive(seconds)
            for event in list(events):
                if KILLER in getattr(event, "started", ()):
                    self.stop(event.replica)
                    events.append(Gone(event.replica, "killed by signal 9"))
            return events

    keys = keys_of([4_096] * 20)
    KILLER = keys[3].id
    replicas = Deadly(respond, facts(), seconds=seconds_of)
    sink = run(replicas, 2, keys)
    assert replicas.asked.count(KILLER) == 3
    failed = sink.records.pop(KILLER)
    assert (failed.score, failed.prefill_seconds, failed.prompt_tokens) == (None, None, 0)
    assert failed.error is not None
    assert failed.error.startswith("lost with its replica 3 times, the last time with replica ")
    assert failed.error.endswith(": killed by signal 9")
    assert without_replica(sink.records) == {
        name: record for name, record in answers_of(keys).items() if name != KILLER
    }


def test_a_hanging_replica_is_replaced_after_a_time_that_its_pace_explains() -> None:
    keys, hangs = keys_of([65_536] * 30), iter([True])
    notes: list[str] = []
    lifetimes = iter([100.0])
    replicas = fleet(
        seconds=lambda key: 60.0,
        hangs=lambda: next(hangs, False),
        lifetime=lambda: next(lifetimes, float("inf")),
    )
    pool, sink = ReplicaPool(replicas, 2, clock=replicas.clock, note=notes.append), Sink()
    pool.first()
    pool.answer(keys, sink)
    assert without_replica(sink.records) == answers_of(keys)
    # One sample takes 60 s; with two in flight the limit is ten times what both take.
    assert notes == ["replica 1 on node-1 was lost: no answer for 1,200 s"]
    first, second, third = pool.replicas()
    assert (first.lost, first.samples, first.returned) == ("no answer for 1,200 s", 1, 2)
    assert (second.lost, third.lost) == (None, None)
    assert first.samples + second.samples + third.samples == 30


class DiedError(Exception):
    """The end of a driver."""


def test_a_hundred_kills_and_twenty_dead_drivers_change_no_answer() -> None:
    keys, stored, asked = keys_of([4_096] * 1_000), dict[str, SampleRecord](), Counter[str]()
    in_flight = kills = 0
    for attempt in itertools.count():
        # Continued on any number of replicas.
        count, slots, drawn = 1 + attempt % 5, 1 + attempt % 3, random.Random(attempt)
        replicas = fleet(seconds=seconds_of, slots=slots, lifetime=partial(drawn.expovariate, 0.2))
        sink = Sink()

        def end(record: SampleRecord, sink: Sink = sink, last: int = 40 if attempt < 20 else len(keys)) -> None:
            if len(sink.records) == last:
                raise DiedError
            if record.error is None:
                stored[record.id] = record

        sink.on_end = end
        pending = [key for key in keys if key.id not in stored]
        if not pending:
            break
        with suppress(DiedError, ReplicasLostError):
            run(replicas, count, pending, sink)
        asked += Counter(replicas.asked)
        kills += replicas.kills
        # With a driver die the answers on their way to it, and the samples that follow them.
        in_flight += slots * (replicas.kills + 2 * count)
    assert without_replica(stored) == answers_of(keys)
    assert kills >= 100
    assert attempt > 20
    assert asked.total() - len(keys) <= in_flight


def test_replicas_that_die_at_once_end_the_run_with_what_is_stored() -> None:
    lifetimes = iter([20.5])
    replicas = fleet(seconds=seconds_of, lifetime=lambda: next(lifetimes, 0.0))
    sink = Sink()
    with pytest.raises(ReplicasLostError, match=r"no replica is left \(replica 3 on node-1 was lost: killed\)"):
        run(replicas, 1, keys_of([4_096] * 50), sink)
    assert len(sink.records) == 20


def test_a_replica_whose_samples_all_fail_is_replaced() -> None:
    answered: list[str] = []

    def broken_first(key: SampleKey) -> SampleRecord:
        answered.append(key.id)
        record = respond(key)
        return replace(record, error="CUDA error", score=None) if len(answered) <= 8 else record

    replicas = fleet(seconds=seconds_of, respond=broken_first)
    notes: list[str] = []
    pool, sink = ReplicaPool(replicas, 1, clock=replicas.clock, note=notes.append), Sink()
    pool.first()
    pool.answer(keys_of([4_096] * 30), sink)
    assert notes == ["replica 1 on node-1 was lost: its last 8 samples all failed"]
    assert sum(record.error is not None for record in sink.records.values()) == 8


def test_a_model_that_cannot_be_loaded_is_refused_in_its_own_words() -> None:
    class Refusing(SimulatedFleet):
        def receive(self, seconds: float) -> list[Event]:
            return [Gone(1, "./model has no config.json", is_final=True)]

    replicas = Refusing(respond, facts(), seconds=seconds_of)
    with pytest.raises(UsageError, match=r"^\./model has no config\.json$"):
        ReplicaPool(replicas, 2, clock=replicas.clock).first()


class SlowlyLoading(SimulatedFleet):
    """Replicas join after 7,200 s, and the first `stuck` never; every 5 s they say whether they make progress."""

    stuck = 1

    def start(self) -> int:
        number = super().start()
        self._plan(5.0, number, partial(self._say, number))
        return number

    def receive(self, seconds: float) -> list[Event]:
        events = super().receive(seconds)
        return [each for each in events if isinstance(each, Loading) or each.replica > self.stuck]

    def _say(self, number: int, state: object) -> Loading:
        self._plan(5.0, number, partial(self._say, number))
        return Loading(number, progressed=number > self.stuck)


def test_a_replica_that_hangs_while_it_loads_is_replaced_and_a_slow_one_is_not() -> None:
    replicas = SlowlyLoading(respond, facts(), seconds=seconds_of, start_seconds=7_200.0)
    notes: list[str] = []
    pool, sink = ReplicaPool(replicas, 2, clock=replicas.clock, note=notes.append), Sink()
    pool.wait(2)
    pool.answer(keys := keys_of([512] * 6), sink)
    assert without_replica(sink.records) == answers_of(keys)
    assert {use.number for use in pool.replicas()} == {2, 3}
    assert notes == [
        "replica 1 was lost: no progress for 1,800 s while it loaded the model; EVALKIT_LOADING_SECONDS sets another "
        "limit"
    ]
    assert replicas.clock() == pytest.approx(1_805 + 7_200, abs=10), "the replacement of replica 1 was the last to join"


def test_time_in_which_the_driver_does_not_listen_is_no_silence() -> None:
    replicas = SlowlyLoading(respond, facts(), seconds=seconds_of, start_seconds=100.0)
    notes: list[str] = []
    pool = ReplicaPool(replicas, 2, clock=replicas.clock, note=notes.append)
    pool.first()
    replicas._now += 3_600.0
    pool.answer(keys_of([4_096] * 60), Sink())
    assert not notes


@pytest.mark.parametrize(("start_seconds", "told"), [(59.0, 0), (600.0, 1)])
def test_a_cluster_without_a_free_place_is_waited_for_and_named(start_seconds: float, told: int) -> None:
    replicas = fleet(seconds=seconds_of, start_seconds=start_seconds)
    notes: list[str] = []
    ReplicaPool(replicas, 2, clock=replicas.clock, note=notes.append).first()
    assert len(notes) == told
    assert all(note.startswith("no replica has started for 60 s: GPUs or processors") for note in notes)


def test_a_limit_for_loading_is_a_number_of_seconds() -> None:
    assert loading_seconds({}, 1800.0) == 1800.0
    assert loading_seconds({"EVALKIT_LOADING_SECONDS": "7200"}, 1800.0) == 7200.0
    for wrong in ("1h", "0", "-5", "nan"):
        with pytest.raises(UsageError, match=f"^EVALKIT_LOADING_SECONDS={wrong}: write a number of seconds above 0"):
            loading_seconds({"EVALKIT_LOADING_SECONDS": wrong}, 1800.0)


def test_a_replica_with_other_corpora_is_refused() -> None:
    pool = ReplicaPool(replicas := fleet(seconds=seconds_of), 2, clock=replicas.clock)
    pool.first()
    manifest = manifest_of(TinySuite())
    other = replace(manifest, corpora={**manifest.corpora, "numbers/sum": {"counted": "0" * 64}})
    with pytest.raises(UsageError, match=r"replica 1 on node-1 is not like the run \(.*numbers/sum"):
        pool.expect(other)


def test_the_record_says_what_each_replica_did() -> None:
    replicas = fleet(seconds=lambda key: 2.0)
    pool, sink = ReplicaPool(replicas, 2, clock=replicas.clock), Sink()
    pool.first()
    pool.answer(keys_of([512] * 7), sink)
    uses = pool.replicas()
    assert [(use.number, use.host, use.hardware, use.samples, use.seconds) for use in uses] == [
        (1, "node-1", "H100 × 1", 4, 8.0),
        (2, "node-1", "H100 × 1", 3, 8.0),
    ]
    assert [use.busy_seconds for use in uses] == [8.0, 6.0]
    assert sum(use.prompt_tokens for use in uses) == sum(record.prompt_tokens for record in sink.records.values())
    assert Counter(record.replica for record in sink.records.values()) == {1: 4, 2: 3}


def test_limits_state_what_they_are() -> None:
    assert Limits() == Limits(
        retries=2,
        heartbeat_seconds=120.0,
        loading_seconds=1800.0,
        first_answer_seconds=1800.0,
        pace_factor=10.0,
        least_silence_seconds=300.0,
        lookahead_seconds=1.0,
    )
