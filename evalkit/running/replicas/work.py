"""The samples of a run that no replica has: the longest first, and those that share a prefix together."""

from collections import deque
from collections.abc import Iterable

from evalkit.records import SampleKey, SampleRecord
from evalkit.running.answering import SHORT_TOKENS

Group = tuple[str, int]
"""Task and context length: samples of a group may share a prefix, such as the examples of an MMLU subject."""


def cost_tokens(sample: SampleKey | SampleRecord) -> int:
    """Tokens that a sample takes: its context length, or SHORT_TOKENS if its prompt is as long as its question."""
    return sample.ctx or SHORT_TOKENS


def group_of(key: SampleKey) -> Group:
    """The group of samples that one replica should answer, so that a shared prefix is read once."""
    return key.task, key.ctx


class WorkQueue:
    """Waiting samples by group.

    A replica keeps to its group while that is among the most expensive ones, then takes a group that no other replica
    works on, and only then shares one. Longest first keeps the end of a run short: the greedy rule LPT (Graham 1969)
    ends within 4/3 of the shortest possible time.
    """

    def __init__(self, keys: Iterable[SampleKey]) -> None:
        self._groups: dict[Group, deque[SampleKey]] = {}
        for key in keys:
            self._groups.setdefault(group_of(key), deque()).append(key)
        self._group_of: dict[int, Group] = {}
        """Group that a replica took last."""
        self.samples = sum(map(len, self._groups.values()))
        self.tokens = sum(cost_tokens(key) for group in self._groups.values() for key in group)
        """Cost of all waiting samples."""

    def peek(self, replica: int) -> SampleKey | None:
        """The sample that `take` would return; None if none waits."""
        group = self._choose(replica)
        return None if group is None else self._groups[group][0]

    def take(self, replica: int) -> SampleKey:
        """The next sample for `replica`; raises IndexError if none waits."""
        group = self._choose(replica)
        if group is None:
            raise IndexError("no sample waits")
        self._group_of[replica] = group
        waiting = self._groups[group]
        key = waiting.popleft()
        if not waiting:
            del self._groups[group]
        self.samples -= 1
        self.tokens -= cost_tokens(key)
        return key

    def put_back(self, keys: Iterable[SampleKey]) -> None:
        """Return samples to the front of their groups."""
        for key in keys:
            self._groups.setdefault(group_of(key), deque()).appendleft(key)
            self.samples += 1
            self.tokens += cost_tokens(key)

    def forget(self, replica: int) -> None:
        """A replica takes no more samples."""
        self._group_of.pop(replica, None)

    def _choose(self, replica: int) -> Group | None:
        if not self._groups:
            return None
        longest = max(map(_cost, self._groups))
        own = self._group_of.get(replica)
        if own in self._groups and _cost(own) == longest:
            return own
        taken = set(self._group_of.values())
        candidates = [group for group in self._groups if _cost(group) == longest]
        return max(candidates, key=lambda group: (group not in taken, len(self._groups[group])))


def _cost(group: Group) -> int:
    return group[1] or SHORT_TOKENS
