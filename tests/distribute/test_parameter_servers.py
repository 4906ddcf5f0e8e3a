"""ParameterServerStrategy and ClusterCoordinator, in a simulated cluster."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest

import varsim as tf
from tests.effort import many
from varsim.errors import (
    ClosureCancelled,
    ContextError,
    DistributedValueError,
    DtypeError,
    ServerLost,
    ShapeError,
    UnsupportedError,
)
from varsim.testing import simulated_cluster

Strategy = tf.distribute.ParameterServerStrategy
Coordinator = tf.distribute.coordinator.ClusterCoordinator
FixedShards = tf.distribute.experimental.partitioners.FixedShardsPartitioner


@pytest.fixture
def served(simulated):
    """Provide a strategy with 2 workers and 2 servers, and its coordinator."""
    strategy = Strategy(workers=2, servers=2)
    return strategy, Coordinator(strategy)


def variable(strategy, initial_value, **kwargs):
    with strategy.scope():
        return tf.Variable(initial_value, **kwargs)


def run_all(coordinator, function, arguments):
    """Schedule a function with each argument, wait, and return the results."""
    values = [coordinator.schedule(function, (one,)) for one in arguments]
    coordinator.join()
    return values


# ---------------------------------------------------------------- the cluster


def test_the_default_is_one_server_and_as_many_workers_as_the_environment_says(monkeypatch):
    monkeypatch.setenv("VARSIM_WORKERS", "3")

    assert "ParameterServerStrategy(workers=3, servers=1)" == repr(Strategy())


class Resolver:
    """A cluster resolver as TensorFlow has them."""

    def __init__(self, **jobs):
        self._jobs = jobs

    def cluster_spec(self):
        return self

    def as_dict(self):
        return self._jobs


def test_a_cluster_resolver_gives_the_numbers():
    resolver = Resolver(worker=["localhost:1", "localhost:2", "127.0.0.1:3"], ps=["localhost:4"])

    assert (3, 1) == (Strategy(resolver).num_workers, Strategy(resolver).num_servers)


def test_an_address_on_another_host_is_an_error_with_a_remedy():
    resolver = Resolver(worker=["node1:1"], ps=["node2:1"])

    with pytest.raises(UnsupportedError, match=r"address node1:1.*workers=1, servers=1"):
        Strategy(resolver)


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "2"])
def test_wrong_numbers_are_refused(number):
    with pytest.raises(DistributedValueError, match="workers="):
        Strategy(workers=number)


def test_numbers_beside_a_resolver_are_refused():
    with pytest.raises(DistributedValueError, match="either a cluster_resolver"):
        Strategy(Resolver(worker=["localhost:1"], ps=["localhost:2"]), servers=2)


def test_a_strategy_has_one_coordinator(served):
    strategy, coordinator = served

    assert coordinator is Coordinator(strategy)
    assert strategy is coordinator.strategy


def test_a_coordinator_needs_this_strategy(simulated):
    with pytest.raises(DistributedValueError, match="needs a ParameterServerStrategy"):
        Coordinator(tf.distribute.MirroredStrategy(["cpu:0"]))


def test_a_closed_strategy_has_no_variables(served):
    strategy, coordinator = served
    v = variable(strategy, 1.0)
    strategy.close()

    with pytest.raises(ContextError, match="has been closed"):
        v.numpy()
    with pytest.raises(ContextError, match="has been closed"):
        coordinator.schedule(lambda: None)


# ---------------------------------------------------------------- variables


def test_variables_are_placed_round_robin(served):
    strategy, _ = served
    variables = [variable(strategy, float(i)) for i in range(4)]

    assert [0, 1, 0, 1] == [one.server for one in variables]
    assert "/job:ps/replica:0/task:1/device:CPU:0" == variables[1].device


def test_the_program_reads_and_writes(served):
    v = variable(served[0], [1.0, 2.0])

    v.assign_add([1.0, 1.0]).assign_sub([0.0, 1.0])
    v.scatter_add(tf.IndexedSlices(np.float32([10.0]), [1]))

    assert [2.0, 12.0] == v.numpy().tolist()
    assert [12.0] == v[1:].tolist()


@pytest.mark.parametrize(
    ("value", "error"), [([1.0, 2.0, 3.0], ShapeError), (np.float64([1, 2]), DtypeError)]
)
def test_a_wrong_value_changes_nothing(served, value, error):
    v = variable(served[0], [1.0, 2.0], name="v")

    with pytest.raises(error, match="variable 'v'"):
        v.assign(value)
    assert [1.0, 2.0] == v.numpy().tolist()


def test_the_shape_is_checked_where_the_value_is(served):
    v = variable(served[0], [1.0, 2.0], shape=[None], name="v")
    v.assign([1.0, 2.0, 3.0])

    with pytest.raises(ShapeError, match="variable 'v'"):
        v.assign_add([1.0, 2.0])
    assert [1.0, 2.0, 3.0] == v.numpy().tolist()


def test_the_settings_of_a_variable_are_kept_and_have_no_effect(served):
    strategy, coordinator = served
    v = variable(
        strategy,
        1.0,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.MEAN,
    )
    coordinator.schedule(lambda: v.assign_add(2.0))
    coordinator.join()

    assert (3.0, False) == (v.numpy(), v.trainable)
    assert tf.VariableSynchronization.ON_READ is v.synchronization


def test_manual_operations_and_copies_are_refused(served):
    v = variable(served[0], 1.0)

    with pytest.raises(ValueError, match="authoritative already"):
        v.push(1.0)
    with pytest.raises(ContextError, match="cannot be copied"):
        copy.deepcopy(v)
    assert copy.copy(v).numpy() == 1.0


# ---------------------------------------------------------------- shards


@pytest.fixture
def sharded(simulated):
    """Provide a coordinator, and a variable of 5 rows in 2 shards."""
    strategy = Strategy(None, FixedShards(2), workers=2, servers=2)
    v = variable(strategy, np.arange(10, dtype="f").reshape(5, 2), name="table")
    return Coordinator(strategy), v


def test_shards_are_even_parts_of_the_rows_and_larger_ones_come_first(sharded):
    _, v = sharded

    assert [(3, 2), (2, 2)] == [shard.shape for shard in v.variables]
    assert [0, 1] == [shard.server for shard in v.variables]
    assert ["table/part_0:0", "table/part_1:0"] == [shard.name for shard in v.variables]
    assert (5, 2) == v.shape
    assert np.arange(10).reshape(5, 2).tolist() == v.numpy().tolist()


def test_a_write_reaches_every_shard(sharded):
    _, v = sharded

    v.assign_add(np.ones((5, 2), "f"))

    assert (np.arange(10).reshape(5, 2) + 1).tolist() == v.numpy().tolist()


def test_rows_go_to_the_shard_that_has_them(sharded):
    coordinator, v = sharded
    coordinator.schedule(
        lambda: v.scatter_update(tf.IndexedSlices(np.zeros((3, 2), "f"), [4, 0, 3])) is None
    )
    coordinator.join()

    assert [[0, 0], [2, 3], [4, 5], [0, 0], [0, 0]] == v.numpy().tolist()


@pytest.mark.parametrize("row", [-1, 5])
def test_a_row_that_does_not_exist_changes_no_shard(sharded, row):
    _, v = sharded

    with pytest.raises(ShapeError, match=f"row {row} does not exist"):
        v.scatter_add(tf.IndexedSlices(np.ones((2, 2), "f"), [0, row]))
    assert np.arange(10).reshape(5, 2).tolist() == v.numpy().tolist()


def test_a_value_of_another_shape_changes_no_shard(sharded):
    _, v = sharded

    with pytest.raises(ShapeError, match="table"):
        v.assign(np.ones((4, 2), "f"))


def test_a_scalar_is_not_divided(simulated):
    strategy = Strategy(None, FixedShards(2), workers=1)

    assert 1.0 == variable(strategy, 1.0).numpy()


# ---------------------------------------------------------------- closures


def test_scheduled_functions_return_their_results(served):
    strategy, coordinator = served
    v = variable(strategy, 3.0)
    values = [coordinator.schedule(lambda x, y: v + x + y, (i,), {"y": 1}) for i in range(3)]

    assert [4.0, 5.0, 6.0] == coordinator.fetch(values)
    assert 4.0 == values[0].fetch() == values[0].get()


def test_additions_are_atomic_in_every_order():
    for seed in range(many(10)):
        with simulated_cluster(seed):
            strategy = Strategy(workers=3)
            coordinator, v = Coordinator(strategy), variable(strategy, 0.0)
            run_all(coordinator, lambda _, v=v: v.assign_add(1.0), range(20))

            assert 20.0 == v.numpy(), seed


def test_assigning_a_value_that_was_read_loses_updates_in_some_orders():
    def total(seed):
        with simulated_cluster(seed):
            strategy = Strategy(workers=3)
            coordinator, v = Coordinator(strategy), variable(strategy, 0.0)
            run_all(coordinator, lambda _: v.assign(v + 1.0), range(20))
            return float(v.numpy())

    totals = [total(seed) for seed in range(10)]

    assert min(totals) < 20.0
    assert totals == [total(seed) for seed in range(10)]  # a seed repeats the order
    assert 20.0 == total(None)  # without a seed, one closure runs after the other


def test_run_in_a_scheduled_function_has_one_replica(served):
    strategy, coordinator = served

    def closure():
        context = tf.distribute.get_replica_context
        inside = strategy.run(lambda: (context().replica_id_in_sync_group, 3.0))
        return inside, strategy.reduce("SUM", inside[1], axis=None), context() is None

    assert ((0, 3.0), 3.0, True) == coordinator.schedule(closure).fetch()


def test_the_first_failure_cancels_what_waits_and_surfaces_once(served):
    strategy, coordinator = served
    v = variable(strategy, 0.0)

    def closure(i):
        if i == 0:
            raise KeyError("first")
        v.assign_add(1.0)

    value = coordinator.schedule(closure, (0,))
    with pytest.raises(KeyError, match="first") as caught:
        run_all(coordinator, closure, range(1, 50))

    assert "raised by worker 0" in str(caught.value.__cause__)
    coordinator.join()  # the error was raised already
    assert v.numpy() < 49
    with pytest.raises(KeyError, match="first"):
        value.fetch()
    assert 1.0 + v.numpy() == coordinator.schedule(lambda: float(v.assign_add(1.0))).fetch()


def test_a_function_that_no_worker_has_got_is_cancelled(served):
    strategy, coordinator = served
    v = variable(strategy, 0.0)
    values = [
        coordinator.schedule(lambda i: [v.numpy() for _ in range(30)] and 1 // i, (i,))
        for i in range(10)
    ]

    with pytest.raises(ZeroDivisionError):
        coordinator.join()
    with pytest.raises(ClosureCancelled, match="another closure has failed"):
        values[-1].fetch()


def test_done_does_not_wait(served):
    _, coordinator = served
    coordinator.schedule(lambda: None)

    looks = sum(1 for _ in iter(coordinator.done, True))

    assert 0 < looks < 10
    assert coordinator.done()


@pytest.mark.parametrize("death", range(1, 12))
def test_the_closures_of_a_lost_worker_run_at_least_once(death):
    """Some of the additions happen twice, because the worker is lost after its write."""
    with simulated_cluster(1, deaths={0: death}):
        strategy = Strategy(workers=2)
        coordinator, v = Coordinator(strategy), variable(strategy, 0.0)
        with pytest.warns(tf.VarsimWarning, match="worker 0 was killed by SIGKILL; 1 of 2 workers"):
            run_all(coordinator, lambda _: v.assign_add(1.0), range(10))

        assert 10.0 <= v.numpy() <= 12.0


@pytest.mark.filterwarnings("ignore::varsim.VarsimWarning")
def test_an_update_is_repeated_if_its_worker_is_lost_before_it_reports_it():
    def total(death):
        with simulated_cluster(1, deaths={0: death}):
            strategy = Strategy(workers=2)
            coordinator, v = Coordinator(strategy), variable(strategy, 0.0)
            run_all(coordinator, lambda _: v.assign_add(1.0), range(10))
            return float(v.numpy())

    assert 11.0 == max(total(death) for death in range(1, 12))


@pytest.mark.filterwarnings("ignore::varsim.VarsimWarning")
def test_without_workers_the_values_can_still_be_read(simulated):
    strategy = Strategy(workers=1)
    coordinator, v = Coordinator(strategy), variable(strategy, 5.0)
    value = coordinator.schedule(lambda: None)
    simulated.lose_process(0)

    with pytest.raises(ClosureCancelled, match=r"did not end: worker 0 .*no worker is left"):
        value.fetch()
    with pytest.raises(ClosureCancelled, match="no worker is left, so 1 closure did not end"):
        coordinator.join()
    with pytest.raises(ClosureCancelled, match="no worker is left to run closures"):
        coordinator.schedule(lambda: None)
    assert 5.0 == v.numpy()


def test_the_loss_of_a_server_is_an_error_at_once(served, simulated):
    strategy, coordinator = served
    v, w = variable(strategy, 5.0), variable(strategy, 6.0)
    value = coordinator.schedule(v.numpy)
    simulated.lose_process(2)

    with pytest.raises(ServerLost, match="parameter server 0 was killed by SIGKILL"):
        coordinator.join()
    with pytest.raises(ServerLost, match="values of its variables are lost"):
        w.numpy()
    with pytest.raises(ServerLost):
        value.fetch()


# ---------------------------------------------------------------- what closures use


def test_each_worker_has_its_own_pass_over_a_dataset(served):
    _, coordinator = served
    iterator = iter(coordinator.create_per_worker_dataset(lambda: itertools.count(100)))
    index = tf.distribute.coordinator.experimental_get_current_worker_index

    values = [coordinator.schedule(lambda it: (index(), next(it)), (iterator,)) for _ in range(6)]

    found = sorted(coordinator.fetch(values))
    assert [(0, 100), (0, 101), (0, 102)] == [one for one in found if one[0] == 0][:3]
    assert {0, 1} == {worker for worker, _ in found}


def test_each_worker_has_its_own_resource(served):
    _, coordinator = served
    counter = coordinator.create_per_worker_resource(lambda: itertools.count(1))
    values = [coordinator.schedule(next, (counter,)) for _ in range(4)]

    assert 4 == len(coordinator.fetch(values))
    with pytest.raises(UnsupportedError, match="pass the iterator to a scheduled function"):
        next(counter)


def test_the_error_of_a_resource_is_that_of_the_closures_that_use_it(served):
    _, coordinator = served
    broken = coordinator.create_per_worker_resource(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        coordinator.schedule(lambda r: r, (broken,)).fetch()


def test_a_plain_variable_of_the_program_can_be_used(served):
    _, coordinator = served
    plain = tf.Variable(1.0)
    coordinator.schedule(lambda: plain.assign_add(1.0))
    coordinator.join()

    assert 2.0 == plain.numpy()


def test_a_variable_that_the_program_dropped_is_kept_until_its_closures_have_ended(served):
    strategy, coordinator = served
    value = coordinator.schedule(lambda v: v.numpy(), (variable(strategy, 7.0),))

    assert 7.0 == value.fetch()


def test_a_closure_cannot_create_variables_or_schedule(served):
    strategy, coordinator = served

    with pytest.raises(ContextError, match="cannot create variables"):
        coordinator.schedule(lambda: variable(strategy, 1.0)).fetch()
    with pytest.raises(ContextError, match="cannot create variables"):
        coordinator.join()
    with pytest.raises(ContextError, match="call it in the program"):
        coordinator.schedule(lambda: coordinator.schedule(len)).fetch()


@pytest.mark.parametrize("args", [3, {"x": 1}])
def test_arguments_are_a_list_or_a_tuple(served, args):
    with pytest.raises(DistributedValueError, match="args must be a list or tuple"):
        served[1].schedule(lambda: None, args)


def test_a_result_is_no_argument(served):
    value = served[1].schedule(lambda: 1)

    with pytest.raises(DistributedValueError, match=r"coordinator\.fetch"):
        served[1].schedule(lambda x: x, (value,))


def test_only_functions_are_scheduled(served):
    with pytest.raises(TypeError, match="needs a function, not int"):
        served[1].schedule(3)


def test_the_worker_index_is_that_of_a_closure(served):
    with pytest.raises(ContextError, match="runs in the program"):
        tf.distribute.coordinator.experimental_get_current_worker_index()
