"""A fleet of replicas in threads of this process: for models that wait, such as scripted ones."""

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Callable, Sequence

from evalkit.errors import EvalkitError
from evalkit.records import SampleKey
from evalkit.running.replicas.fleet import Event, Gone
from model_adapters.messages import first_line
from model_adapters.replicas.worker import LINGER_SECONDS, Job, ReplicaWorker


class ThreadFleet:
    """A Fleet without processes; a stopped replica finishes what it has begun, unheard."""

    def __init__(self, job: Job, worker: Callable[..., ReplicaWorker] = ReplicaWorker) -> None:
        """`worker` makes a replica from a job, a number and what to call with it when there is news."""
        self._job, self._worker = job, worker
        self._numbers = itertools.count(1)
        self._workers: dict[int, ReplicaWorker | None] = {}
        """By number; None while it starts."""
        self._events: queue.SimpleQueue[int | Event] = queue.SimpleQueue()
        """Events, and numbers of replicas that have news."""

    def start(self) -> int:
        number = next(self._numbers)
        self._workers[number] = None
        threading.Thread(target=self._open, args=(number,), name=f"start-replica-{number}", daemon=True).start()
        return number

    def send(self, replica: int, keys: Sequence[SampleKey]) -> None:
        if (worker := self._workers.get(replica)) is not None:
            worker.give(keys)

    def receive(self, seconds: float) -> list[Event]:
        came: list[int | Event] = []
        with contextlib.suppress(queue.Empty):
            came.append(self._events.get(timeout=seconds))
            time.sleep(LINGER_SECONDS)
            while True:
                came.append(self._events.get_nowait())
        events = [event for event in came if not isinstance(event, int) and event.replica in self._workers]
        # One replica may have announced several news.
        numbers = dict.fromkeys(event for event in came if isinstance(event, int))
        # A sign of life of those without news is not needed: they are this process.
        workers = [worker for number in (numbers or self._workers) if (worker := self._workers.get(number)) is not None]
        return [*events, *(worker.news(0.0) for worker in workers)]

    def stop(self, replica: int) -> None:
        if (worker := self._workers.pop(replica, None)) is not None:
            worker.close()

    def kill(self, replica: int, reason: str = "killed") -> None:
        """Lose a replica, as if its process had died."""
        self.stop(replica)
        self._events.put(Gone(replica, reason))
        self._workers[replica] = None

    def close(self) -> None:
        """Stop all replicas."""
        for number in list(self._workers):
            self.stop(number)

    def _open(self, number: int) -> None:
        try:
            worker = self._worker(self._job, number, self._events.put)
        except Exception as error:  # noqa: BLE001  # the run reports it
            refused = isinstance(error, EvalkitError)
            reason = str(error) if refused else f"{type(error).__name__}: {first_line(error)}"
            self._events.put(Gone(number, reason, is_final=refused))
            return
        if number in self._workers:
            self._workers[number] = worker
            self._events.put(worker.joined)
        else:
            worker.close()
