"""The manual operations on variables: one-sided operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import varsim as tf
from varsim.errors import (
    ContextError,
    MismatchError,
    OperationError,
    ReplicaIndexError,
    ShapeError,
    ValueTypeError,
    WorkerLost,
)
from varsim.testing import simulated_cluster

pytestmark = pytest.mark.usefixtures("quiet")

NONE = tf.VariableSynchronization.NONE
ON_READ = tf.VariableSynchronization.ON_READ
MEAN, SUM = tf.VariableAggregation.MEAN, tf.VariableAggregation.SUM


def devices(count: int) -> list[str]:
    return [f"cpu:{i}" for i in range(count)]


def own_id() -> int:
    replica_id: int = tf.distribute.get_replica_context().replica_id_in_sync_group
    return replica_id


def results(strategy: Any, step: Any) -> list[Any]:
    return list(strategy.experimental_local_results(strategy.run(step)))


def created(
    value: Any = 0.0, **settings: Any
) -> tuple[tf.distribute.MirroredStrategy, tf.Variable]:
    strategy = tf.distribute.MirroredStrategy(devices(settings.pop("count", 2)))
    with strategy.scope():
        return strategy, tf.Variable(value, name="v", **({"synchronization": NONE} | settings))


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_400_pushes_of_4_replicas_give_400(seed: int | None):
    with simulated_cluster(seed):
        strategy, v = created(0, count=4)

        def step() -> None:
            for _ in range(50):
                v.push(1)

        strategy.run(step)
        strategy.run(step)

        assert (400, 400) == (int(v.pull().value), v.pull().version)
        assert [0, 0, 0, 0] == [int(one.read_value()) for one in v.values]


def test_a_fetch_gives_the_published_component_and_not_the_present_one():
    strategy, v = created([0.0, 0.0])

    def step() -> Any:
        v.assign([1.0 + own_id(), 5.0])
        v.publish()
        v.assign([9.0, 9.0])

    strategy.run(step)
    fetched = [v.fetch(i) for i in range(2)]

    assert [[1.0, 5.0], [2.0, 5.0]] == [one.value.tolist() for one in fetched]
    assert [1, 1] == [one.version for one in fetched]
    assert all(one.age_s >= 0 for one in fetched)
    with pytest.raises(ValueError, match="read-only"):
        fetched[0].value[0] = 3.0


def test_version_0_is_the_initial_value():
    strategy, v = created(7.0)

    def step() -> tuple[float, int, float, int]:
        v.assign(1.0)
        other, copy = v.fetch(1 - own_id()), v.pull()
        return float(other.value), other.version, float(copy.value), copy.version

    assert [(7.0, 0, 7.0, 0)] * 2 == results(strategy, step)


def test_a_push_copies_the_delta():
    strategy, v = created([0.0, 0.0])

    def step() -> None:
        delta = np.ones(2, np.float32)
        v.push(delta)
        delta[:] = 100.0

    strategy.run(step)
    delta = np.ones(2, np.float32)
    v.push(delta)
    delta[:] = 100.0

    assert [3.0, 3.0] == v.pull().value.tolist()


def test_a_merge_call_can_push_and_pull():
    strategy, v = created(0)

    def outside(_: Any) -> int:
        v.push(10)
        return int(v.pull().value)

    def step() -> int:
        v.push(1)
        return int(tf.distribute.get_replica_context().merge_call(outside))

    assert {12} == {*results(strategy, step)}


def test_a_push_of_a_failed_call_counts():
    strategy, v = created(0)

    def step() -> None:
        v.push(1)
        if own_id() == 1:
            raise ArithmeticError
        tf.distribute.get_replica_context().all_reduce("SUM", 1.0)

    with pytest.raises(ArithmeticError):
        strategy.run(step)

    assert 2 == int(v.pull().value)


def test_a_single_device_behaves_alike():
    strategy = tf.distribute.OneDeviceStrategy()
    with strategy.scope():
        v = tf.Variable([0.0, 0.0], synchronization=NONE, name="v")

    def step() -> list[Any]:
        v.push([1.0, 2.0])
        v.assign([3.0, 3.0])
        before = v.fetch(0)
        v.publish()
        return [before.version, before.value.tolist(), v.fetch(0).value.tolist(), v.pull().version]

    assert [0, [0.0, 0.0], [3.0, 3.0], 1] == strategy.run(step)
    with pytest.raises(ReplicaIndexError, match="only replica is 0"):
        v.fetch(1)
    with pytest.raises(ShapeError):
        v.push(1.0)


# ---------------------------------------------------------------- the account


def test_the_account_has_the_staleness_of_reads():
    strategy, v = created(0)

    def step() -> None:
        if own_id() == 0:
            v.pull()
            v.push(1)  # not stale: the replica knows its own push
            v.pull()
        else:
            for _ in range(3):
                v.push(1)

    strategy.run(step)
    strategy.run(lambda: v.pull() if own_id() == 0 else None)
    (account,) = strategy.statistics()

    counts = account.one_sided
    assert counts is not None
    assert (7 - 3, 3) == (counts.pushes, counts.pulls)
    assert (3, 3) == (counts.behind, counts.most_behind)
    assert 0 < counts.longest_age_s <= counts.age_s
    assert 4 + 2 * 3 == account.messages


def test_a_variable_without_one_sided_operations_has_no_such_account():
    strategy, v = created(0)
    v.assign(1)

    assert None is strategy.statistics()[0].one_sided


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"synchronization": tf.VariableSynchronization.ON_WRITE}, "should have one value"),
        ({"aggregation": MEAN, "synchronization": None}, "should have one value"),
        ({"synchronization": tf.LocalSGD(2)}, "its policy itself decides"),
        ({"aggregation": MEAN, "synchronization": tf.BoundedStaleness(1)}, "should have one value"),
    ],
)
def test_other_settings_refuse_and_name_those_that_allow(settings: Any, reason: str):
    strategy, v = created(0.0, **settings)
    for operation in (lambda: v.push(1.0), v.pull, v.publish, lambda: v.fetch(0)):
        with pytest.raises(OperationError, match=reason) as refused:
            strategy.run(operation)
        assert "synchronization=NONE: allows the operation" in str(refused.value)
    with pytest.raises(OperationError, match=reason):
        v.pull()


def test_on_read_allows_one_sided_operations():
    strategy, v = created(0.0, synchronization=ON_READ, aggregation=SUM)
    strategy.run(lambda: v.push(2.0))

    assert 4.0 == float(v.pull().value)
    assert 0.0 == float(v.read_value())


def test_wrong_arguments_are_refused_before_anything_is_sent():
    strategy, v = created([0.0, 0.0])
    for run in (lambda operation: operation(), strategy.run):
        with pytest.raises(ShapeError):
            run(lambda: v.push(1.0))
        with pytest.raises(ValueTypeError, match="neither a number"):
            run(lambda: v.push(["a", "b"]))
        with pytest.raises(ReplicaIndexError, match="replicas are 0 to 1"):
            run(lambda: v.fetch(2))
    assert 0 == v.pull().version


def test_bools_and_open_shapes_have_no_authoritative_copy():
    _, flag = created(False)
    with pytest.raises(OperationError, match="bool"):
        flag.push(True)
    strategy, v = created([1.0], shape=[None])
    with pytest.raises(ShapeError, match="known shape"):
        v.pull()

    def step() -> None:
        v.assign([1.0, 2.0])
        v.publish()

    strategy.run(step)
    assert [1.0, 2.0] == v.fetch(1).value.tolist()


def test_only_a_replica_publishes():
    _, v = created()
    with pytest.raises(OperationError, match="only a replica publishes"):
        v.publish()


def test_components_and_variables_of_the_program_have_no_manual_operations():
    strategy, v = created()
    plain = tf.Variable(0.0)
    with pytest.raises(OperationError, match="of one component"):
        v.values[0].pull()
    with pytest.raises(OperationError, match="outside the scope"):
        strategy.run(plain.pull)
    plain.push(2.0)
    assert 2.0 == float(plain.pull().value)


# ---------------------------------------------------------------- lost workers


def pushed_and_published(strategy: tf.distribute.Strategy, v: tf.Variable) -> None:
    def step() -> None:
        v.push(1.0)
        v.assign(10.0 + own_id())
        v.publish()

    strategy.run(step)


@pytest.mark.parametrize(("policy", "published"), [("restart", [10, 11, 12]), ("shrink", [10, 12])])
def test_shared_values_survive_lost_workers(simulated: Any, policy: str, published: list[int]):
    strategy = tf.distribute.MirroredStrategy(devices(3), on_worker_lost=policy)
    with strategy.scope():
        v = tf.Variable(0.0, synchronization=NONE, name="v")
    pushed_and_published(strategy, v)

    def die() -> None:
        if own_id() == 1:
            simulated.lose(1)
        tf.distribute.get_replica_context().all_reduce("SUM", 1.0)

    with pytest.raises(WorkerLost):
        strategy.run(die)
    strategy.run(lambda: v.push(1.0))

    assert 3 + len(published) == int(v.pull().version)
    assert 3.0 + len(published) == float(v.pull().value)
    fetched = [v.fetch(i) for i in range(len(published))]
    assert published == [int(one.value) for one in fetched]
    assert {1} == {one.version for one in fetched}


def test_shared_values_can_be_read_after_a_loss(simulated: Any):
    strategy, v = created(0.0)
    pushed_and_published(strategy, v)
    with pytest.raises(WorkerLost, match="was killed"):
        strategy.run(lambda: simulated.lose(1) if own_id() == 1 else None)

    assert (2.0, 11.0) == (float(v.pull().value), float(v.fetch(1).value))
    with pytest.raises(WorkerLost, match="was killed"):
        v.push(1.0)


# ---------------------------------------------------------------- sync and broadcast


def ids_plus(v: tf.Variable, offset: float) -> None:
    v.assign(offset + own_id())


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize(
    ("op", "value"),
    [("SUM", 6.0), ("MEAN", 2.0), ("min", 1.0), (tf.distribute.ReduceOp.MAX, 3.0), ("PROD", 6.0)],
)
def test_a_sync_stores_the_aggregate_in_every_component(seed: int | None, op: Any, value: float):
    with simulated_cluster(seed):
        strategy, v = created(0.0, count=3)

        def step() -> tuple[float, float]:
            ids_plus(v, 1.0)
            synced = v.sync(op)
            found = float(synced), float(v.read_value())
            v.assign_add(10.0 * own_id())
            return found

        assert {(value, value)} == {*results(strategy, step)}
        assert [value, value + 10, value + 20] == [float(one.read_value()) for one in v.values]


@pytest.mark.parametrize("seed", [None, 1])
def test_a_broadcast_stores_one_component_in_every_component(seed: int | None):
    with simulated_cluster(seed):
        strategy, v = created([0.0, 0.0], count=3)

        def step() -> list[float]:
            v.assign([float(own_id()), 5.0])
            return [float(one) for one in v.broadcast(2)]

        assert [2.0, 5.0] in results(strategy, step)
        assert [[2.0, 5.0]] * 3 == [one.read_value().tolist() for one in v.values]


@pytest.mark.parametrize(
    ("aggregation", "value"),
    [(SUM, 3.0), (MEAN, 1.5), (tf.VariableAggregation.ONLY_FIRST_REPLICA, 1.0)],
)
def test_the_default_op_is_the_aggregation(aggregation: Any, value: float):
    strategy, v = created(0.0, aggregation=aggregation)

    def step() -> float:
        ids_plus(v, 1.0)
        return float(v.sync())

    assert {value} == {*results(strategy, step)}
    strategy.run(lambda: ids_plus(v, 1.0))
    assert value == float(v.sync())
    assert [value, value] == [float(one.read_value()) for one in v.values]


def test_without_an_aggregation_a_sync_needs_an_op():
    strategy, v = created(0.0)
    for run in (lambda operation: operation(), strategy.run):
        with pytest.raises(OperationError, match="needs an op") as refused:
            run(v.sync)
        assert "v.sync('MEAN')" in str(refused.value)


def test_the_program_synchronises_alone():
    strategy, v = created(0.0, count=3)
    strategy.run(lambda: ids_plus(v, 1.0))

    assert 6.0 == float(v.sync("SUM"))
    assert [6.0] * 3 == [float(one.read_value()) for one in v.values]
    strategy.run(lambda: ids_plus(v, 1.0))
    assert 2.0 == float(v.broadcast(1))
    assert [2.0] * 3 == [float(one.read_value()) for one in v.values]


def test_a_merge_call_can_synchronise():
    strategy, v = created(0.0)

    def step() -> float:
        ids_plus(v, 1.0)
        return float(tf.distribute.get_replica_context().merge_call(lambda _: v.sync("SUM")))

    assert {3.0} == {*results(strategy, step)}
    assert [3.0, 3.0] == [float(one.read_value()) for one in v.values]


def test_a_sync_heals_the_copies_of_a_mirrored_variable_without_aggregation():
    strategy, v = created(0.0, synchronization=tf.VariableSynchronization.ON_WRITE)

    def step() -> None:
        ids_plus(v, 1.0)
        v.sync("MEAN")

    strategy.run(step)

    assert 1.5 == float(v.read_value())
    assert [1.5, 1.5] == [float(one.read_value()) for one in v.values]


def test_the_account_counts_a_contribution_and_an_answer_per_replica():
    strategy, v = created([0.0] * 4, count=3)
    strategy.run(lambda: v.sync("SUM"))
    (account,) = strategy.statistics()

    assert (3, 6, 6 * 16) == (account.writes, account.messages, account.size_bytes)


def test_replicas_that_synchronise_other_variables_are_named():
    strategy, v = created(0.0)
    with strategy.scope():
        w = tf.Variable(0.0, name="w", synchronization=NONE)
    variables = [v, w]
    with pytest.raises(MismatchError) as refused:
        strategy.run(lambda: variables[own_id()].sync("SUM"))

    assert "replica 0: v.sync(SUM, 'v': float32[]) at " in str(refused.value)
    assert "replica 1: v.sync(SUM, 'w': float32[]) at " in str(refused.value)
    assert "test_manual.py" in str(refused.value)
    with pytest.raises(MismatchError, match="root=1"):
        strategy.run(lambda: v.broadcast(own_id()))
    with pytest.raises(MismatchError, match="name"):
        strategy.run(lambda: v.sync("SUM", name=f"n{own_id()}"))
    assert [0.0, 0.0] == [float(one.read_value()) for one in v.values]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"aggregation": MEAN, "synchronization": None}, "already gives all its components one"),
        ({"synchronization": ON_READ, "aggregation": SUM}, "count a synchronised value once per"),
        ({"synchronization": tf.LocalSGD(2)}, "its policy itself decides"),
        ({"aggregation": MEAN, "synchronization": tf.BoundedStaleness(1)}, "its policy itself dec"),
    ],
)
def test_settings_under_which_a_sync_would_be_wrong_refuse_it(settings: Any, reason: str):
    strategy, v = created(0.0, **settings)
    for operation in (v.sync, lambda: v.sync("MEAN"), v.broadcast):
        for run in (lambda one: one(), strategy.run):
            with pytest.raises(OperationError, match=reason) as refused:
                run(operation)
            assert "synchronization=NONE: allows the operation" in str(refused.value)


def test_adaptive_variables_refuse_a_sync():
    strategy = tf.distribute.MirroredStrategy(devices(2), auto="adaptive")
    with strategy.scope():
        v = tf.Variable(0.0, aggregation=MEAN)
    with pytest.raises(OperationError, match="already gives all"):
        strategy.run(v.sync)


def test_ops_that_give_another_dtype_are_refused():
    strategy, count = created(3)
    _, flag = created(True)
    for run in (lambda operation: operation(), strategy.run):
        with pytest.raises(OperationError, match=r"v\.sync\(MEAN\) of dtype int32"):
            run(lambda: count.sync("MEAN"))
    with pytest.raises(OperationError, match="dtype bool"):
        flag.sync("SUM")
    assert flag.sync("ALL")
    with pytest.raises(ValueError, match="invalid ReduceOp"):
        count.sync("AVERAGE")


def test_a_root_that_takes_no_part_is_refused():
    strategy, v = created(0.0)
    for run in (lambda operation: operation(), strategy.run):
        with pytest.raises(ReplicaIndexError, match="that of replicas 0, 1"):
            run(lambda: v.broadcast(2))


def test_a_sync_of_a_call_that_fails_changes_nothing():
    strategy, v = created(0.0)

    def step() -> None:
        ids_plus(v, 1.0)
        if own_id() == 1:
            raise ArithmeticError
        v.sync("SUM")

    with pytest.raises(ArithmeticError):
        strategy.run(step)

    assert [1.0, 2.0] == [float(one.read_value()) for one in v.values]


def test_a_lost_replica_ends_a_sync(simulated: Any):
    strategy, v = created(0.0)
    with pytest.raises(WorkerLost):
        strategy.run(lambda: simulated.lose(1) if own_id() == 1 else v.sync("SUM"))


def test_a_sync_on_a_single_device_gives_the_value():
    strategy = tf.distribute.OneDeviceStrategy()
    with strategy.scope():
        v = tf.Variable(3.0, synchronization=NONE, aggregation=MEAN)

    found = strategy.run(lambda: (v.sync(), v.sync("SUM"), v.broadcast()))
    assert [3.0, 3.0, 3.0] == [float(one) for one in found]
    with pytest.raises(ReplicaIndexError):
        v.broadcast(1)


# ---------------------------------------------------------------- groups


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_sync_of_a_group_changes_only_its_members(seed: int | None):
    with simulated_cluster(seed):
        strategy, v = created(0.0, count=4)
        group = strategy.group([1, 3])

        def step() -> None:
            ids_plus(v, 1.0)
            if own_id() in group:
                v.sync("SUM", group=group)

        strategy.run(step)
        assert [1.0, 6.0, 3.0, 6.0] == [float(one.read_value()) for one in v.values]
        strategy.run(lambda: ids_plus(v, 1.0))
        assert 3.0 == float(v.sync("MEAN", group=group))
        assert [1.0, 3.0, 3.0, 3.0] == [float(one.read_value()) for one in v.values]
        strategy.run(lambda: ids_plus(v, 1.0))
        assert 4.0 == float(v.broadcast(3, group=group))
        assert [1.0, 4.0, 3.0, 4.0] == [float(one.read_value()) for one in v.values]


def test_only_members_of_a_group_synchronise():
    strategy, v = created(0.0, count=3)
    group = strategy.group([0, 2])
    with pytest.raises(ContextError, match="replica 1 is not a member"):
        strategy.run(lambda: v.sync("SUM", group=group))
    with pytest.raises(ReplicaIndexError, match="that of replicas 0, 2"):
        v.broadcast(1, group=group)
    with pytest.raises(TypeError, match=r"strategy\.group"):
        v.sync("SUM", group=[0, 2])
