"""Find replicas that get no rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from varsim.distribute.structure_walks import leaves_of
from varsim.distribute.values import PerReplica

Rows = tuple[int, ...]
"""The number of rows of each replica."""


def rows_of_batch(parts: Any) -> Rows:
    """Return the number of rows of each replica, and set `is_of_batch` of the values in `parts`."""
    leaves = [leaf for leaf in leaves_of(parts) if isinstance(leaf, PerReplica)]
    for leaf in leaves:
        leaf.is_of_batch = True
    return (_rows_of(leaves[0]) or ()) if leaves else ()


def _rows_of(value: PerReplica) -> Rows | None:
    """Return the first dimension of each component; None if a component is a scalar."""
    shapes = [getattr(one, "shape", None) for one in value.values]
    return tuple(shape[0] for shape in shapes if shape) if all(shapes) else None


def uneven_rows(leaves: Sequence[Any]) -> tuple[Rows, bool] | None:
    """Find a value that has rows on some replicas and no rows on others.

    Returns:
        The numbers of rows of the first such value, and whether the program has already been
        warned; None if there is no such value.
    """
    for leaf in leaves:
        if isinstance(leaf, PerReplica):
            rows = _rows_of(leaf)
            if rows and 0 in rows and any(rows):
                return rows, leaf.is_of_batch
    return None
