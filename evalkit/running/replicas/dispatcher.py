"""The core of scheduling: which replica answers which sample, and what becomes of the samples of a lost one.

It knows no transport and no clock: every call gives the time, in seconds from any start.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from evalkit.records import SampleKey
from evalkit.running.replicas.work import WorkQueue, cost_tokens

ESTIMATE_SECONDS = 0.05
"""Age of the estimate of what is left at the replicas, which takes a look at each."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a replica counts as lost, and how often its samples are tried again."""

    retries: int = 2
    """Times that a sample is tried again after it was lost with a replica."""
    heartbeat_seconds: float = 120.0
    """Longest time without any sign of a replica."""
    loading_seconds: float = 1800.0
    """Longest time in which a replica that loads its model makes no progress, however long it loads in all."""
    first_answer_seconds: float = 1800.0
    """Longest time to a replica's first answer, in which kernels are compiled and tuned."""
    pace_factor: float = 10.0
    """Longest time between answers, as a multiple of what the samples in flight take at the replica's own pace."""
    least_silence_seconds: float = 300.0
    """That time is never shorter than this."""
    lookahead_seconds: float = 1.0
    """Work that a replica has waiting, so that it is busy while its reports travel."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A sample that was lost with too many replicas."""

    key: SampleKey
    error: str


@dataclass(slots=True)
class _Lease:
    key: SampleKey
    started: bool = False


@dataclass(slots=True)
class Tally:
    """What a replica did so far."""

    joined_at: float
    ahead: int
    """Number of samples that it can use at once."""
    leases: dict[str, _Lease] = field(default_factory=dict)
    """By sample id, in the order in which they were handed out."""
    leased_tokens: int = 0
    answered: int = 0
    answered_cost: int = 0
    busy_seconds: float = 0.0
    busy_since: float | None = None
    heard_at: float = 0.0
    progress_at: float = 0.0
    """Time of its last answer, or of its first sample after it had none."""
    busy_at_answer: float = 0.0
    """Its busy seconds up to its last answer, from which its pace follows: a hang does not count."""
    returned: int = 0
    ended_at: float | None = None

    def busy_until(self, now: float) -> float:
        """Seconds in which it had samples, up to `now` or its end."""
        return self.busy_seconds + (0.0 if self.busy_since is None else now - self.busy_since)

    def seconds(self, now: float) -> float:
        """Seconds since it joined, up to `now` or its end."""
        return (now if self.ended_at is None else self.ended_at) - self.joined_at


class Dispatcher:
    """Hands samples to replicas, which join and are lost at any time.

    Every sample ends exactly once: answered, or failed after `Limits.retries` further tries.
    """

    def __init__(self, keys: Iterable[SampleKey], limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.tallies: dict[int, Tally] = {}
        """Of all replicas that ever joined, by number."""
        self.expected = 0
        """Number of replicas that work or are starting: each is left its share."""
        self._waiting = WorkQueue(keys)
        self._live: dict[int, Tally] = {}
        self._leased_tokens = 0
        self._estimate, self._estimated_at = 0.0, -math.inf
        """Tokens that replicas still have to answer, and when that was estimated."""
        self._mean_pace = 0.0
        """Tokens per second of a replica."""
        self._losses: dict[str, int] = {}
        """By sample id: replicas that were lost while they answered it."""

    @property
    def is_finished(self) -> bool:
        """Whether every sample has ended."""
        return not self._waiting.samples and not self._leased_tokens

    @property
    def live(self) -> tuple[int, ...]:
        """Numbers of the replicas that can be given samples."""
        return tuple(self._live)

    def join(self, replica: int, ahead: int, now: float) -> None:
        """A replica is ready; it keeps its model busy with `ahead` samples. Its number was never used before."""
        if replica in self.tallies:
            raise ValueError(f"replica {replica} has joined before")
        self.tallies[replica] = self._live[replica] = Tally(now, ahead, heard_at=now, progress_at=now)

    def heard(self, replica: int, ahead: int, now: float) -> None:
        """A sign of life, with the number of samples that the replica can use at once; ignored from a lost one."""
        if (tally := self._live.get(replica)) is not None:
            tally.heard_at, tally.ahead = now, ahead

    def hand_out(self, replica: int, now: float) -> list[SampleKey]:
        """Samples that the replica shall answer now, beyond those that it has; none for a lost one.

        It gets what it can use at once and what it answers in `lookahead_seconds`, but no more than its share of all
        that is left: the last samples of a run do not wait in the queue of one replica while others have none. Others
        are taken to have answered what their pace explains, because those that decode many together report late.
        """
        tally = self._live.get(replica)
        taken: list[SampleKey] = []
        if tally is None:
            return taken
        wanted = tally.ahead + self._lookahead(tally)
        others = self._leased_left(now) - self._left(tally, now)
        share = (self._waiting.tokens + others + tally.leased_tokens) / max(len(self._live), self.expected)
        while len(tally.leases) < wanted and (key := self._waiting.peek(replica)) is not None:
            cost = cost_tokens(key)
            if tally.leases and tally.leased_tokens + cost > share:
                break
            self._waiting.take(replica)
            if not tally.leases:
                tally.busy_since = tally.progress_at = now
            tally.leases[key.id] = _Lease(key)
            tally.leased_tokens += cost
            self._leased_tokens += cost
            self._estimate += cost
            taken.append(key)
        return taken

    def started(self, replica: int, sample_id: str) -> bool:
        """A prompt was sent to the replica's model; returns whether it is the first time in this run."""
        lease = self._lease(replica, sample_id)
        if lease is None or lease.started:
            return False
        lease.started = True
        return sample_id not in self._losses

    def ended(self, replica: int, sample_id: str, now: float) -> bool:
        """A sample was answered; False if the replica does not have it, and its answer does not count."""
        if self._lease(replica, sample_id) is None:
            return False
        tally = self._live[replica]
        key = tally.leases.pop(sample_id).key
        cost = cost_tokens(key)
        tally.leased_tokens -= cost
        self._leased_tokens -= cost
        self._losses.pop(sample_id, None)
        tally.answered += 1
        tally.answered_cost += cost
        tally.progress_at, tally.busy_at_answer = now, tally.busy_until(now)
        if not tally.leases:
            self._stop_busy(tally, now)
        return True

    def lost(self, replica: int, reason: str, now: float) -> list[Failure]:
        """A replica is gone: its samples wait again, except for those that have failed for good.

        A try counts for samples whose prompts were sent. If none was, it counts for the first, so that a sample that
        kills replicas before it is sent ends too.
        """
        tally = self._live.pop(replica, None)
        if tally is None:
            return []
        self._waiting.forget(replica)
        self._stop_busy(tally, now)
        tally.ended_at = now
        leases = list(tally.leases.values())
        if leases and not any(lease.started for lease in leases):
            leases[0].started = True
        failures, again = [], []
        for lease in leases:
            sample_id = lease.key.id
            if lease.started:
                self._losses[sample_id] = self._losses.get(sample_id, 0) + 1
            tries = self._losses.get(sample_id, 0)
            if tries > self.limits.retries:
                error = f"lost with its replica {tries} times, the last time with replica {replica}: {reason}"
                failures.append(Failure(lease.key, error))
            else:
                again.append(lease.key)
        self._waiting.put_back(reversed(again))
        tally.returned = len(again)
        self._leased_tokens -= tally.leased_tokens
        self._estimated_at = -math.inf
        tally.leased_tokens = 0
        tally.leases.clear()
        return failures

    def overdue(self, now: float) -> list[tuple[int, str]]:
        """Replicas that count as lost, each with the reason."""
        found = []
        for replica, tally in self._live.items():
            if now - tally.heard_at > self.limits.heartbeat_seconds:
                found.append((replica, f"no sign of it for {self.limits.heartbeat_seconds:,.0f} s"))
            elif tally.leases and now - tally.progress_at > (limit := self._silence(tally)):
                found.append((replica, f"no answer for {limit:,.0f} s"))
        return found

    def _silence(self, tally: Tally) -> float:
        """The longest time between answers: from the replica's pace, and a fixed one before it has any."""
        if not tally.answered:
            return self.limits.first_answer_seconds
        expected = tally.leased_tokens * tally.busy_at_answer / tally.answered_cost
        return max(self.limits.least_silence_seconds, self.limits.pace_factor * expected)

    def _leased_left(self, now: float) -> float:
        """Tokens of samples that replicas have and have not answered yet, as far as their pace shows."""
        if now - self._estimated_at > ESTIMATE_SECONDS:
            answered = [tally for tally in self._live.values() if tally.answered]
            busy = sum(tally.busy_at_answer for tally in answered)
            self._mean_pace = sum(tally.answered_cost for tally in answered) / busy if busy else 0.0
            self._estimate = sum(self._left(tally, now) for tally in self._live.values())
            self._estimated_at = now
        return self._estimate

    def _left(self, tally: Tally, now: float) -> float:
        """The same of one replica; one without answers is taken to be as quick as the others."""
        busy = tally.busy_at_answer
        pace = tally.answered_cost / busy if busy else self._mean_pace
        return max(0.0, tally.leased_tokens - pace * (now - tally.progress_at))

    def _lookahead(self, tally: Tally) -> int:
        busy = tally.busy_at_answer
        return math.ceil(tally.answered / busy * self.limits.lookahead_seconds) if busy > 0 else 0

    def _lease(self, replica: int, sample_id: str) -> _Lease | None:
        tally = self._live.get(replica)
        return None if tally is None else tally.leases.get(sample_id)

    @staticmethod
    def _stop_busy(tally: Tally, now: float) -> None:
        tally.busy_seconds, tally.busy_since = tally.busy_until(now), None
