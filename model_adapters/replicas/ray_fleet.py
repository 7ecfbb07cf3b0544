"""A fleet of replicas on Ray: one actor each, which Ray places on the machines of a cluster."""

import itertools
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from evalkit.errors import EvalkitError
from evalkit.records import SampleKey
from evalkit.running.replicas.fleet import Event, Gone, Joined, Loading, Report
from model_adapters.lean_import import install
from model_adapters.messages import first_line
from model_adapters.replicas.pulse import Pulse
from model_adapters.replicas.worker import Job, ReplicaWorker

HEARTBEAT_SECONDS = 5.0
"""A replica without news says so this often."""
CALLS_AT_ONCE = 4
"""Threads of an actor for calls, beside that of its model: samples arrive while it waits for news."""
PASSED_ON = ("EVALKIT_DATA", "EVALKIT_CACHE", "HF_HUB_OFFLINE", "HF_HOME")
"""Variables of the run's environment that replicas get unless their host sets them."""


class ReplicaActor:
    """A ReplicaWorker in a process of its own."""

    def __init__(self) -> None:
        self._worker: ReplicaWorker | None = None
        self._opened: Future[Joined | Gone] = Future()
        self._pulse = Pulse()

    def open(self, job: Job, number: int, environment: Mapping[str, str]) -> Loading:
        """Begin to load the model in a thread, so that `news` says how that goes."""
        for name, value in environment.items():
            os.environ.setdefault(name, value)
        install()
        threading.Thread(target=self._open, args=(job, number), name=f"load-replica-{number}", daemon=True).start()
        return Loading(number, progressed=True)

    def joined(self, number: int) -> Loading | Joined | Gone:
        """Wait until the model is loaded, or a while."""
        try:
            return self._opened.result(HEARTBEAT_SECONDS)
        except TimeoutError:
            return Loading(number, progressed=self._pulse.beats())

    def _open(self, job: Job, number: int) -> None:
        try:
            self._worker = ReplicaWorker(job, number)
        except Exception as error:  # noqa: BLE001  # the run reports it
            refused = isinstance(error, EvalkitError)
            reason = str(error) if refused else f"{type(error).__name__}: {first_line(error)}"
            self._opened.set_result(Gone(number, reason, is_final=refused))
        else:
            self._opened.set_result(self._worker.joined)

    def give(self, keys: Sequence[SampleKey]) -> None:
        """Take samples to answer."""
        assert self._worker is not None
        self._worker.give(keys)

    def news(self) -> Report:
        """Wait for news."""
        assert self._worker is not None
        return self._worker.news(HEARTBEAT_SECONDS)


class RayFleet:
    """A Fleet of Ray actors; Ray is connected already."""

    def __init__(self, job: Job, *, cpus: float) -> None:
        """`cpus` are the processors of each replica."""
        self._job = job
        self._make = ray.remote(ReplicaActor).options(
            num_cpus=cpus, num_gpus=job.gpus, max_concurrency=CALLS_AT_ONCE, max_restarts=0
        )
        self._environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self._numbers = itertools.count(1)
        self._actors: dict[int, Any] = {}
        self._waiting: dict[Any, int] = {}
        """The one call of each replica whose result is an event, and its number."""

    def start(self) -> int:
        number = next(self._numbers)
        actor: Any = self._make.remote()
        self._actors[number] = actor
        self._waiting[actor.open.remote(self._job, number, self._environment)] = number
        return number

    def send(self, replica: int, keys: Sequence[SampleKey]) -> None:
        if (actor := self._actors.get(replica)) is not None:
            actor.give.remote(list(keys))

    def receive(self, seconds: float) -> list[Event]:
        waiting = list(self._waiting)
        ready, _ = ray.wait(waiting, num_returns=1, timeout=seconds)
        if ready:
            ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        return [self._event(call) for call in ready]

    def stop(self, replica: int) -> None:
        actor = self._actors.pop(replica, None)
        self._waiting = {call: number for call, number in self._waiting.items() if number != replica}
        if actor is not None:
            ray.kill(actor)

    def close(self) -> None:
        """Stop all replicas."""
        for number in list(self._actors):
            self.stop(number)

    def process(self, replica: int) -> int:
        """The process id of a replica, on its host."""
        return int(ray.get(self._actors[replica].__ray_call__.remote(partial(_process))))

    def _event(self, call: Any) -> Event:
        number = self._waiting.pop(call)
        try:
            event: Event = ray.get(call)
        except RayError as error:
            self.stop(number)
            return Gone(number, _reason(error))
        match event:
            case Gone():
                self.stop(number)
            case Loading():
                self._waiting[self._actors[number].joined.remote(number)] = number
            case _:
                self._waiting[self._actors[number].news.remote()] = number
        return event


def _process(_: ReplicaActor) -> int:
    return os.getpid()


def _reason(error: RayError) -> str:
    if isinstance(error, RayActorError) and error.preempted:
        return "its host was preempted"
    text = str(error)
    if "running low on memory" in text:
        return "its host ran out of memory"
    return "its process died" if isinstance(error, RayActorError) else first_line(error)
