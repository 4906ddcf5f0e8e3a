"""Short functions for the programs of these tests."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import varsim as tf

Sync, Agg = tf.VariableSynchronization, tf.VariableAggregation


class Pair(NamedTuple):
    """A structure of two values."""

    x: Any
    y: Any


def create_variable(
    strategy: Any, value: Any, synchronization: str = "AUTO", aggregation: str = "NONE", **more: Any
) -> Any:
    """Create a variable under a strategy."""
    with strategy.scope():
        return tf.Variable(
            value,
            synchronization=Sync[synchronization],
            aggregation=Agg[aggregation],
            **more,
        )


def components(variable: Any) -> list[Any]:
    """Return the components of a variable as Python values."""
    return [component.numpy().tolist() for component in variable.values]


def each(strategy: Any, *values: Any) -> Any:
    """Return a PerReplica of float32 values."""
    assert len(values) == strategy.num_replicas_in_sync
    return tf.distribute.PerReplica(np.asarray(value, np.float32) for value in values)
