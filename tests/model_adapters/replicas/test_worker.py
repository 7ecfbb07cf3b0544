"""Replicas in threads: each makes its own prompts, and together they answer as one process."""

import random
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import UsageError
from evalkit.records import Asked, EngineDescription, SampleKey, SampleRecord
from evalkit.running.answering import OneModel
from evalkit.running.model_options import ModelOptions
from evalkit.running.replicas.fleet import Event
from evalkit.running.replicas.pool import ReplicaPool
from evalkit.suite_spec import SUITES
from model_adapters.opening import open_model
from model_adapters.replicas.thread_fleet import ThreadFleet
from model_adapters.replicas.worker import CPU_SLOTS, Feed, Job, ReplicaWorker
from model_adapters.scripted import ScriptedAdapter
from tests.evalkit.running.replicas.simulation import Sink
from tests.evalkit.scripts import asked, sums, write_script
from tests.evalkit.tiny_suite import REGISTERED, TinySettings, TinySuite

SETTINGS = TinySettings.of(tasks=("sum", "more"), ctx=(512, 2048), samples=40)
SUITE = TinySuite(SETTINGS.tasks, SETTINGS.ctxs, SETTINGS.samples, SETTINGS.seed)
KEYS = SUITE.plan().keys


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUITES, "tiny", REGISTERED)


def job(script: str, **changes: Any) -> Job:
    return replace(Job("tiny", SETTINGS, ModelOptions(script)), **changes)


def of_one_process(script: str) -> dict[str, SampleRecord]:
    sink = Sink()
    OneModel(SUITE, open_model(ModelOptions(script)).make_adapter()).answer(KEYS, sink)
    return sink.records


def without_replica(records: dict[str, SampleRecord]) -> dict[str, SampleRecord]:
    return {name: replace(record, replica=0) for name, record in records.items()}


@pytest.mark.parametrize("count", [1, 3])
def test_threads_answer_as_one_process_and_ask_nothing_twice(tmp_path: Path, count: int) -> None:
    script = write_script(tmp_path / "script", *sums(wrong=[7]), log="asked")
    fleet = ThreadFleet(job(script))
    pool, sink = ReplicaPool(fleet, count), Sink()
    pool.first()
    pool.answer(KEYS, sink)
    fleet.close()
    assert Counter(asked(tmp_path / "asked")) == Counter(sink.sent_ids) == Counter(key.id for key in KEYS)
    assert without_replica(sink.records) == of_one_process(script)
    assert sum(use.samples for use in pool.replicas()) == len(KEYS)
    assert pool.identity.path == script
    assert pool.describe().engine == "scripted"


def test_replicas_killed_at_random_change_no_answer(tmp_path: Path) -> None:
    script = write_script(tmp_path / "script", *({**rule, "wait_seconds": 0.002} for rule in sums()))
    drawn, killed_at = random.Random(3), [0]

    class Deadly(ThreadFleet):
        def receive(self, seconds: float) -> list[Event]:
            events = super().receive(seconds)
            live = [number for number, worker in self._workers.items() if worker is not None]
            if len(sink.records) >= killed_at[-1] + 4 and live:
                killed_at.append(len(sink.records))
                self.kill(drawn.choice(live))
            return events

    fleet = Deadly(job(script))
    pool, sink = ReplicaPool(fleet, 3), Sink()
    pool.first()
    pool.answer(KEYS, sink)
    fleet.close()
    kills = len(killed_at) - 1
    assert kills > 1
    answers, right = without_replica(sink.records), of_one_process(script)
    lost = [name for name, record in answers.items() if record.error is not None]
    assert {name: record for name, record in answers.items() if name not in lost} == {
        name: record for name, record in right.items() if name not in lost
    }
    assert sum(use.lost is not None for use in pool.replicas()) <= kills


def test_a_bug_in_a_replica_is_raised_with_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(self: TinySuite, key: SampleKey) -> Asked:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(TinySuite, "ask", buggy)
    fleet = ThreadFleet(job(write_script(tmp_path / "script", *sums_of_nothing())))
    pool = ReplicaPool(fleet, 1)
    pool.first()
    with pytest.raises(RuntimeError, match="a bug ended replica 1 on ") as caught:
        pool.answer(KEYS, Sink())
    assert "ZeroDivisionError: a bug" in caught.value.__notes__[0]


def sums_of_nothing() -> list[dict[str, Any]]:
    return [{"match": "*", "text": "0"}]


def test_a_model_that_is_missing_is_refused_as_in_one_process(tmp_path: Path) -> None:
    fleet = ThreadFleet(job(f"scripted:{tmp_path / 'missing'}"))
    with pytest.raises(UsageError, match="missing cannot be read: No such file or directory"):
        ReplicaPool(fleet, 2).first()


def test_a_plan_made_at_the_first_request_is_reported_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    describe, given = ScriptedAdapter.describe, threading.Event()

    def planned(adapter: ScriptedAdapter) -> EngineDescription:
        return replace(describe(adapter), batch_sequences=64 if given.is_set() else None)

    monkeypatch.setattr(ScriptedAdapter, "describe", planned)
    script = write_script(tmp_path / "script", {"match": "*", "text": "1", "wait_seconds": 0.3})
    worker = ReplicaWorker(job(script), 1)
    given.set()
    worker.give(KEYS[:1])
    report = worker.news(5.0)
    worker.close()
    assert (report.started, report.records) == ((KEYS[0].id,), ())
    assert report.ahead - worker.joined.ahead == 64 - CPU_SLOTS


def test_a_feed_ends_if_nothing_waits_and_goes_on_if_more_comes() -> None:
    feed, first, second = Feed(), KEYS[0], KEYS[1]
    feed.put([first])
    assert feed.wait()
    assert list(feed) == [first]
    feed.put([second])
    assert list(feed) == [second], "the same iterator goes on"
    feed.close()
    assert not feed.wait()
