"""What the process of a replica says while it loads, without Ray."""

import mmap
import threading
import time

import pytest

from evalkit.running.model_options import ModelOptions
from evalkit.running.replicas.fleet import Gone, Joined, Loading
from model_adapters.replicas import ray_fleet
from model_adapters.replicas.pulse import LEAST_BYTES, Pulse
from model_adapters.replicas.ray_fleet import ReplicaActor
from model_adapters.replicas.worker import Job
from suites.state_tracking import SPEC
from tests.evalkit.running.replicas.simulation import facts

JOB = Job("track", SPEC.read({"tasks": "parity", "updates": "4", "samples": 1}), ModelOptions("none"))
JOINED = Joined(7, facts(), 1)


def pages(size: int) -> mmap.mmap:
    """Memory of which every page was written to."""
    memory = mmap.mmap(-1, size)
    for place in range(0, size, mmap.PAGESIZE):
        memory[place] = 1
    return memory


def test_a_process_that_waits_or_only_computes_has_no_pulse() -> None:
    pulse = Pulse()
    pulse.beats()
    time.sleep(0.05)
    assert not pulse.beats()
    started, number = time.perf_counter(), 0
    while time.perf_counter() - started < 0.05:
        number += 1
    assert not pulse.beats()


def test_a_process_that_takes_memory_has_a_pulse() -> None:
    pulse = Pulse()
    with pages(2 * LEAST_BYTES):
        assert pulse.beats()


def test_a_replica_that_loads_says_whether_it_makes_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()

    class Hanging:
        def __init__(self, job: Job, number: int) -> None:
            goes_on.wait(10)
            self.joined = JOINED

    monkeypatch.setattr(ray_fleet, "ReplicaWorker", Hanging)
    monkeypatch.setattr(ray_fleet, "HEARTBEAT_SECONDS", 0.05)
    actor = ReplicaActor()
    assert actor.open(JOB, 7, {}) == Loading(7, progressed=True)
    actor.joined(7)
    assert actor.joined(7) == Loading(7, progressed=False)
    with pages(2 * LEAST_BYTES):
        assert actor.joined(7) == Loading(7, progressed=True)
    monkeypatch.setattr(ray_fleet, "HEARTBEAT_SECONDS", 10)
    goes_on.set()
    assert actor.joined(7) is JOINED


def test_a_replica_that_cannot_load_says_why() -> None:
    actor = ReplicaActor()
    actor.open(JOB, 7, {})
    found = actor.joined(7)
    while isinstance(found, Loading):  # on a busy machine imports take longer than a heartbeat
        found = actor.joined(7)
    assert isinstance(found, Gone)
    assert found.is_final
    assert found.reason.startswith("none")
