"""Waiting samples: the longest first, and groups that share a prefix on as few replicas as possible."""

from hypothesis import given
from hypothesis import strategies as st

from evalkit.records import SampleKey
from evalkit.running.replicas.dispatcher import Dispatcher
from evalkit.running.replicas.work import WorkQueue, cost_tokens, group_of
from tests.evalkit.running.replicas.simulation import keys_of

COSTS = st.lists(st.sampled_from([0, 512, 4_096]), max_size=30)


@given(COSTS, st.integers(1, 5), st.data())
def test_the_longest_come_first_and_each_once(costs: list[int], tasks: int, data: st.DataObject) -> None:
    keys = keys_of(costs, tasks)
    queue, taken = WorkQueue(keys), list[SampleKey]()
    while queue.samples:
        replica = data.draw(st.integers(1, 3))
        shown = queue.peek(replica)
        taken.append(queue.take(replica))
        assert taken[-1] == shown
        assert queue.tokens == sum(map(cost_tokens, set(keys) - set(taken)))
    assert queue.peek(1) is None
    assert set(taken) == set(keys)
    assert [cost_tokens(key) for key in taken] == sorted(map(cost_tokens, keys), reverse=True)


def test_a_replica_keeps_to_its_group_and_leaves_those_of_others_alone() -> None:
    queue = WorkQueue(keys_of([0] * 40, tasks=4))
    groups: dict[int, list[tuple[str, int]]] = {}
    while queue.samples:
        for replica in (1, 2):
            groups.setdefault(replica, []).append(group_of(queue.take(replica)))
    assert all(len(set(taken)) == 2 for taken in groups.values()), "each replica reads two of four prefixes"
    assert not set(groups[1]) & set(groups[2])


def test_only_the_last_group_is_shared() -> None:
    queue = WorkQueue(keys_of([0] * 30, tasks=3))
    taken = [[group_of(queue.take(replica)) for replica in (1, 2)] for _ in range(15)]
    assert [len(set(pair)) for pair in taken] == [2] * 10 + [1] * 5


def test_what_is_put_back_comes_first() -> None:
    queue = WorkQueue(keys_of([512] * 3))
    first, second = queue.take(1), queue.take(1)
    queue.put_back([second, first])
    assert [queue.take(2) for _ in range(3)] == keys_of([512] * 3)
    assert (queue.samples, queue.tokens) == (0, 0)


def test_the_last_samples_are_shared_out() -> None:
    dispatcher = Dispatcher(keys_of([512] * 12))
    for replica in (1, 2, 3):
        dispatcher.join(replica, ahead=100, now=0.0)
    assert [len(dispatcher.hand_out(replica, 0.0)) for replica in (1, 2, 3)] == [4, 4, 4]


def test_the_first_replica_leaves_their_share_to_those_that_still_start() -> None:
    dispatcher = Dispatcher(keys_of([512] * 12))
    dispatcher.expected = 3
    dispatcher.join(1, ahead=100, now=0.0)
    assert len(dispatcher.hand_out(1, 0.0)) == 4


def test_replicas_that_decode_many_together_end_together() -> None:
    """All answers of a replica arrive at once; the first to report leaves the others, which soon will, their share."""
    dispatcher = Dispatcher(keys_of([512] * 256))
    held = {}
    for replica in (1, 2):
        dispatcher.join(replica, ahead=48, now=0.0)
        held[replica] = dispatcher.hand_out(replica, 0.0)
    for replica, now in ((1, 1.2), (2, 1.4)):
        for key in held[replica]:
            dispatcher.ended(replica, key.id, now)
        dispatcher.heard(replica, 272, now)
        held[replica] = dispatcher.hand_out(replica, now)
    assert [len(held[replica]) for replica in (1, 2)] == [80, 76]


def test_a_quick_replica_has_a_second_of_work_waiting() -> None:
    dispatcher = Dispatcher(keys_of([512] * 1_000))
    dispatcher.join(1, ahead=2, now=0.0)
    for step, key in enumerate(dispatcher.hand_out(1, 0.0), start=1):
        dispatcher.ended(1, key.id, now=step / 50)
    assert len(dispatcher.hand_out(1, 0.04)) == 2 + 50


def test_answers_of_a_lost_replica_do_not_count() -> None:
    dispatcher = Dispatcher(keys_of([512]))
    dispatcher.join(1, ahead=1, now=0.0)
    (key,) = dispatcher.hand_out(1, 0.0)
    assert dispatcher.started(1, key.id)
    assert dispatcher.lost(1, "killed", 1.0) == []
    assert not dispatcher.ended(1, key.id, 2.0)
    assert not dispatcher.is_finished
    dispatcher.join(2, ahead=1, now=2.0)
    assert dispatcher.hand_out(2, 2.0) == [key]
    assert not dispatcher.started(2, key.id), "its prompt was counted before"
    assert dispatcher.ended(2, key.id, 3.0)
    assert dispatcher.is_finished
