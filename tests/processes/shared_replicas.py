"""Functions with large values that replicas run. Workers import this module, but not pytest."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np

import varsim as tf
from tests.replica_context import replica_id

Array = np.ndarray[Any, Any]

SIZE = 40_000
"""Number of float64 elements of a value of 320 kB, which is enough for shared memory."""

KEPT: list[tuple[Array, bytes]] = []
"""Values that this replica has read, with copies made at that time."""


def value(seed: int, size: int = SIZE, dtype: str = "f8") -> Array:
    """Return numbers whose sums are rounded. Each replica has other numbers."""
    numbers: Array = np.random.default_rng([seed, replica_id()]).normal(0, 99, size)
    return numbers.astype(dtype)


def keep(array: Array) -> None:
    """Keep a read value, with a copy."""
    KEPT.append((array, array.tobytes()))


def changed(forget: int = 0) -> int:
    """Return how many kept values have changed or are writeable; drop the first `forget` values."""
    found = sum(now.tobytes() != then or now.flags.writeable for now, then in KEPT)
    del KEPT[:forget]
    return found


def add_half(variable: Any) -> float:
    """Add to half of the rows of a variable of `SIZE` rows, and return its first row."""
    own = np.arange(SIZE // 2) + SIZE // 4 * replica_id()
    variable.scatter_add(tf.IndexedSlices(value(1, SIZE // 2), own))
    return float(variable[[0]][0])


def write(variable: Any, operation: str, seed: int, *, in_place: bool, keeps: bool) -> int:
    """Write once, and return how many kept values have changed.

    Args:
        in_place: Whether to write the value into the variable's update buffer.
        keeps: Whether to keep the value that is read after the write.
    """
    if in_place:
        buffer = variable.update_buffer()
        buffer[...] = value(seed, variable.shape[0])
        getattr(variable, operation)(buffer)
    else:
        given = value(seed, variable.shape[0])
        getattr(variable, operation)(given)
        given.fill(0)  # the program may change its own array
    if keeps:
        keep(variable.read_value())
    return changed()


def address_and_writeable(variable: Any) -> tuple[bool, bool, bool]:
    """Return whether an update buffer is writeable before, and after, its assign.

    The third result says whether the buffer equals the value that is read afterwards.
    """
    buffer = variable.update_buffer()
    buffer.fill(replica_id() + 1.0)
    before = buffer.flags.writeable
    variable.assign(buffer)
    return before, buffer.flags.writeable, bool((variable.read_value() == buffer).all())


def several(variables: list[Any], seed: int) -> list[Array]:
    """Write each variable with several operations, and return the values read at the end."""
    for index, variable in enumerate(variables):
        dtype = variable.dtype.as_numpy_dtype if hasattr(variable.dtype, "as_numpy_dtype") else None
        dtype = dtype or variable.dtype
        given = value(seed + index, int(np.prod(variable.shape)), "f8")
        given = given.astype(dtype).reshape(variable.shape)
        for operation in ("assign", "assign_add", "assign_sub"):
            getattr(variable, operation)(given)
    return [variable.numpy() for variable in variables]


def end_at(replica: int) -> None:
    """End the process of one replica."""
    if replica_id() == replica:
        os.kill(os.getpid(), signal.SIGKILL)


def last_read(variable: Any) -> Array:
    """Return the read value itself, not a copy of it."""
    return variable.read_value()
