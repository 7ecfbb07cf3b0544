"""Simulated runs of the tiny suite on replicas."""

from collections.abc import Callable, Sequence
from typing import Any

from evalkit.records import EngineDescription, Environment, SampleKey, SampleRecord
from evalkit.running.answering import OneModel
from evalkit.running.replicas.fleet import ReplicaFacts
from evalkit.running.replicas.simulated import SimulatedFleet
from model_adapters.scripted import SCRIPTED_IDENTITY
from tests.evalkit.runs import manifest_of, right_adapter
from tests.evalkit.tiny_suite import TinySuite


class Sink:
    """Keeps what it is told; `on_end` is called with each record first."""

    def __init__(self, on_end: Callable[[SampleRecord], None] = lambda record: None) -> None:
        self.sent_ids: list[str] = []
        self.records: dict[str, SampleRecord] = {}
        self.on_end = on_end

    def sent(self, key: SampleKey) -> None:
        self.sent_ids.append(key.id)

    def ended(self, record: SampleRecord) -> None:
        self.on_end(record)
        assert record.id not in self.records
        self.records[record.id] = record


def keys_of(costs: Sequence[int], tasks: int = 1) -> list[SampleKey]:
    """One sample per cost in tokens."""
    return [SampleKey(f"task_{index % tasks}", cost, index, 42) for index, cost in enumerate(costs)]


def answers_of(keys: Sequence[SampleKey]) -> dict[str, SampleRecord]:
    """The records of one process."""
    sink = Sink()
    OneModel(TinySuite(), right_adapter()).answer(keys, sink)
    return sink.records


def respond(key: SampleKey) -> SampleRecord:
    """What a replica answers."""
    return answers_of([key])[key.id]


def facts(**changes: Any) -> ReplicaFacts:
    engine = EngineDescription(engine="scripted", device="cpu")
    values: dict[str, Any] = {
        "host": "node-1",
        "hardware": "H100 × 1",
        "environment": Environment(),
        "identity": SCRIPTED_IDENTITY,
        "manifest": manifest_of(TinySuite()),
        "engine": engine,
    }
    return ReplicaFacts(**{**values, **changes})


def fleet(**options: Any) -> SimulatedFleet:
    return SimulatedFleet(options.pop("respond", respond), options.pop("facts", facts()), **options)
