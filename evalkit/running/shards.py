"""The rule that splits the samples of a run into shards: a function of the plan alone, alike on every machine."""

import re
from collections.abc import Sequence
from dataclasses import replace

from evalkit.errors import UsageError
from evalkit.records import SampleKey, Shard, SuitePlan, spans_of
from evalkit.running.replicas.work import cost_tokens
from evalkit.values import counted

SHARDS = "shards"
"""Folder in which shards of runs are stored; commands that search folders for runs pass it over."""
_WRITTEN = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


def read_shard(text: str) -> Shard:
    """The shard that `3/8` names; UsageError for anything else."""
    match = _WRITTEN.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--shard {text}: not a shard; write NUMBER/COUNT, such as 3/8 for the third of eight")
    number, count = int(match[1]), int(match[2])
    if not 1 <= number <= count:
        raise UsageError(
            f"--shard {text}: shards are numbered from 1 to their count; write 1/{max(count, 1)} and so on"
        )
    return Shard(number, count)


def shard_numbers(plan: SuitePlan, count: int) -> dict[SampleKey, int]:
    """The number, from 1 to `count`, of the shard of each sample.

    Samples are dealt one by one, the most expensive first, so that shards differ by one sample at most and every shard
    has samples of every task and length. Tasks whose samples share a prefix are not dealt but cut into `count` runs of
    consecutive samples of equal cost, so that at most `count - 1` prefixes are read twice.
    """
    sharing = {task: place for place, task in enumerate(plan.prefix_tasks)}
    dealt = sorted((key for key in plan.keys if key.task not in sharing), key=cost_tokens, reverse=True)
    numbers = {key: place % count + 1 for place, key in enumerate(dealt)}
    together = sorted((key for key in plan.keys if key.task in sharing), key=lambda key: sharing[key.task])
    return numbers | _cut(together, count)


def part_of(plan: SuitePlan, shard: Shard) -> SuitePlan:
    """The samples of `shard`, in their order; UsageError if it has none."""
    if shard.count > len(plan.keys):
        raise UsageError(
            f"--shard {shard.name}: the run has {counted(len(plan.keys), 'sample')}; use at most as many shards"
        )
    numbers = shard_numbers(plan, shard.count)
    keys = tuple(key for key in plan.keys if numbers[key] == shard.number)
    if not keys:
        raise UsageError(f"--shard {shard.name}: no sample is left for it; use fewer shards")
    return replace(plan, keys=keys, shard=replace(shard, plan=spans_of(plan.keys)))


def shard_folder(shard: Shard) -> str:
    """The name of the folder of a shard, such as `3-of-8`."""
    return f"{shard.number}-of-{shard.count}"


def _cut(keys: Sequence[SampleKey], count: int) -> dict[SampleKey, int]:
    """Runs of consecutive samples, a sample being in the part in which its middle is."""
    total = sum(map(cost_tokens, keys))
    numbers, before = {}, 0
    for key in keys:
        numbers[key] = (2 * before + cost_tokens(key)) * count // (2 * total) + 1
        before += cost_tokens(key)
    return numbers
