"""Collectives of process groups: who takes part, the values, and the errors."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.errors import ContextError, DistributedValueError, MismatchError
from varsim.testing import simulated_cluster

F = np.float32
DEVICES = ["a/gpu:0", "a/cpu:0", "b/GPU:0", "b/device:CPU:0"]


@pytest.fixture
def four(simulated):
    """Provide a strategy of four replicas on two hosts."""
    return tf.distribute.MirroredStrategy(DEVICES)


def context() -> Any:
    return tf.distribute.get_replica_context()


def results(strategy: Any, step: Any, *args: Any) -> list[Any]:
    """Return the results of all replicas, with lists instead of arrays."""
    values = strategy.experimental_local_results(strategy.run(step, args))
    if len(values) == 1:  # the results are equal, so `run` has returned one of them
        values *= strategy.num_replicas_in_sync
    return [one.tolist() if isinstance(one, np.ndarray) else one for one in values]


# ---------------------------------------------------------------- groups


@pytest.mark.parametrize(
    ("wanted", "members"),
    [
        ({"replica_ids": [2, 0]}, (0, 2)),
        ({"replica_ids": np.array([1])}, (1,)),
        ({"replica_ids": range(4)}, (0, 1, 2, 3)),
        ({"host": "a"}, (0, 1)),
        ({"kind": "gpu"}, (0, 2)),
        ({"kind": "CPU"}, (1, 3)),
        ({"host": "b", "kind": "cpu"}, (3,)),
    ],
)
def test_a_group_has_the_replicas_of_its_ids_or_devices(four, wanted, members):
    group = four.group(**wanted)

    assert members == group.replica_ids == tuple(group)
    assert (len(members), members[0] in group, 7 in group) == (len(group), True, False)


def test_a_group_is_a_value(four):
    group = four.group([2, 0])

    assert group == four.group((0, 2)) == pickle.loads(pickle.dumps(group))
    assert 1 == len({group, four.group([0, 2])})
    assert "ProcessGroup(replicas 0, 2 of 4)" == repr(group)
    assert [(0, 2)] * 4 == [one.replica_ids for one in results(four, lambda: four.group([2, 0]))]


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({}, "needs members: give replica ids, such as strategy.group"),
        ({"replica_ids": []}, "needs at least one replica"),
        ({"replica_ids": [0, 4]}, "has no replica 4; its replicas have the ids 0 to 3"),
        ({"replica_ids": [1, 0, 1]}, "a replica occurs twice"),
        ({"replica_ids": [-1]}, "give a list of replica ids"),
        ({"replica_ids": [True]}, "give a list of replica ids"),
        ({"replica_ids": 2}, "give a list of replica ids"),
        ({"replica_ids": "02"}, "give a list of replica ids"),
        ({"replica_ids": [0], "host": "a"}, "give only one of them"),
        ({"host": "c"}, r"group\(host='c'\): no device fits; the devices .* a/gpu:0, a/cpu:0"),
        ({"host": "a", "kind": "tpu"}, r"group\(host='a', kind='tpu'\): no device fits"),
    ],
)
def test_a_group_of_no_such_replicas_is_refused(four, wanted, text):
    with pytest.raises(DistributedValueError, match=text):
        four.group(**wanted)


# ---------------------------------------------------------------- values


def test_reductions_in_disjoint_groups_have_the_values_of_their_members(four):
    """The program of pytorch#130102: groups {0, 3} and {1, 2}."""
    groups = four.group([0, 3]), four.group([1, 2])

    def step():
        if replica_id() in groups[0]:
            return float(context().all_reduce("SUM", float(replica_id()), group=groups[0]))
        return float(context().all_reduce("SUM", 10.0 * replica_id(), group=groups[1]))

    assert [3.0, 30.0, 30.0, 3.0] == results(four, step)


def test_every_collective_takes_a_group(four):
    seen: dict[int, Any] = {}  # a simulated replica shares the program's memory

    def step():
        group = four.group(kind="gpu" if replica_id() % 2 == 0 else "cpu")
        c, i = context(), F(replica_id())
        rows = tf.IndexedSlices(F([[i]]), [replica_id()], dense_shape=(4, 1))
        slices = c.all_reduce("MEAN", rows, group=group)
        seen[replica_id()] = [
            float(c.all_reduce("MEAN", i, group=group)),
            float(c.all_reduce("MEAN", i, weight=i, group=group)),
            c.all_gather(F([i]), axis=0, group=group).tolist(),
            float(c.broadcast(i, root=group.replica_ids[1], group=group)),
            float(c.scan("SUM", i, exclusive=True, group=group)),
            c.reduce_scatter("SUM", F([i, 10 * i]), group=group).tolist(),
            [one.tolist() for one in c.all_to_all([F([i]), F([i, i])], group=group)],
            (slices.indices.tolist(), slices.values.ravel().tolist()),
        ]

    four.run(step)
    first, second, third, fourth = (seen[i] for i in range(4))
    assert [1.0, 2.0, [0.0, 2.0], 2.0, 0.0, [2.0], [[0.0], [2.0]]] == first[:7]
    assert [1.0, 2.0, [0.0, 2.0], 2.0, 0.0, [20.0], [[0.0, 0.0], [2.0, 2.0]]] == third[:7]
    assert [2.0, 2.5, [1.0, 3.0], 3.0, 0.0, [4.0], [[1.0], [3.0]]] == second[:7]
    assert [2.0, 2.5, [1.0, 3.0], 3.0, 1.0, [40.0], [[1.0, 1.0], [3.0, 3.0]]] == fourth[:7]
    assert ([0, 2], [0.0, 1.0]) == first[7] == third[7]
    assert ([1, 3], [0.5, 1.5]) == second[7] == fourth[7]


@pytest.mark.parametrize("seed", [None, *range(20)])
def test_groups_do_not_wait_for_each_other(seed):
    """Replica 0 calls three collectives of its group while the others are in other groups."""
    with simulated_cluster(seed):
        strategy = tf.distribute.MirroredStrategy(DEVICES)
        pairs = strategy.group([0, 1]), strategy.group([2, 3])

        def step():
            own = pairs[replica_id() // 2]
            total = F(replica_id())
            for _ in range(3 if replica_id() < 2 else 1):
                total = context().all_reduce("SUM", total, group=own)
            return float(context().all_reduce("SUM", total))

        assert [4.0 + 4.0 + 5.0 + 5.0] * 4 == results(strategy, step)


def test_a_group_of_all_replicas_is_the_same_as_no_group(strategy):
    everyone = strategy.group([0, 1])

    def step():
        group = everyone if replica_id() else None
        return float(context().all_reduce("SUM", 1.0, group=group))

    assert [2.0, 2.0] == results(strategy, step)


def test_a_group_of_one_replica_gives_its_own_value(strategy):
    def step():
        return float(context().all_reduce("MEAN", 3.0, group=strategy.group([replica_id()])))

    assert [3.0, 3.0] == results(strategy, step)


def test_a_strategy_of_one_device_has_groups():
    strategy = tf.distribute.OneDeviceStrategy("gpu:0")

    def step():
        return float(context().all_reduce("SUM", 2.0, group=strategy.group(kind="gpu")))

    assert 2.0 == strategy.run(step)


@pytest.mark.parametrize("seed", range(10))
def test_a_barrier_of_a_group_waits_only_for_its_members(seed):
    order = []  # a simulated replica shares the program's memory
    with simulated_cluster(seed):
        strategy = tf.distribute.MirroredStrategy(DEVICES)
        pairs = strategy.group([0, 1]), strategy.group([2, 3])

        def step():
            context().barrier(group=pairs[replica_id() // 2])
            if replica_id() == 3:
                order.append("others")
            if replica_id() < 2:
                context().barrier("second", group=pairs[0])
                context().all_reduce("SUM", 1.0, group=pairs[0])
                order.append("pair")
            context().barrier()
            order.append("all")

        strategy.run(step)
    assert ["all"] * 4 == order[3:]
    assert ["others", "pair", "pair"] == sorted(order[:3])


def test_writes_before_a_collective_of_a_group_are_sent(four):
    with four.scope():
        total = tf.Variable(
            F(0),
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.SUM,
        )

    def step():
        total.assign_add(F(replica_id()))
        if replica_id() < 2:
            context().all_reduce("SUM", 1.0, group=four.group([0, 1]))
        return float(total.read_value())

    assert [6.0] * 4 == results(four, step)


def test_members_that_have_joined_take_no_part(four):
    batch = tf.distribute.PerReplica([F(1), F(2), F(3)], 1)

    def step(x):
        if replica_id() == 0:
            return None
        group = four.group([1, 2, 3])
        mean = float(context().all_reduce("MEAN", x, group=group))
        return mean, context().all_gather(F([x]), axis=0, group=group).tolist()

    assert [None, (2.5, [2.0, 3.0]), (2.5, [2.0, 3.0])] == results(four, step, batch)


# ---------------------------------------------------------------- errors


def test_a_replica_that_is_not_a_member_is_refused_before_anything_is_sent(four):
    group = four.group([0, 2])

    def step():
        if replica_id() == 1:
            with pytest.raises(ContextError, match="replica 1 is not a member of the group of "):
                context().all_gather(F([1]), axis=0, group=group)
        return float(context().all_reduce("SUM", 1.0))

    assert [4.0] * 4 == results(four, step)


def test_a_group_of_another_number_of_replicas_is_refused(strategy, four):
    group = four.group([0, 1])

    with pytest.raises(
        DistributedValueError,
        match=r"the devices a/gpu:0, a/cpu:0, .* and this strategy has cpu:0, cpu:1;",
    ):
        strategy.run(lambda: context().all_reduce("SUM", 1.0, group=group))


@pytest.mark.parametrize("group", [[0, 1], 0, "gpu"])
def test_only_a_group_of_the_strategy_is_accepted(strategy, group):
    with pytest.raises(TypeError, match=r"write group=strategy.group\(\[0, 2\]\)"):
        strategy.run(lambda: context().all_reduce("SUM", 1.0, group=group))


def test_only_members_may_wait_at_a_barrier_of_a_group(four):
    with pytest.raises(ContextError, match="barrier: replica 0 is not a member of the group of"):
        four.run(lambda: context().barrier(group=four.group([1, 2])))


def test_the_root_of_a_broadcast_is_a_member(four):
    def step():
        if replica_id() in (1, 2):
            context().broadcast(1.0, root=0, group=four.group([1, 2]))

    with pytest.raises(DistributedValueError, match=r"root=0: .* one of \[1, 2\]"):
        four.run(step)


def test_an_update_of_a_group_is_refused(strategy):
    with strategy.scope():
        v = tf.Variable(1.0)
    group: Any = strategy.group([0])

    with pytest.raises(TypeError, match="an update concerns the components of all replicas"):
        strategy.run(lambda: context().update(v, lambda one: one.assign(2.0), group=group))


@pytest.mark.parametrize("seed", [None, *range(10)])
def test_a_member_that_ends_early_fails_the_call_at_once(seed):
    with simulated_cluster(seed):
        strategy = tf.distribute.MirroredStrategy(DEVICES)
        group = strategy.group([0, 2])

        def step():
            for _ in range(2 if replica_id() == 0 else 1):
                if replica_id() in group:
                    context().all_reduce("SUM", 1.0, group=group, name="loss")

        with pytest.raises(MismatchError) as caught:
            strategy.run(step)
    lines = str(caught.value).splitlines()
    assert (
        "replicas wait at collective 2 of the group of replicas 0, 2 in this call for" in lines[0]
    )
    assert "replica 0: all_reduce(SUM, float32[], group=[0, 2], name='loss') at" in lines[1]
    assert "never arrived; its function returned after 1 collective of this group" in lines[2]
    assert [(0,), (2,)] == [one.replica_ids for one in caught.value.groups]


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (("SUM", 1.0, None), ("MEAN", 1.0, None), "called a collective with different arguments"),
        (("SUM", 1.0, "a"), ("SUM", 1.0, "b"), "called collectives with different names"),
        (("SUM", F(1), None), ("SUM", F([1]), None), "gave values that do not match"),
    ],
)
def test_members_that_differ_fail_the_call(four, first, second, text):
    def step():
        if replica_id() in (1, 3):
            op, value, name = first if replica_id() == 1 else second
            context().all_reduce(op, value, group=four.group([1, 3]), name=name)

    with pytest.raises(MismatchError) as caught:
        four.run(step)
    head = f"replicas {text} at collective 1 of the group of replicas 1, 3 in this call"
    assert head in str(caught.value)
    assert "  Every member of the group must take part in this collective" in str(caught.value)


def test_members_in_different_lines_are_reported_with_their_ids(four):
    def step():
        group = four.group([1, 3])
        if replica_id() == 1:
            context().all_reduce("SUM", 1.0, group=group)
        if replica_id() == 3:
            context().all_reduce("SUM", 1.0, group=group)

    with pytest.warns(tf.VarsimWarning, match=r"\(replica 1\) is combined with .* \(replica 3\)"):
        four.run(step)


def test_an_exception_of_a_member_is_raised_although_the_other_members_wait(four):
    def step():
        if replica_id() == 2:
            raise KeyError("lost")
        if replica_id() == 0:
            context().all_reduce("SUM", 1.0, group=four.group([0, 2]))

    with pytest.raises(KeyError, match="lost"):
        four.run(step)
