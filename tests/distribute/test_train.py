"""Moving averages of variables, computed as in TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.distribute.programs import components, create_variable
from tests.replica_context import replica_id

SHARE = np.float32(1) - np.float32(0.9)


def step_toward(average, value):
    """Return the next average, in float32."""
    return average - (average - value) * SHARE


def test_an_update_moves_an_average_toward_the_value():
    v = tf.Variable(1.0, name="w")
    ema = tf.train.ExponentialMovingAverage(0.9)
    assert ema.average(v) is None
    assert "w/ExponentialMovingAverage" == ema.average_name(v)

    ema.apply([v])
    assert 1.0 == ema.average(v).numpy()
    v.assign(2.0)
    ema.apply([v])
    ema.apply([v])
    expected = step_toward(step_toward(np.float32(1), np.float32(2)), np.float32(2))
    assert (expected, "float32") == (ema.average(v).numpy(), ema.average(v).dtype)
    assert "w/ExponentialMovingAverage:0" == ema.average(v).name
    assert not ema.average(v).trainable
    assert {"w/ExponentialMovingAverage": v} == ema.variables_to_restore()


def test_one_minus_the_decay_is_rounded_to_float32():
    v = tf.Variable(np.float64(0.0))
    ema = tf.train.ExponentialMovingAverage(0.9)
    ema.apply([v])
    v.assign(1.0)
    ema.apply([v])

    assert float(SHARE) == ema.average(v).numpy()
    assert 1.0 - 0.9 != ema.average(v).numpy()


def test_the_decay_is_lower_after_few_updates():
    v, steps = tf.Variable(0.0), tf.Variable(2)
    ema = tf.train.ExponentialMovingAverage(0.9, num_updates=steps)
    ema.apply([v])
    v.assign(1.0)
    ema.apply([v])

    assert np.float32(1) - np.float32(3) / np.float32(12) == ema.average(v).numpy()


@pytest.mark.parametrize("where", ["scope", "replicas", "outside"])
def test_the_average_of_a_mirrored_variable_is_mirrored(strategy, where):
    v = create_variable(strategy, 1.0, "ON_WRITE", "MEAN")
    ema = tf.train.ExponentialMovingAverage(decay=0.9)
    with strategy.scope():
        ema.apply([v])

    strategy.run(lambda: v.assign(replica_id() * 2.0 + 1.0, read_value=False))
    if where == "replicas":
        strategy.run(lambda: ema.apply([v]))
    elif where == "scope":
        with strategy.scope():
            ema.apply([v])
    else:
        ema.apply([v])

    expected = float(step_toward(np.float32(1), np.float32(2)))
    assert [expected, expected] == components(ema.average(v))
    assert ema.average(v).synchronization is tf.VariableSynchronization.ON_WRITE


def test_replicas_average_the_mean_of_their_components(strategy):
    v = create_variable(strategy, 0.0, "ON_READ", "MEAN")
    ema = tf.train.ExponentialMovingAverage(decay=0.9)
    ema.apply([v])

    def step():
        v.assign(2.0 * replica_id())
        ema.apply([v])

    strategy.run(step)
    assert [float(SHARE)] * 2 == components(ema.average(v))


def test_an_average_created_outside_a_scope_belongs_to_the_strategy(strategy):
    v = create_variable(strategy, 1.0)
    ema = tf.train.ExponentialMovingAverage(0.9)
    ema.apply([v])

    assert ema.average(v).distribute_strategy is strategy


def test_a_replica_does_not_create_an_average(strategy):
    v = create_variable(strategy, 1.0)
    ema = tf.train.ExponentialMovingAverage(0.9)

    with pytest.raises(RuntimeError, match=r"call apply under strategy.scope\(\)"):
        strategy.run(lambda: ema.apply([v]))


def test_only_float_variables_have_averages():
    ema: Any = tf.train.ExponentialMovingAverage(0.9)

    with pytest.raises(TypeError, match="only variables of a float dtype"):
        ema.apply([tf.Variable(1)])
    with pytest.raises(TypeError, match="apply needs variables, not ndarray"):
        ema.apply([np.zeros(2)])
    with pytest.raises(TypeError, match="apply needs the variables"):
        ema.apply()
