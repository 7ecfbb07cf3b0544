"""A pool of replicas that answers the samples of a run: it holds the plan, and no weights."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from evalkit.errors import EvalkitError, UsageError
from evalkit.records import (
    EngineDescription,
    Environment,
    Manifest,
    MemoryUse,
    ModelIdentity,
    ReplicaUse,
    SampleKey,
    SampleRecord,
)
from evalkit.running.answering import Sink, failed_record
from evalkit.running.replicas.dispatcher import Dispatcher, Limits
from evalkit.running.replicas.fleet import Event, Fleet, Gone, Joined, Loading, ReplicaFacts, Report
from evalkit.running.replicas.options import LOADING_SECONDS

POLL_SECONDS = 1.0
"""Time between looks at replicas that should have answered."""
UNHEARD_SECONDS = 60.0
"""Time after which the user is told that no replica has started."""
ERRORS_IN_A_ROW = 8
"""A replica whose last samples all failed is replaced: a broken GPU would take all of a run and answer none of it."""
FAILED_STARTS = 3
"""A place in which so many replicas in a row never became ready stays empty."""
LOSSES_WITHOUT_ANSWER = 3
"""No replica is replaced after so many losses per replica of the run without an answer in between."""


class ReplicasLostError(EvalkitError):
    """No replica is left, and samples are not answered."""


@dataclass(slots=True)
class _Replica:
    """A replica that has joined."""

    facts: ReplicaFacts
    ahead: int
    engine: EngineDescription
    memory: MemoryUse = field(default_factory=MemoryUse)
    samples: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    errors_in_a_row: int = 0
    lost: str | None = None

    def count(self, record: SampleRecord) -> None:
        self.samples += 1
        self.prompt_tokens += record.prompt_tokens
        self.completion_tokens += record.completion_tokens
        self.errors_in_a_row = self.errors_in_a_row + 1 if record.error is not None else 0


class ReplicaPool:
    """An Answerer: `count` replicas of a fleet, replaced when they are lost."""

    def __init__(
        self,
        fleet: Fleet,
        count: int,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        note: Callable[[str], object] = str,
    ) -> None:
        """`note` is given lines for the user, such as that a replica was lost."""
        self._fleet, self._limits, self._clock, self._note = fleet, limits or Limits(), clock, note
        self._replicas: dict[int, _Replica] = {}
        """All that ever joined, by number."""
        self._count = count
        self._places = {fleet.start(): 0 for _ in range(count)}
        """Replicas that are starting or working, each with how many in a row before it never became ready."""
        self._loading: dict[int, float] = {}
        """By replica that loads its model: `_listened` at its last progress."""
        self._listened = 0.0
        """Seconds spent waiting for events. What a caller does in between is no silence of a replica."""
        self._unheard_noted = False
        self._losses = 0
        """Since the last answer."""
        self._dispatcher = Dispatcher((), self._limits)
        self._expected: Manifest | None = None
        self._last_loss = ""

    def first(self) -> ReplicaFacts:
        """Wait for the first replica, and return what it knows of the model; raises ReplicasLostError if all fail."""
        self.wait(1)
        return next(iter(self._replicas.values())).facts

    def wait(self, count: int) -> None:
        """Wait until so many replicas have been ready; raises as `first`."""
        while len(self._replicas) < count:
            for event in self._listen():
                self._apply_before(event)
            for number, reason in self._stuck():
                self._give_up(number, reason)
            self._check_left()
            self._note_unheard()

    @property
    def working(self) -> tuple[int, ...]:
        """Numbers of the replicas that are ready and not lost."""
        return tuple(number for number, replica in self._replicas.items() if replica.lost is None)

    def expect(self, manifest: Manifest) -> None:
        """Hold every replica to this manifest; raises UsageError for one that asks or answers otherwise."""
        # A replica may be sent the samples of any shard.
        self._expected = replace(manifest, shard="")
        for number, replica in self._replicas.items():
            self._check(number, replica.facts)

    @property
    def identity(self) -> ModelIdentity:
        return self.first().identity

    def answer(self, pending: Sequence[SampleKey], sink: Sink) -> None:
        """Raises ReplicasLostError if no replica is left, and RuntimeError for a bug that ended one."""
        keys = {key.id: key for key in pending}
        self._dispatcher = dispatcher = Dispatcher(pending, self._limits)
        for number in self.working:
            dispatcher.join(number, self._replicas[number].ahead, self._clock())
        ready = set(dispatcher.live)
        while not dispatcher.is_finished:
            self._hand_out(ready)
            events = self._listen()
            for event in events:
                self._apply(event, keys, sink)
            self._check_left()
            overdue = [*dispatcher.overdue(self._clock()), *self._stuck()]
            for number, reason in overdue:
                self._lose(number, reason, sink)
            changed = overdue or any(isinstance(event, Joined | Gone) for event in events)
            ready = set(dispatcher.live) if changed else {each.replica for each in events if isinstance(each, Report)}

    def describe(self) -> EngineDescription:
        """The engine of the first replica, with the prefixes of all."""
        engines = [replica.engine for replica in self._replicas.values()]
        return replace(
            engines[0],
            prefixes_read=sum(engine.prefixes_read for engine in engines),
            prefix_requests=sum(engine.prefix_requests for engine in engines),
            prefix_tokens_saved=sum(engine.prefix_tokens_saved for engine in engines),
        )

    def environment(self) -> Environment:
        return self.first().environment

    def memory(self) -> MemoryUse:
        uses = [replica.memory for replica in self._replicas.values()]
        return max(uses, key=lambda use: use.peak_bytes or 0, default=MemoryUse())

    def replicas(self) -> tuple[ReplicaUse, ...]:
        now, tallies = self._clock(), self._dispatcher.tallies
        return tuple(
            ReplicaUse(
                number=number,
                host=replica.facts.host,
                hardware=replica.facts.hardware,
                samples=replica.samples,
                prompt_tokens=replica.prompt_tokens,
                completion_tokens=replica.completion_tokens,
                seconds=tallies[number].seconds(now) if number in tallies else 0.0,
                busy_seconds=tallies[number].busy_until(now) if number in tallies else 0.0,
                returned=tallies[number].returned if number in tallies else 0,
                peak_bytes=replica.memory.peak_bytes,
                lost=replica.lost,
            )
            for number, replica in self._replicas.items()
        )

    def _hand_out(self, replicas: set[int]) -> None:
        self._dispatcher.expected = len(self._places)
        for number in sorted(replicas):
            if keys := self._dispatcher.hand_out(number, self._clock()):
                self._fleet.send(number, keys)

    def _apply(self, event: Event, keys: dict[str, SampleKey], sink: Sink) -> None:
        match event:
            case Loading():
                self._hear(event)
            case Joined(number, _, ahead):
                self._admit(event)
                self._dispatcher.join(number, ahead, self._clock())
            case Gone(number, reason, is_final):
                self._lose(number, reason, sink, replaceable=not is_final)
            case Report():
                self._take(event, keys, sink)

    def _apply_before(self, event: Event) -> None:
        """An event before the run has its samples."""
        match event:
            case Loading():
                self._hear(event)
            case Joined():
                self._admit(event)
            case Gone(_, reason, is_final) if is_final:
                raise UsageError(reason)
            case Gone(number, reason):
                self._give_up(number, reason)
            case Report():
                pass

    def _take(self, report: Report, keys: dict[str, SampleKey], sink: Sink) -> None:
        number, replica = report.replica, self._replicas[report.replica]
        if replica.lost is not None:
            return
        replica.engine, replica.memory = report.engine, report.memory
        self._dispatcher.heard(number, report.ahead, self._clock())
        for sample_id in report.started:
            if self._dispatcher.started(number, sample_id):
                sink.sent(keys[sample_id])
        for record in report.records:
            if self._dispatcher.ended(number, record.id, self._clock()):
                replica.count(record)
                self._losses = 0 if record.error is None else self._losses
                sink.ended(replace(record, replica=number))
        if report.broken is not None:
            error = RuntimeError(f"a bug ended replica {number} on {replica.facts.host}")
            error.add_note(report.broken)
            raise error
        if replica.errors_in_a_row >= ERRORS_IN_A_ROW:
            self._lose(number, f"its last {ERRORS_IN_A_ROW} samples all failed", sink)

    def _listen(self) -> list[Event]:
        began = self._clock()
        events = self._fleet.receive(POLL_SECONDS)
        self._listened += self._clock() - began
        return events

    def _note_unheard(self) -> None:
        """Say once why nothing happens, if no replica has begun to load."""
        if self._loading or self._replicas or self._unheard_noted or self._listened < UNHEARD_SECONDS:
            return
        self._unheard_noted = True
        self._note(
            f"no replica has started for {UNHEARD_SECONDS:.0f} s: GPUs or processors of the cluster are in use by "
            "others, or its hosts start slowly; still waiting"
        )

    def _hear(self, loading: Loading) -> None:
        if loading.progressed or loading.replica not in self._loading:
            self._loading[loading.replica] = self._listened

    def _stuck(self) -> list[tuple[int, str]]:
        """Replicas that hang while they load, each with the reason."""
        limit = self._limits.loading_seconds
        reason = f"no progress for {limit:,.0f} s while it loaded the model; {LOADING_SECONDS} sets another limit"
        return [(number, reason) for number, at in self._loading.items() if self._listened - at > limit]

    def _admit(self, joined: Joined) -> None:
        self._loading.pop(joined.replica, None)
        self._check(joined.replica, joined.facts)
        self._replicas[joined.replica] = _Replica(joined.facts, joined.ahead, joined.facts.engine)

    def _check(self, number: int, facts: ReplicaFacts) -> None:
        if self._expected is not None and (differences := self._expected.differences(facts.manifest)):
            raise UsageError(
                f"replica {number} on {facts.host} is not like the run ({'; '.join(differences)}); give all hosts "
                "the same model, corpora and version of evalkit"
            )

    def _lose(self, number: int, reason: str, sink: Sink, *, replaceable: bool = True) -> None:
        """A replica is lost: hand its samples to others, and start another in its place."""
        failures = self._dispatcher.lost(number, reason, self._clock())
        for failure in failures:
            sink.ended(failed_record(failure.key, failure.error))
        self._give_up(number, reason, replaceable=replaceable)

    def _check_left(self) -> None:
        if not self._places and not (self._replicas and self._dispatcher.is_finished):
            raise ReplicasLostError(f"no replica is left ({self._last_loss}); continue with --resume")

    def _give_up(self, number: int, reason: str, *, replaceable: bool = True) -> None:
        self._fleet.stop(number)
        self._loading.pop(number, None)
        if number not in self._places:
            return
        failed_starts = self._places.pop(number) + 1
        where = f"replica {number}"
        if (replica := self._replicas.get(number)) is not None:
            replica.lost = reason
            where = f"{where} on {replica.facts.host}"
            failed_starts = 0
        self._losses += 1
        self._last_loss = f"{where} was lost: {reason}"
        self._note(self._last_loss)
        may_answer = failed_starts < FAILED_STARTS and self._losses < LOSSES_WITHOUT_ANSWER * self._count
        if replaceable and may_answer:
            self._places[self._fleet.start()] = failed_starts
