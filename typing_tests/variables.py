"""Check the types of variables in a user's program."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np

import varsim as tf
from varsim.spec import CustomSynchronization

seen = tf.Variable(
    0.0,
    name="seen",
    synchronization=tf.VariableSynchronization.ON_READ,
    aggregation=tf.VariableAggregation.SUM,
)

assert_type(seen, tf.Variable)
assert_type(seen.numpy(), np.ndarray[tuple[int, ...], np.dtype[Any]])
assert_type(seen.name, str)
assert_type(seen.shape, tuple[int | None, ...])
assert_type(seen.synchronization, tf.VariableSynchronization | CustomSynchronization)
assert_type(seen.aggregation, tf.VariableAggregation)
assert_type(seen.values, tuple[tf.Variable, ...])
assert_type(float(seen), float)

tf.Variable(0.0, synchronization="on_read")  # type: ignore[arg-type]  # needs an enum
tf.Variable(0.0, aggregation=tf.VariableSynchronization.ON_READ)  # type: ignore[arg-type]
tf.Variable(0.0, agregation=tf.VariableAggregation.SUM)  # type: ignore[call-arg]
seen.assgin(1.0)  # type: ignore[attr-defined]
