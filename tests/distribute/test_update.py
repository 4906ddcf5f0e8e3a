"""The method extended.update changes each component separately.

If the change of one component fails, no component changes (difference D4 in docs/semantics.md).
"""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.distribute.programs import components, create_variable, each
from tests.replica_context import replica_id


@pytest.fixture(params=["ON_WRITE", "ON_READ"])
def variable(request, strategy):
    return create_variable(strategy, 1.0, request.param, "SUM")


def test_each_component_gets_its_slice(strategy, variable):
    strategy.extended.update(
        variable, lambda v, x, y: v.assign_add(x + y), args=(each(strategy, 1.0, 2.0), 10.0)
    )

    assert [12.0, 13.0] == components(variable)


def test_a_function_reads_its_own_writes(strategy, variable):
    seen = []

    def twice(v):
        v.assign_add(1.0)
        seen.append(float(v))
        v.assign(v * 10.0)

    strategy.extended.update(variable, twice)
    assert [2.0, 2.0] == seen
    assert [20.0, 20.0] == components(variable)


def test_if_one_function_raises_no_component_changes(strategy, variable):
    def fails_for_the_second(v, x):
        v.assign(x)
        if x == 2.0:
            raise KeyError("second")

    with pytest.raises(KeyError):
        strategy.extended.update(variable, fails_for_the_second, args=(each(strategy, 1.0, 2.0),))
    assert [1.0, 1.0] == components(variable)


def test_if_one_value_does_not_fit_no_component_changes(strategy, variable):
    values = tf.distribute.PerReplica([np.float32(5.0), np.ones(3, np.float32)])

    with pytest.raises(ValueError, match=r"shape \[3\]"):
        strategy.extended.update(variable, lambda v, x: v.assign(x), args=(values,))
    assert [1.0, 1.0] == components(variable)


def test_a_value_of_the_wrong_length_changes_nothing(strategy, variable):
    with pytest.raises(ValueError, match="PerReplica of 1 value "):
        strategy.extended.update(
            variable, lambda v, x: v.assign(x), args=(tf.distribute.PerReplica([5.0]),)
        )
    assert [1.0, 1.0] == components(variable)


def test_a_failed_update_changes_no_other_variables(strategy, variable):
    other = create_variable(strategy, 0.0, "ON_WRITE", "SUM")

    def both(v, fail):
        v.assign(7.0)
        other.assign_add(1.0)
        if fail:
            raise KeyError

    with pytest.raises(KeyError):
        strategy.extended.update(variable, both, args=(each(strategy, 0.0, 1.0),))
    assert ([1.0, 1.0], [0.0, 0.0]) == (components(variable), components(other))
    strategy.extended.update(variable, both, args=(False,))
    assert ([7.0, 7.0], [1.0, 1.0]) == (components(variable), components(other))


def test_results_are_grouped_or_returned_one_by_one(strategy, variable):
    grouped = strategy.extended.update(variable, lambda v: v * 2.0)
    single = strategy.extended.update(variable, lambda v: float(v) + 1.0, group=False)

    assert isinstance(grouped, tf.distribute.DistributedValues)
    assert [2.0, 2.0] == [float(value) for value in grouped.values]
    assert (2.0, 2.0) == single


def test_an_update_in_replica_context_is_a_collective(strategy, variable):
    def step():
        tf.distribute.get_strategy().extended.update(
            variable, lambda v, x: v.assign(x), args=(np.float32(replica_id() + 5),)
        )

    strategy.run(step)
    assert [5.0, 6.0] == components(variable)


def test_only_distributed_variables_have_components(strategy):
    with pytest.raises(TypeError, match="needs a distributed variable"):
        strategy.extended.update(tf.Variable(1.0), lambda v: v)


def test_without_replicas_a_variable_is_its_own_component():
    v = tf.Variable(1.0)
    tf.distribute.get_strategy().extended.update(v, lambda own, x: own.assign(x), args=(3.0,))

    assert 3.0 == v.numpy()
