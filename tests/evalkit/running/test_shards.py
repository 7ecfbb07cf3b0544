"""Shards of a run: every sample in exactly one, whatever the plan, and all of equal cost."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.records import SampleKey, Shard, SuitePlan, keys_of, spans_of
from evalkit.running.replicas.work import cost_tokens
from evalkit.running.shards import part_of, read_shard, shard_numbers

CELLS = st.dictionaries(
    st.tuples(st.sampled_from(["vt", "cwe", "law", "maths"]), st.sampled_from([0, 512, 4096, 65536])),
    st.lists(st.integers(0, 40), unique=True, min_size=1, max_size=9),
    min_size=1,
    max_size=5,
)


@st.composite
def plans(draw: st.DrawFn) -> SuitePlan:
    keys = tuple(SampleKey(task, ctx, index, 42) for (task, ctx), indexes in draw(CELLS).items() for index in indexes)
    return SuitePlan(keys, (), (), prefix_tasks=draw(st.sampled_from([(), ("law",), ("law", "maths")])))


@given(plans())
def test_spans_are_the_keys_again(plan: SuitePlan) -> None:
    assert keys_of(spans_of(plan.keys)) == plan.keys


@given(plans(), st.integers(1, 9))
def test_shards_share_nothing_and_leave_nothing_out(plan: SuitePlan, count: int) -> None:
    count = min(count, len(plan.keys))
    parts = []
    for number in range(1, count + 1):
        try:
            part = part_of(plan, Shard(number, count))
        except UsageError:  # no sample is left for it
            continue
        assert part.shard is not None
        assert keys_of(part.shard.plan) == plan.keys
        assert list(part.keys) == [key for key in plan.keys if key in set(part.keys)]
        parts.append(part.keys)
    assert Counter(key for keys in parts for key in keys) == Counter(plan.keys)


@given(plans(), st.integers(1, 9))
def test_no_shard_costs_more_than_another_by_more_than_three_samples(plan: SuitePlan, count: int) -> None:
    costs = dict.fromkeys(range(1, count + 1), 0)
    for key, number in shard_numbers(plan, count).items():
        costs[number] += cost_tokens(key)
    # One sample of those that are dealt, and the two ends of a run of those that are cut.
    assert max(costs.values()) - min(costs.values()) <= 3 * max(map(cost_tokens, plan.keys))


@given(plans(), st.integers(2, 9))
def test_a_prefix_is_read_twice_only_where_two_shards_meet(plan: SuitePlan, count: int) -> None:
    numbers = shard_numbers(plan, count)
    readers = {(task, numbers[key]) for task in plan.prefix_tasks for key in plan.keys if key.task == task}
    tasks = {task for task, _ in readers}
    assert len(readers) <= len(tasks) + count - 1


def test_every_shard_has_samples_of_every_task_and_length() -> None:
    keys = tuple(SampleKey(task, ctx, i, 42) for ctx in (4096, 65536) for task in ("vt", "cwe") for i in range(20))
    for number in range(1, 9):
        part = part_of(SuitePlan(keys, (), ()), Shard(number, 8)).keys
        assert Counter(key.ctx for key in part) == {4096: 5, 65536: 5}
        assert {(key.task, key.ctx) for key in part} == {(key.task, key.ctx) for key in keys}


def test_the_rule_is_the_same_for_ever() -> None:
    """Shards of one run may be made by different machines and at different times."""
    keys = tuple(SampleKey(task, ctx, i, 42) for ctx in (512, 1024) for task in ("vt", "law") for i in range(3))
    numbers = shard_numbers(SuitePlan(keys, (), (), prefix_tasks=("law",)), 3)
    assert [numbers[key] for key in keys] == [1, 2, 3, 1, 1, 1, 1, 2, 3, 2, 3, 3]


@pytest.mark.parametrize("text", ["3", "0/8", "9/8", "1/0", "-1/2", "a/b", "1/2/3", "", "1.5/2", "9999999/9999999"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        read_shard(text)


def test_more_shards_than_samples_are_refused() -> None:
    plan = SuitePlan((SampleKey("vt", 512, 0, 42),), (), ())
    with pytest.raises(UsageError, match="--shard 2/2: the run has 1 sample; use at most as many shards"):
        part_of(plan, Shard(2, 2))
