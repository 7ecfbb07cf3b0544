"""A simulated fleet: replicas on a virtual clock, so that hours of a thousand of them pass in seconds.

fleet = SimulatedFleet(respond, facts, seconds=lambda key: key.ctx / 20_000, lifetime=lambda: random.expovariate(1e-3))
pool = ReplicaPool(fleet, 1000, clock=fleet.clock)
pool.answer(keys, sink)
print(fleet.clock())
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from evalkit.records import MemoryUse, SampleKey, SampleRecord
from evalkit.running.replicas.fleet import Event, Gone, Joined, ReplicaFacts, Report

HEARTBEAT_SECONDS = 30.0


@dataclass(slots=True)
class _Simulated:
    """One replica: samples that wait for a free slot, and how many are being answered."""

    waiting: deque[SampleKey] = field(default_factory=deque)
    answering: int = 0
    hangs: bool = False


class SimulatedFleet:
    """A Fleet whose replicas answer `slots` samples at a time, each in `seconds(key)`.

    A replica joins `start_seconds` after its start and is killed `lifetime()` seconds later. If `hangs()` is true for
    it, it stops answering at that time instead, without being lost. `latency` is the time that a message travels.
    """

    def __init__(
        self,
        respond: Callable[[SampleKey], SampleRecord],
        facts: ReplicaFacts,
        *,
        seconds: Callable[[SampleKey], float],
        lifetime: Callable[[], float] = lambda: float("inf"),
        hangs: Callable[[], bool] = lambda: False,
        slots: int = 1,
        start_seconds: float = 0.0,
        latency: float = 0.0,
    ) -> None:
        self._respond, self._facts = respond, facts
        self._seconds, self._lifetime, self._hangs = seconds, lifetime, hangs
        self._slots, self._start_seconds, self._latency = slots, start_seconds, latency
        self._now = 0.0
        self._numbers, self._order = itertools.count(1), itertools.count()
        self._replicas: dict[int, _Simulated] = {}
        self._agenda: list[tuple[float, int, int, Callable[[_Simulated], Event | None]]] = []
        """(time, order, replica, what happens), the earliest first; what happens to a lost replica does not."""
        self.asked: list[str] = []
        """Id of every sample that a replica began to answer, in that order."""
        self.kills = 0

    def clock(self) -> float:
        """Seconds since the fleet was made."""
        return self._now

    def start(self) -> int:
        number = next(self._numbers)
        self._replicas[number] = _Simulated()
        joins_in = self._start_seconds + self._latency
        self._plan(joins_in, number, lambda _: Joined(number, self._facts, self._slots))
        self._plan(joins_in + self._lifetime(), number, partial(self._end, number))
        self._plan(joins_in + HEARTBEAT_SECONDS, number, partial(self._beat, number))
        return number

    def send(self, replica: int, keys: Sequence[SampleKey]) -> None:
        def arrive(state: _Simulated) -> None:
            state.waiting.extend(keys)
            self._fill(replica, state)

        self._plan(self._latency, replica, arrive)

    def receive(self, seconds: float) -> list[Event]:
        deadline, events = self._now + seconds, list[Event]()
        while self._agenda and self._agenda[0][0] <= (self._now if events else deadline):
            self._now, _, number, act = heapq.heappop(self._agenda)
            if (state := self._replicas.get(number)) is not None and (event := act(state)) is not None:
                events.append(event)
        if not events:
            self._now = deadline
        return events

    def stop(self, replica: int) -> None:
        self._replicas.pop(replica, None)

    def _fill(self, number: int, state: _Simulated) -> None:
        while state.waiting and state.answering < self._slots and not state.hangs:
            key = state.waiting.popleft()
            state.answering += 1
            self.asked.append(key.id)
            self._plan(self._latency, number, partial(self._report, number, started=(key.id,)))
            self._plan(self._seconds(key), number, partial(self._answer, number, key))

    def _answer(self, number: int, key: SampleKey, state: _Simulated) -> None:
        if state.hangs:
            return
        state.answering -= 1
        record = self._respond(key)
        self._plan(self._latency, number, partial(self._report, number, records=(record,)))
        self._fill(number, state)

    def _end(self, number: int, state: _Simulated) -> Event | None:
        self.kills += 1
        if self._hangs():
            state.hangs = True
            return None
        self.stop(number)
        return Gone(number, "killed")

    def _beat(self, number: int, state: _Simulated) -> Event | None:
        self._plan(HEARTBEAT_SECONDS, number, partial(self._beat, number))
        return self._report(number, state)

    def _report(
        self,
        number: int,
        _: _Simulated,
        *,
        started: tuple[str, ...] = (),
        records: tuple[SampleRecord, ...] = (),
    ) -> Report:
        return Report(number, started, records, self._facts.engine, MemoryUse(), self._slots)

    def _plan(self, seconds: float, number: int, act: Callable[[_Simulated], Event | None]) -> None:
        if seconds != float("inf"):
            heapq.heappush(self._agenda, (self._now + seconds, next(self._order), number, act))
