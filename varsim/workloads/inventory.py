"""The variables of any model, written in every step to show what their synchronisation costs.

`varsim inventory` lists the variables of a Keras model, a checkpoint or a SavedModel as an
experiment with this workload. Nothing is computed: in every step each replica reads all variables,
as a forward pass does, and then adds an array to each variable, in place of a gradient. At the end
the program reads every variable whose synchronization is not NONE. The replicas' arrays
differ, but their mean is the same for any number of replicas.

A replica cannot write a synchronised variable whose aggregation is NONE: TensorFlow's optimizers
combine the gradients before they write. Here the write itself combines the values, with MEAN for
floats, and with ONLY_FIRST_REPLICA for other dtypes, which have no mean.

Variables with MEAN that are listed without a synchronization, or with AUTO, are *free*: `--mode`
sets their synchronization. Variables with another aggregation are counters or state; for these,
AUTO becomes ON_WRITE, as in TensorFlow.

Without a list, the variables are those of a small network.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

import varsim as tf

Synchronization: TypeAlias = tf.VariableSynchronization
Aggregation: TypeAlias = tf.VariableAggregation
GIB = 2**30
INCREMENT = 2.0**-6
"""The mean of the replicas' values in one step. Every float dtype can hold it exactly."""

SMALL_NETWORK: list[dict[str, Any]] = [
    {"name": "hidden/kernel", "shape": [64, 32], "dtype": "float32"},
    {"name": "hidden/bias", "shape": [32], "dtype": "float32"},
    {"name": "out/kernel", "shape": [32, 10], "dtype": "float32"},
    {"name": "out/bias", "shape": [10], "dtype": "float32"},
    {"name": "iterations", "shape": [], "dtype": "int64", "aggregation": "only_first_replica"},
]


def run(
    job: tf.Job, *, variables: list[dict[str, Any]] | None = None, limit_gib: float | None = None
) -> dict[str, object]:
    """Write all variables in each of `job.steps` steps (default: 10), and read them at the end.

    Args:
        job: The strategy, and a function to report progress.
        variables: A mapping for each variable, with name, shape and dtype, and optionally
            synchronization, aggregation and trainable.
        limit_gib: Refuse variables that need more memory than this limit, in all processes
            together; by default half of the machine's memory.
    """
    strategy = job.strategy
    listed = checked(SMALL_NETWORK if variables is None else variables)
    size_bytes = sum(one.size_bytes for one in listed)
    refuse_beyond(limit_gib, size_bytes, strategy.num_replicas_in_sync)
    with strategy.scope():
        created = [one.create() for one in listed]

    @tf.function
    def write_all() -> None:
        context = tf.distribute.get_replica_context()
        share = 2 * (context.replica_id_in_sync_group + 1) / (context.num_replicas_in_sync + 1)
        for variable in created:
            variable.read_value()
        for variable in created:
            dtype, shape = variable.dtype, variable.shape
            if dtype.kind == "b":
                variable.assign(np.ones(shape, dtype))
            else:
                number = 1 if dtype.kind in "iu" else share * INCREMENT
                variable.assign_add(np.full(shape, number, dtype))

    total = job.steps or 10
    for step in job.each_step(total):
        strategy.run(write_all)
        job.progress(step + 1, total)
    for variable in created:
        if variable.synchronization is not Synchronization.NONE:
            variable.read_value()
    return {
        "steps": total,
        "variables": len(listed),
        "parameters": sum(one.elements for one in listed),
        "bytes": size_bytes,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One variable of the list."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    synchronization: Synchronization = Synchronization.AUTO
    aggregation: Aggregation = Aggregation.NONE
    trainable: bool | None = None

    @property
    def elements(self) -> int:
        """Return the number of elements of the variable."""
        return int(np.prod(self.shape, dtype=object))  # no overflow: shapes may be absurd

    @property
    def size_bytes(self) -> int:
        """Return the size of one component."""
        return self.elements * self.dtype.itemsize

    def create(self) -> tf.Variable:
        """Create the variable, with zeros."""
        synchronization, aggregation = self.synchronization, self.aggregation
        if aggregation is Aggregation.NONE and synchronization is not Synchronization.NONE:
            has_mean = self.dtype.kind not in "iub"
            aggregation = Aggregation.MEAN if has_mean else Aggregation.ONLY_FIRST_REPLICA
        if synchronization is Synchronization.AUTO and aggregation is not Aggregation.MEAN:
            synchronization = Synchronization.ON_WRITE
        return tf.Variable(
            np.zeros(self.shape, self.dtype),
            name=self.name,
            trainable=self.trainable,
            synchronization=synchronization,
            aggregation=aggregation,
        )


# ---------------------------------------------------------------- the list is checked


def checked(variables: list[dict[str, Any]]) -> list[Listed]:
    """Return the variables of the list.

    Raises:
        ConfigError: The list is empty, or an entry is wrong.
    """
    if not variables:
        raise tf.ConfigError("params.variables: the list is empty, so there is nothing to write")
    listed = [one_checked(f"params.variables[{n}]", entry) for n, entry in enumerate(variables)]
    seen: set[str] = set()
    for number, one in enumerate(listed):
        if one.name in seen:
            raise tf.ConfigError(f"params.variables[{number}]: {one.name!r} is listed twice")
        seen.add(one.name)
    return listed


def one_checked(where: str, entry: dict[str, Any]) -> Listed:
    """Return the variable of one entry.

    Raises:
        ConfigError: A key is missing, unknown or wrong.
    """
    for key in ("name", "shape", "dtype"):
        if key not in entry:
            raise tf.ConfigError(f"{where}: {key} is missing")
    values: dict[str, Any] = {}
    for key, value in entry.items():
        if key not in READERS:
            raise tf.ConfigError(f"{where}: unknown key {key!r}; keys: {', '.join(READERS)}")
        expected, read = READERS[key]
        try:
            values[key] = read(value)
        except tf.VarsimError as error:
            raise tf.ConfigError(f"{where}.{key}: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise tf.ConfigError(
                f"{where}.{key}: invalid value {value!r}: expected {expected}"
            ) from None
    return Listed(**values)


def a_name(value: Any) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def a_shape(value: Any) -> tuple[int, ...]:
    """Return the dimensions of a list of whole numbers."""
    if not isinstance(value, list) or not all(type(one) is int and one >= 0 for one in value):
        raise ValueError
    return tuple(value)


def a_dtype(value: Any) -> np.dtype[Any]:
    """Return the dtype of that name, if a variable can have it.

    Raises:
        VarsimError: The dtype needs the package `ml_dtypes`, which is not installed.
    """
    found: np.dtype[Any] = getattr(tf, DTYPES[DTYPES.index(value)])
    return found


def a_bool(value: Any) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise TypeError
    return value


DTYPES = (
    *("float16", "float32", "float64", "bool", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64", "complex64", "complex128"),
    *("bfloat16", "float8_e4m3fn", "float8_e5m2"),
)
READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "name": ("a text", a_name),
    "shape": ("a list of dimensions, such as [64, 10], or [] for a scalar", a_shape),
    "dtype": (f"one of {', '.join(DTYPES)}", a_dtype),
    "synchronization": (
        "one of auto, none, on_write, on_read",
        lambda value: tf.VariableSynchronization[value.upper()],
    ),
    "aggregation": (
        "one of none, sum, mean, only_first_replica",
        lambda value: tf.VariableAggregation[value.upper()],
    ),
    "trainable": ("true or false", a_bool),
}
"""Key of an entry → a description of its value, and the function that reads the value."""


def refuse_beyond(limit_gib: float | None, size_bytes: int, replicas: int) -> None:
    """Check the memory before anything is allocated.

    Raises:
        ConfigError: The variables need more memory than the limit.
    """
    if limit_gib is None:
        limit_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2 / GIB
    needed_gib = size_bytes * (COPIES_PER_REPLICA * replicas + COPIES_IN_PROGRAM) / GIB
    if needed_gib > limit_gib:
        raise tf.ConfigError(
            f"params.variables: all variables together have {size_bytes / GIB:,.2f} GiB, so with "
            f"{replicas} replicas a run needs up to {needed_gib:,.1f} GiB of memory, and the limit "
            f"is {limit_gib:,.1f} GiB. Use fewer workers, or list fewer variables (the cost of a "
            "variable does not depend on other variables); if the machine has the memory, set "
            f"params.limit_gib={math.ceil(needed_gib)}"
        )


COPIES_PER_REPLICA, COPIES_IN_PROGRAM = 4, 3
"""An upper bound of the memory of a run, in sizes of all variables together.

Measured with 64 MiB of variables, 2 and 4 replicas, and all modes, exchanges and transports. The
largest results, with ON_READ, were 11 sizes for 2 replicas and 17 sizes for 4. The memory holds
components, the added arrays, and messages.
"""
