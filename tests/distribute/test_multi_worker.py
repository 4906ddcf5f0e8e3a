"""MultiWorkerMirroredStrategy: every worker runs the whole program."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.distribute.cluster_resolver import check_workers
from varsim.distribute.naming import name_of
from varsim.errors import (
    ContextError,
    CreationError,
    DisagreementError,
    MismatchError,
    UnsupportedError,
)

NONE, SUM, MEAN, FIRST = tf.VariableAggregation
ON_READ = tf.VariableSynchronization.ON_READ
LOCAL = tf.VariableSynchronization.NONE

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def on_workers() -> Callable[..., list[Any]]:
    """Return a function that runs a program on three workers, and returns their results."""

    def run(program: Callable[..., Any], workers: int = 3) -> list[Any]:
        with tf.distribute.MirroredStrategy([f"node{i}/cpu:0" for i in range(workers)]) as cluster:
            results: list[Any] = []
            cluster.run(lambda: results.append((replica_id(), program(start()))))
            return [result for _, result in sorted(results, key=lambda one: one[0])]

    return run


def start() -> Any:
    return tf.distribute.MultiWorkerMirroredStrategy()


def rank_of(strategy: Any) -> int:
    return int(strategy.cluster_resolver.task_id)


def variable(strategy: Any, initial_value: Any, aggregation: Any = NONE, **settings: Any) -> Any:
    with strategy.scope():
        return tf.Variable(initial_value, name="v", aggregation=aggregation, **settings)


# ---------------------------------------------------------------- variables


def test_all_workers_get_the_initial_value_of_the_first(on_workers):
    """Every worker evaluates its initial value, as in TensorFlow."""
    calls = []

    def program(strategy):
        v = variable(strategy, lambda: calls.append(0) or 100.0 + rank_of(strategy))
        return float(v.numpy()), len(v.values), v.values[0].name, repr(v)

    shown = "MirroredVariable:{\n  0: <tf.Variable 'v:0' shape=() dtype=float32, numpy=100.0>\n}"
    assert 3 * [(100.0, 1, "v:0", shown)] == on_workers(program)
    assert 3 == len(calls)


def test_workers_that_create_different_variables_are_named(on_workers):
    def program(strategy):
        with pytest.raises(CreationError, match=r"different variables") as raised:
            variable(strategy, np.zeros(2 + (rank_of(strategy) == 2)), MEAN)
        return str(raised.value)

    (text,) = set(on_workers(program))
    assert "\n  replicas 0, 1: name=v, synchronization=AUTO, aggregation=MEAN, " in text
    assert "\n  replica 2: name=v, synchronization=AUTO, " in text
    assert "shape of the initial value=(3,) at tests/distribute/test_multi_worker.py:" in text


@pytest.mark.parametrize(
    ("aggregation", "after"), [(SUM, 13.0), (MEAN, 11.0), (FIRST, 10.0), (NONE, None)]
)
def test_a_write_in_run_aggregates_the_values_of_all_workers(on_workers, aggregation, after):
    """ONLY_FIRST_REPLICA gives all workers the value of worker 0 (D11)."""

    def program(strategy):
        v = variable(strategy, 10.0, aggregation)
        strategy.run(lambda: v.assign_add(float(replica_id())))
        return float(v.numpy())

    expected = [10.0, 11.0, 12.0] if after is None else 3 * [after]
    assert expected == on_workers(program)


@pytest.mark.parametrize(("aggregation", "read"), [(SUM, 33.0), (MEAN, 11.0), (FIRST, 10.0)])
def test_a_read_of_an_on_read_variable_combines_all_components(on_workers, aggregation, read):
    def program(strategy):
        v = variable(strategy, 10.0, aggregation, synchronization=ON_READ)
        strategy.run(lambda: v.assign_add(float(replica_id())))
        return float(v.numpy()), float(v.values[0].numpy())

    assert [(read, 10.0), (read, 11.0), (read, 12.0)] == on_workers(program)


def test_an_assign_to_an_on_read_sum_is_shared_by_the_workers(on_workers):
    def program(strategy):
        v = variable(strategy, 0.0, SUM, synchronization=ON_READ)
        assert v is v.assign(12.0)
        return float(v.numpy()), float(v.values[0].numpy())

    assert 3 * [(12.0, 4.0)] == on_workers(program)


@pytest.mark.parametrize("synchronization", [None, ON_READ, LOCAL])
@pytest.mark.parametrize("aggregation", [SUM, FIRST])
def test_different_values_of_a_cross_replica_write_are_refused(
    on_workers, aggregation, synchronization
):
    """The error names the variable, and the value and the line of each worker (D11)."""

    def program(strategy):
        v = variable(strategy, 1.0, aggregation, synchronization=synchronization)
        with pytest.raises(DisagreementError) as raised, strategy.scope():
            v.assign(10.0 if rank_of(strategy) == 1 else 20.0)
        return str(raised.value), float(v.values[0].numpy()), raised.value.definite

    results = on_workers(program)
    assert 1 == len(set(results))
    text, component, definite = results[0]
    assert (1.0, True) == (component, definite)
    assert text.startswith("variable 'v' at tests/distribute/test_multi_worker.py:")
    assert "the workers give different values to assign in cross-replica context" in text
    assert "\n  replicas 0, 2: 20.0 at tests/distribute/test_multi_worker.py:" in text
    assert "\n  replica 1: 10.0 at tests/distribute/test_multi_worker.py:" in text
    assert "strategy.reduce(op, value, axis=None)" in text


def test_nan_is_equal_to_nan_and_zero_is_not_minus_zero(on_workers):
    def program(strategy):
        v = variable(strategy, 0.0)
        v.assign(np.nan)
        with pytest.raises(DisagreementError):
            v.assign(-0.0 if rank_of(strategy) else 0.0)
        return float(v.numpy())

    assert np.isnan(on_workers(program)).all()


def test_a_per_replica_value_goes_to_the_components(on_workers):
    """It says that the values differ on purpose, as with one process."""

    def program(strategy):
        v = variable(strategy, 0.0, SUM)
        own = strategy.experimental_distribute_values_from_function(
            lambda context: np.float32(context.replica_id_in_sync_group)
        )
        with strategy.scope():
            v.assign(own)
        strategy.extended.update(v, lambda component, x: component.assign_add(x), args=(own,))
        return float(v.numpy()), len(own.values)

    assert [(0.0, 1), (2.0, 1), (4.0, 1)] == on_workers(program)


def test_an_update_that_raises_changes_no_component(on_workers):
    def program(strategy):
        v = variable(strategy, 1.0)

        def fail(component):
            component.assign(5.0)
            raise KeyError("mine")

        with pytest.raises(KeyError):
            strategy.extended.update(v, fail)
        return float(v.numpy())

    assert 3 * [1.0] == on_workers(program)


def test_rows_of_all_workers_are_joined(on_workers):
    def program(strategy):
        v = variable(strategy, np.zeros(4, np.float32), SUM)

        def step():
            rows = np.array([replica_id()])
            v.scatter_add(tf.IndexedSlices(np.ones(1, np.float32), rows))

        strategy.run(step)
        with strategy.scope():
            v.scatter_add(tf.IndexedSlices(np.ones(1, np.float32), np.array([3])))
        return v.numpy().tolist()

    assert 3 * [[1.0, 1.0, 1.0, 1.0]] == on_workers(program)


def test_a_component_can_be_written_without_the_others(on_workers):
    def program(strategy):
        v = variable(strategy, 1.0, SUM)
        if rank_of(strategy) == 1:
            v.values[0].assign(5.0)
        return float(v.numpy())

    assert [1.0, 5.0, 1.0] == on_workers(program)


def test_a_copy_has_the_components_of_the_variable(on_workers):
    def program(strategy):
        v = variable(strategy, 1.0, SUM, synchronization=ON_READ)
        strategy.run(lambda: v.assign_add(float(replica_id())))
        other = copy.deepcopy(v)
        v.assign(0.0)
        return float(other.numpy()), float(other.values[0].numpy()), float(v.numpy())

    assert [(6.0, 1.0, 0.0), (6.0, 2.0, 0.0), (6.0, 3.0, 0.0)] == on_workers(program)


def test_a_variable_outside_the_scope_is_the_workers_own(on_workers):
    """TensorFlow makes a plain variable of it, which each process has for itself."""

    def program(strategy):
        w = tf.Variable(1.0)
        strategy.run(lambda: w.assign_add(float(replica_id())))
        return float(w.numpy())

    assert [1.0, 2.0, 3.0] == on_workers(program)


def test_a_variable_outside_the_scope_stays_in_its_worker(on_workers):
    def program(strategy):
        step = tf.Variable(0, dtype="int64", name="step")
        for _ in range(rank_of(strategy)):
            step.assign_add(1)
        with pytest.raises(ContextError, match="'step' belongs to one worker"):
            name_of(step)
        return int(step.numpy()), type(step).__name__, int(step + 1)

    assert [(i, "ResourceVariable", i + 1) for i in range(3)] == on_workers(program)


def test_a_variable_that_is_older_than_the_strategy_is_that_of_the_replicas(strategy):
    def program():
        w = tf.Variable(1.0, aggregation=SUM, name="w")
        workers = start()
        workers.run(lambda: w.assign_add(1.0))
        w.assign_add(1.0)
        return float(w.numpy()), workers.run(lambda: float(w.read_value())), len(w.values)

    assert (5.0, 5.0, 2) == strategy.run(program)
    assert "AUTO" not in str(strategy.run(lambda: tf.Variable(1.0)).synchronization)


def test_a_sync_combines_the_components_of_all_workers(on_workers):
    def program(strategy):
        v = variable(strategy, 0.0, synchronization=LOCAL)
        strategy.run(lambda: v.assign(float(replica_id())))
        v.sync("SUM")
        strategy.run(lambda: v.assign_add(1.0))
        return float(strategy.run(v.read_value))

    assert 3 * [4.0] == on_workers(program)


# ---------------------------------------------------------------- the strategy


def test_run_and_reduce_and_gather(on_workers):
    def program(strategy):
        rank = rank_of(strategy)
        per_replica = strategy.run(lambda x: x + replica_id(), args=(10.0,))
        return (
            per_replica,
            float(strategy.reduce("SUM", per_replica, axis=None)),
            float(strategy.reduce("MEAN", np.arange(1.0 + rank), axis=0)),
            strategy.gather(np.arange(rank), axis=0).tolist(),
            strategy.experimental_local_results((rank, [per_replica])),
            {key: float(x) for key, x in strategy.reduce("MAX", {"a": rank}, axis=None).items()},
        )

    found = on_workers(program)
    for rank in range(3):
        own = 10.0 + rank
        assert (own, 33.0, 4 / 6, [0, 0, 1], ((rank, [own]),), {"a": 2.0}) == found[rank]


def test_the_mean_of_means_can_be_weighted(on_workers):
    def program(strategy):
        rank = rank_of(strategy)
        return float(strategy.reduce("MEAN", float(rank), axis=None, weight=rank))

    assert 3 * [pytest.approx(5 / 3)] == on_workers(program)


def test_a_sum_without_meaning_is_refused_on_each_worker(on_workers):
    def program(strategy):
        with pytest.raises(ValueError, match="a SUM of dtype bool"):
            strategy.reduce("SUM", np.array([True]), axis=None)
        with pytest.raises(ValueError, match="their sum has no meaning"):
            strategy.reduce("SUM", variable(strategy, 1.0), axis=None)
        return True

    assert 3 * [True] == on_workers(program)


def test_a_merge_call_runs_on_each_worker(on_workers):
    """It gets the worker's own value, as in TensorFlow; its operations concern all workers."""

    def program(strategy):
        v = variable(strategy, 0.0)

        def merged(strategy, x):
            assert tf.distribute.get_replica_context() is None
            total = strategy.reduce("SUM", x, axis=None)
            v.assign(total)
            return x

        def step():
            context = tf.distribute.get_replica_context()
            assert context.strategy is strategy
            return context.merge_call(merged, args=(float(replica_id()),))

        return strategy.run(step), float(v.numpy())

    assert [(0.0, 3.0), (1.0, 3.0), (2.0, 3.0)] == on_workers(program)


def test_the_context_is_known(on_workers):
    def program(strategy):
        outside = tf.distribute.in_cross_replica_context()
        with strategy.scope():
            inside = tf.distribute.in_cross_replica_context(), tf.distribute.get_strategy()
        with pytest.raises(ContextError, match=r"cross-replica context"):
            strategy.run(lambda: strategy.reduce("SUM", 1.0, axis=None))
        return outside, inside == (True, strategy), strategy.num_replicas_in_sync

    assert 3 * [(False, True, 3)] == on_workers(program)


def test_the_resolver_and_extended_describe_this_worker(on_workers):
    def program(strategy):
        resolver, extended = strategy.cluster_resolver, strategy.extended
        return (
            (resolver.task_type, resolver.task_id, resolver.cluster_spec().num_tasks("worker")),
            extended.worker_devices,
            extended.should_checkpoint,
            str(strategy),
        )

    assert [
        (
            ("worker", i, 3),
            (f"/device:NODE{i}/CPU:0",),
            i == 0,
            f"MultiWorkerMirroredStrategy(worker {i} of 3)",
        )
        for i in range(3)
    ] == on_workers(program)


def test_a_dataset_is_split_over_the_workers(on_workers):
    def program(strategy):
        whole = strategy.experimental_distribute_dataset([np.arange(5), {"x": np.arange(3)}])

        def own(context):
            assert 3 == context.num_input_pipelines == context.num_replicas_in_sync
            return [np.full(context.get_per_replica_batch_size(6), context.input_pipeline_id)]

        mine = strategy.distribute_datasets_from_function(own)
        parts = [strategy.run(lambda x: x, args=(batch,)) for batch in (*whole, *mine)]
        return parts[0].tolist(), parts[1]["x"].tolist(), parts[2].tolist()

    assert [([0, 1], [0], [0, 0]), ([2, 3], [1], [1, 1]), ([4], [2], [2, 2])] == on_workers(program)


@pytest.mark.parametrize(
    ("uneven", "second"),
    [("pad", [[0], [2, 3], [4, 5]]), ("drop", []), ("empty", [[0], [], []])],
)
def test_an_uneven_batch_is_handled_alike_on_all_workers(on_workers, uneven, second):
    def program(strategy):
        strategy.uneven = uneven
        batches = strategy.experimental_distribute_dataset([np.arange(6), np.arange(1)])
        return [strategy.run(lambda x: x, args=(one,)).tolist() for one in batches]

    found = on_workers(program)
    assert [[0, 1], [2, 3], [4, 5]] == [own[0] for own in found]
    assert second == [rest for own in found for rest in own[1:]]


def test_a_worker_cannot_be_left_out_of_a_batch(on_workers):
    def program(strategy):
        strategy.uneven = "join"
        with pytest.raises(UnsupportedError, match="each worker runs the whole program"):
            strategy.experimental_distribute_dataset([np.arange(1)])
        return True

    assert 3 * [True] == on_workers(program)


def test_the_outermost_scope_cannot_be_set_on_a_worker(on_workers):
    def program(strategy):
        with pytest.raises(ContextError, match=r"it has no effect: enter strategy\.scope\(\)"):
            tf.distribute.experimental_set_strategy(strategy)
        return True

    assert 3 * [True] == on_workers(program)


def test_a_thread_of_a_worker_cannot_use_the_strategy(on_workers):
    def program(strategy):
        v = variable(strategy, 0.0)

        def assign():
            with pytest.raises(ContextError, match="only the thread that runs the replica"):
                v.assign(1.0)
            return True

        with ThreadPoolExecutor(1) as pool, strategy.scope():
            return pool.submit(assign).result()

    assert 3 * [True] == on_workers(program)


def test_checkpoints_are_saved_and_restored_by_all_workers(on_workers, tmp_path):
    def program(strategy):
        v = variable(strategy, 2.0)
        total = variable(strategy, 0.0, SUM, synchronization=ON_READ)
        strategy.run(lambda: total.assign_add(replica_id() + 1.0))
        checkpoint = tf.train.Checkpoint(v=v, total=total)
        path = checkpoint.save(tmp_path / f"{rank_of(strategy)}" / "model")
        v.assign(0.0)
        total.assign(0.0)
        checkpoint.restore(path).assert_consumed()
        return float(v.numpy()), float(total.numpy()), float(total.values[0].numpy())

    assert 3 * [(2.0, 6.0, 2.0)] == on_workers(program)


def test_averages_of_variables_follow_the_mean(on_workers):
    def program(strategy):
        v = variable(strategy, 1.0)
        average = tf.train.ExponentialMovingAverage(0.5)
        with strategy.scope():
            average.apply([v])
        v.assign(3.0)
        strategy.run(lambda: average.apply([v]))
        return float(average.average(v).numpy())

    assert 3 * [2.0] == on_workers(program)


def test_one_worker_is_enough(on_workers):
    def program(strategy):
        v = variable(strategy, 1.0, SUM)
        strategy.run(lambda: v.assign_add(1.0))
        v.assign_add(1.0)
        return float(v.numpy()), strategy.num_replicas_in_sync

    assert [(3.0, 1)] == on_workers(program, workers=1)


# ---------------------------------------------------------------- workers that differ


def skips_a_read(strategy, v, on_read):
    if rank_of(strategy) == 0:
        on_read.numpy()


def skips_a_reduce(strategy, v, on_read):
    if rank_of(strategy) != 1:
        strategy.reduce("SUM", 1.0, axis=None)


def assigns_another_variable(strategy, v, on_read):
    (v if rank_of(strategy) else on_read).assign(1.0)


def adds_and_assigns(strategy, v, on_read):
    v.assign(1.0) if rank_of(strategy) else v.assign_add(1.0)


def reduces_in_two_ways(strategy, v, on_read):
    one = np.ones(1, np.float32)
    strategy.reduce("SUM", one, None) if rank_of(strategy) else strategy.gather(one, 0)


def creates_alone(strategy, v, on_read):
    if rank_of(strategy) == 2:
        variable(strategy, 1.0)


def writes_another_variable_in_run(strategy, v, on_read):
    with strategy.scope():
        w = tf.Variable(0.0, name="w", aggregation=SUM)
    strategy.run(lambda: (v if replica_id() else w).assign_add(1.0))


@pytest.mark.parametrize(
    ("differs", "texts"),
    [
        (
            skips_a_read,
            [
                "replica 0: read of variable 'metric' at tests/distribute/",
                "replicas 1, 2: never arrived; their functions returned",
                "So every worker must perform each of them, even if only one needs it.",
            ],
        ),
        (
            skips_a_reduce,
            ["replica 1: never arrived", "replicas 0, 2: strategy.reduce(SUM, float32[]) at"],
        ),
        (assigns_another_variable, ["assign of variable 'metric'", "assign of variable 'v'"]),
        (
            adds_and_assigns,
            ["did different things", ": assign of variable 'v' at", ": assign_add of"],
        ),
        (creates_alone, ["replica 2: creation of variable 'v' at"]),
        (
            reduces_in_two_ways,
            ["replica 0: strategy.gather(float32[any], axis=0) at", ": strategy.reduce("],
        ),
        (
            writes_another_variable_in_run,
            ["replica 0: w.assign_add", "replicas 1, 2: v.assign_add", "D3 in docs/semantics.md"],
        ),
    ],
)
def test_workers_that_do_different_things_are_named_at_once(on_workers, differs, texts):
    def program(strategy):
        with strategy.scope():
            v = tf.Variable(0.0, name="v", aggregation=SUM)
            on_read = tf.Variable(0.0, name="metric", aggregation=SUM, synchronization=ON_READ)
        differs(strategy, v, on_read)

    with pytest.raises(MismatchError) as raised:
        on_workers(program)
    assert [] == [text for text in texts if text not in str(raised.value)], str(raised.value)
    assert not re.search("merge_call|all_reduce|all_gather|name=", str(raised.value))


def test_different_variables_of_one_name_are_not_mixed(on_workers):
    def program(strategy):
        v, w = variable(strategy, 1.0), variable(strategy, 2.0)
        with pytest.raises(MismatchError, match="different variables with this name") as raised:
            (v if rank_of(strategy) else w).assign(5.0)
        return str(raised.value), float(v.numpy()), float(w.numpy())

    (found,) = set(on_workers(program))
    assert (1.0, 2.0) == found[1:]
    assert (
        "\n  replica 0: number 2 of 2 variables with this name, created at tests/distribute/"
        in found[0]
    )
    assert "\n  replicas 1, 2: number 1 of 2 variables with this name, created at " in found[0]


def test_a_write_in_run_says_which_variable_of_the_same_name_it_means(on_workers):
    def program(strategy):
        both = [variable(strategy, 1.0, SUM) for _ in range(2)]
        strategy.run(lambda: both[rank_of(strategy) == 0].assign_add(1.0))

    with pytest.raises(MismatchError) as raised:
        on_workers(program)
    lines = str(raised.value).splitlines()
    assert lines[1].startswith("  only replica 0: v.assign_add (float32 scalar) at tests/")
    assert "; number 2 of 2 variables with this name, created at tests/" in lines[1]
    assert lines[2].startswith("  replicas 1, 2: v.assign_add (float32 scalar) at tests/")
    assert "; number 1 of 2 variables with this name, created at tests/" in lines[2]


# ---------------------------------------------------------------- a program without workers


def test_a_program_without_workers_is_the_only_worker():
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy, strategy.scope():
        v = tf.Variable(1.0, aggregation=SUM)
        strategy.run(lambda: v.assign_add(1.0))

        assert (3.0, 2, 1) == (
            float(v.numpy()),
            len(v.values),
            strategy.cluster_resolver.num_workers,
        )
        assert isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        assert {} == strategy.cluster_resolver.cluster_spec().as_dict()


def test_a_program_without_workers_does_not_wait_for_the_workers_of_tf_config(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {}}')

    with pytest.raises(ContextError, match="varsim exec -n 2 --spmd SCRIPT"):
        tf.distribute.MultiWorkerMirroredStrategy()


@pytest.mark.parametrize("others", ['"evaluator": ["c:1"], ', ""])
def test_an_evaluator_runs_alone(monkeypatch, others):
    """As in TensorFlow, where an evaluator is a cluster of its own, and may be left out."""
    cluster, task = f'{{{others}"worker": ["a:1", "b:1"]}}', '{"type": "evaluator", "index": 0}'
    monkeypatch.setenv("TF_CONFIG", f'{{"cluster": {cluster}, "task": {task}}}')

    with tf.distribute.MultiWorkerMirroredStrategy() as strategy:
        resolver = strategy.cluster_resolver
        assert (1, "evaluator", 0) == (resolver.num_workers, resolver.task_type, resolver.task_id)
        assert not strategy.extended._in_multi_worker_mode()


def test_a_parameter_server_is_refused(monkeypatch):
    cluster, task = '{"worker": ["a:1"], "ps": ["b:1"]}', '{"type": "ps", "index": 0}'
    monkeypatch.setenv("TF_CONFIG", f'{{"cluster": {cluster}, "task": {task}}}')

    with pytest.raises(ContextError, match="the job 'ps', but only a chief, a worker or an"):
        tf.distribute.MultiWorkerMirroredStrategy()


def resolver_with(task_type: str, task_id: int, **counts: int) -> Any:
    spec = tf.train.ClusterSpec({job: ["a:1"] * count for job, count in counts.items()})
    simple = tf.distribute.cluster_resolver.SimpleClusterResolver
    return simple(spec, task_type=task_type, task_id=task_id)


@pytest.mark.parametrize(
    ("resolver", "problem"),
    [
        (resolver_with("worker", 1, chief=1, worker=2), ""),
        (resolver_with("worker", 2, worker=3), ""),
        (resolver_with("chief", 0, chief=1, worker=2), "is worker 0 of 3, but this is worker 2"),
        (resolver_with("worker", 1, worker=3), "is worker 1 of 3, but this is worker 2"),
        (resolver_with("worker", 0, worker=2), "describes 2 workers, but varsim has started 3"),
        (resolver_with("evaluator", 0, worker=3, evaluator=1), "but this is worker 2 of 3"),
    ],
)
def test_a_resolver_must_describe_the_worker_of_the_program(resolver, problem):
    if not problem:
        check_workers(resolver, 2, 3)
        return
    with pytest.raises(ContextError, match=problem):
        check_workers(resolver, 2, 3)


def test_a_resolver_must_agree_with_the_workers(on_workers):
    def program(strategy):
        with pytest.raises(ContextError, match="describes 2 workers, but varsim has started 3"):
            tf.distribute.MultiWorkerMirroredStrategy(resolver_with("worker", 0, worker=2))
        with pytest.raises(TypeError, match="the workers exist already"):
            tf.distribute.MultiWorkerMirroredStrategy(devices=["cpu:0"])
        return True

    assert 3 * [True] == on_workers(program)
