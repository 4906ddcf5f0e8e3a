"""The method strategy.run: arguments, results, exceptions, creation, merge_call, functions."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.distribute.programs import Pair, components, create_variable, each
from tests.replica_context import replica_id
from varsim.errors import MismatchError, ReplicaError

# ---------------------------------------------------------------- arguments and results


def test_structures_of_per_replica_values_are_split_and_regrouped(strategy):
    x = each(strategy, 1.0, 2.0)

    def step(a, pair, *, more):
        return {"sum": a + pair.x, "same": "text", "list": [pair.y, (more["x"], replica_id())]}

    result = strategy.run(step, (x, Pair(x, 5)), {"more": {"x": x}})
    assert [2.0, 4.0] == [float(value) for value in result["sum"].values]
    assert "text" == result["same"]
    assert 5 == result["list"][0]
    assert (1.0, 2.0) == tuple(float(value) for value in result["list"][1][0].values)
    assert (0, 1) == result["list"][1][1].values


def test_a_named_tuple_stays_a_named_tuple(strategy):
    result = strategy.run(lambda: Pair(replica_id(), None))

    assert isinstance(result, Pair)
    assert ((0, 1), None) == (result.x.values, result.y)


def test_results_of_different_structure_are_refused(strategy):
    with pytest.raises(ValueError, match="structures that do not match"):
        strategy.run(lambda: [1] * (replica_id() + 1))


def test_a_variable_as_argument_or_result_is_the_same_variable(strategy):
    v = create_variable(strategy, 0.0, "ON_WRITE", "SUM")

    assert v is strategy.run(lambda x: x.assign_add(1.0), (v,))
    assert 2.0 == v.numpy()


@pytest.mark.parametrize("args", [3.0, np.ones(2), "ab"])
def test_args_must_be_a_list_or_tuple(strategy, args):
    with pytest.raises(ValueError, match=r"list or tuple.*write args=\(x,\)"):
        strategy.run(lambda *_: None, args)


def test_run_needs_a_callable(strategy):
    with pytest.raises(TypeError, match="needs a function"):
        strategy.run(None)


def test_run_inside_run_is_refused(strategy):
    with pytest.raises(RuntimeError, match="cannot be called on a replica"):
        strategy.run(lambda: strategy.run(lambda: None))


# ---------------------------------------------------------------- exceptions


def test_an_exception_keeps_its_type_and_names_replica_and_location(strategy):
    def step():
        if replica_id() == 1:
            raise KeyError("no such image")

    with pytest.raises(KeyError, match="no such image") as caught:
        strategy.run(step)
    cause = caught.value.__cause__
    assert isinstance(cause, ReplicaError)
    assert 1 == cause.replica_id
    assert "in step" in str(cause)


def test_the_exception_of_the_lowest_replica_is_raised(strategy):
    def step():
        raise ValueError(f"replica {replica_id()}")

    with pytest.raises(ValueError, match="replica 0"):
        strategy.run(step)


def test_after_an_exception_the_cluster_can_be_used(strategy):
    v = create_variable(strategy, 0.0, "ON_WRITE", "SUM")

    def step(fail):
        v.assign_add(1.0)
        if fail and replica_id() == 0:
            raise ArithmeticError

    for fail in (False, True, False):
        try:
            strategy.run(step, (fail,))
        except ArithmeticError:
            assert fail
    assert v.numpy() in (4.0, 6.0)  # with or without the write of the failed call
    assert 1 == len(set(components(v)))


def test_an_error_of_a_variable_can_be_caught_on_the_replica(strategy):
    v = create_variable(strategy, [0.0], "ON_WRITE", "SUM")

    def step():
        try:
            v.assign([1.0, 2.0])
        except ValueError:
            v.assign([5.0])

    strategy.run(step)
    assert [10.0] == v.numpy().tolist()


def test_a_caught_exception_does_not_hide_a_mismatch(strategy):
    v = create_variable(strategy, 0.0, "ON_WRITE", "SUM")

    def step():
        try:
            if replica_id() == 0:
                v.assign_add(1.0).read_value()
        except Exception:  # careless programs do this
            pass

    with pytest.raises(MismatchError, match="replica 1: never arrived"):
        strategy.run(step)


def test_a_mismatch_names_the_location_of_each_waiting_replica(strategy):
    v = create_variable(strategy, 0.0, "ON_WRITE", "SUM", name="loss_scale")

    def step():
        if replica_id() == 0:
            v.assign_add(1.0)

    with pytest.raises(MismatchError) as caught:
        strategy.run(step)
    line = step.__code__.co_firstlineno + 2
    assert f"test_run.py:{line}" in str(caught.value)
    assert "loss_scale.assign_add" in str(caught.value)
    assert "tests/distribute/programs.py:" in str(caught.value)  # where the variable was created


# ---------------------------------------------------------------- collectives


def test_all_reduce_combines_each_leaf_of_a_structure(strategy):
    def step():
        context = tf.distribute.get_replica_context()
        return context.all_reduce(
            tf.distribute.ReduceOp.MEAN, {"a": replica_id() + 0.5, "b": [replica_id()]}
        )

    result = strategy.run(step)
    assert [1.0, 1.0] == [float(value) for value in result["a"].values]
    assert [0.5, 0.5] == [float(value) for value in result["b"][0].values]


def test_all_gather_accepts_different_sizes(strategy):
    def step():
        return tf.distribute.get_replica_context().all_gather(np.arange(replica_id() + 1), axis=0)

    assert [[0, 0, 1]] * 2 == [value.tolist() for value in strategy.run(step).values]


def test_each_replica_has_its_own_copy_of_a_reduced_value(strategy):
    def step():
        total = tf.distribute.get_replica_context().all_reduce("sum", np.ones(2, np.float32))
        total += replica_id()
        return total

    assert [[2.0, 2.0], [3.0, 3.0]] == [value.tolist() for value in strategy.run(step).values]


def test_merge_call_runs_replica_0s_function_once_with_all_arguments(strategy):
    seen = []

    def merged(strategy, x, *, scale):
        seen.append(tf.distribute.in_cross_replica_context())
        assert None is tf.distribute.get_replica_context()
        return strategy.reduce("SUM", x, axis=None) * scale, x

    def step():
        context = tf.distribute.get_replica_context()
        return context.merge_call(merged, (np.float32(replica_id() + 1),), {"scale": 10})

    total, own = strategy.run(step)
    assert [True] == seen
    assert [30.0, 30.0] == [float(value) for value in total.values]
    assert [1.0, 2.0] == [float(value) for value in own.values]


def test_a_write_in_merge_call_is_not_aggregated(strategy):
    v = create_variable(strategy, 0.0, "ON_WRITE", "SUM")

    def step():
        v.assign_add(1.0)
        tf.distribute.get_replica_context().merge_call(lambda _: v.assign_add(10.0) and None)
        return v.read_value()

    assert [12.0, 12.0] == [float(value) for value in strategy.run(step).values]


def test_merge_call_inside_merge_call_is_refused(strategy):
    context = tf.distribute.get_replica_context

    def outer(_):
        return context().merge_call(lambda _: None)

    with pytest.raises(AttributeError, match="merge_call"):
        strategy.run(lambda: context().merge_call(outer))


def test_an_old_replica_context_is_refused(strategy):
    kept = []
    strategy.run(lambda: kept.append(tf.distribute.get_replica_context()))

    with pytest.raises(RuntimeError, match="not running here"):
        kept[0].all_reduce("sum", 1.0)


# ---------------------------------------------------------------- creation inside a run


def test_a_variable_created_in_a_run_is_shared_by_all_replicas(strategy):
    kept = {}

    def step():
        if "v" not in kept or replica_id():
            kept["v"] = tf.Variable(
                lambda: 3.0, name="inner", aggregation=tf.VariableAggregation.SUM
            )
        return kept["v"].assign_add(1.0)

    v = strategy.run(step)
    assert ("inner:0", [5.0, 5.0]) == (v.name, components(v))


def test_replicas_must_create_the_same_variables(strategy):
    with pytest.raises(RuntimeError, match="all replicas must create the same variables"):
        strategy.run(lambda: tf.Variable(0.0, name=f"v{replica_id()}"))


def test_creator_functions_are_called_for_every_creation_innermost_first(strategy):
    asked = []

    def logging(tag):
        def creator(next_creator, **kwargs):
            asked.append((tag, kwargs["name"]))
            return next_creator(**{**kwargs, "name": f"{kwargs['name']}.{tag}"})

        return creator

    with tf.variable_creator_scope(logging("outer")), tf.variable_creator_scope(logging("inner")):
        v = create_variable(strategy, 0.0, name="v")
        plain = tf.Variable(0.0, name="p")
    assert [("inner", "v"), ("outer", "v.inner"), ("inner", "p"), ("outer", "p.inner")] == asked
    assert ("v.inner.outer:0", "p.inner.outer:0") == (v.name, plain.name)


# ---------------------------------------------------------------- varsim.function


def test_a_tf_function_runs_in_the_program_and_on_replicas(strategy):
    v = create_variable(strategy, 0.0, "ON_WRITE", "SUM")

    @tf.function
    def step(x):
        """Add one."""
        return v.assign_add(x)

    @tf.function(jit_compile=True)
    def twice(x):
        return 2 * x

    strategy.run(step, (1.0,))
    strategy.run(step, args=(1.0,))
    assert (4.0, 6) == (v.numpy(), twice(3))
    assert ("step", "Add one.") == (step.__name__, step.__doc__)


def test_a_tf_function_of_a_class_is_a_method(strategy):
    class LinearModel:
        def __init__(self):
            self.w = create_variable(strategy, 1.0, "ON_WRITE", "MEAN")

        @tf.function
        def step(self, x):
            self.w.assign_sub(x)

    model = LinearModel()
    strategy.run(model.step, (0.25,))
    assert 0.75 == model.w.numpy()
