"""Describes the results of programs in the format of the recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import varsim as tf
from tests.golden.encoding import encoded
from tests.golden.recorded import Json


class Descriptions:
    """Describes values in the format of the recording. The program's variable `v` is `self`."""

    def __init__(self, variable: Any = None) -> None:
        self._variable = variable

    def describe(self, value: Any) -> Json:
        """Describe a value in the format of the recording."""
        match value:
            case None:
                return {"type": "None"}
            case bool() | int() | float() | str() if not isinstance(value, np.generic):
                return {"type": type(value).__name__, "value": encoded(value)}
            case np.ndarray() | np.generic():
                return {"type": "Tensor", "dtype": value.dtype.name, "value": encoded(value)}
            case list() | tuple():
                kind = "tuple" if isinstance(value, tuple) else "list"
                return {"type": kind, "items": [self.describe(member) for member in value]}
            case dict():
                return {key: self.describe(member) for key, member in value.items()}
            case tf.IndexedSlices():
                values = np.asarray(value.values)
                return {
                    "type": "IndexedSlices",
                    "values": encoded(values),
                    "indices": encoded(value.indices),
                    "dtype": values.dtype.name,
                }
            case tf.Variable():
                return self._variable_of(value)
            case tf.distribute.DistributedValues():
                members = [self.describe(member) for member in value.values]
                return {"type": type(value).__name__, "values": members}
            case _:
                return {"type": type(value).__name__}

    def _variable_of(self, variable: Any) -> Json:
        if variable is self._variable:
            return {"type": "self"}
        if variable.container is not None and variable.container is self._variable:
            first = self._variable.values[0].replica_id
            return {"type": "component", "index": variable.replica_id - first}
        name = type(variable).__name__
        if isinstance(variable, tf.distribute.DistributedValues):
            return {"type": name, "values": per_replica(variable)}
        value = np.asarray(variable.read_value())
        return {"type": name, "dtype": value.dtype.name, "value": encoded(value)}


def per_replica(variable: Any) -> list[Json]:
    """Return the components of a variable, in replica order."""
    parts: Sequence[Any] = (
        variable.values if isinstance(variable, tf.distribute.DistributedValues) else (variable,)
    )
    found = [np.asarray(part.read_value()) for part in parts]
    assert all(part.dtype == variable.dtype for part in found), "a component of another dtype"
    return [encoded(part) for part in found]


def per_replica_value(strategy: Any, make: Callable[[int], Any]) -> Any:
    """Return a PerReplica of `make(replica)`. On one device, return the value itself."""
    return strategy.experimental_distribute_values_from_function(
        lambda context: make(context.replica_id_in_sync_group)
    )
