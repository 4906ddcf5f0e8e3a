"""Variables that are always written together, held as one array."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from varsim.spec import Array


class Block:
    """The values of several variables in one flat array, with their versions.

    A value that was taken out is a copy, so that keeping it does not keep all the others.
    """

    __slots__ = ("_ends", "_shapes", "key", "values", "variable_ids", "versions")

    def __init__(
        self, variable_ids: Array, parts: Sequence[Array], versions: Sequence[int]
    ) -> None:
        """Takes the variables' values, all of one dtype, and their versions."""
        self.key = variable_ids.tobytes()
        self.variable_ids = variable_ids
        self._shapes = [part.shape for part in parts]
        self._ends = [0, *accumulate(part.size for part in parts)]
        self.values = np.concatenate([part.reshape(-1) for part in parts])
        self.values.setflags(write=False)
        self.versions: Array = np.array(versions, np.int64)

    def install(self, values: Array, versions: Array) -> None:
        """Takes new values of all variables. Nobody writes to the arrays any more."""
        values.setflags(write=False)
        versions.setflags(write=False)
        self.values = values
        self.versions = versions

    def value(self, slot: int) -> Array:
        """The value of the variable at a place, in an array of its own; read-only."""
        value = self.values[self._ends[slot] : self._ends[slot + 1]].copy()
        value.setflags(write=False)
        return value.reshape(self._shapes[slot])

    def size_bytes(self, slot: int) -> int:
        """Return the size of the value of the variable at a place."""
        return (self._ends[slot + 1] - self._ends[slot]) * self.values.itemsize

    def split(self, values: Array) -> list[Array]:
        """An array like `values`, as each variable's part of it: views."""
        return [
            values[start:end].reshape(shape)
            for (start, end), shape in zip(pairwise(self._ends), self._shapes, strict=True)
        ]
