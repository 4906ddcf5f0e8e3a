"""Store variables that are always written together in one array, called a block."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from varsim.spec import Array, Operation, Rows
from varsim.sync.scatter import apply_rows


class Block:
    """The values of one or more variables in one array, with their versions.

    The array of a block of one variable has the variable's shape. The array of a larger block is
    flat. The value of one of its variables is returned as a copy, because a view would keep the
    whole array in memory.

    Committed sparse writes can wait in the block, so that the shell sends messages first. The
    writes are applied when the value is used, or by `catch_up`.
    """

    __slots__ = (
        "_ends",
        "_later",
        "_shapes",
        "_taken",
        "_values",
        "is_owned",
        "is_single",
        "key",
        "variable_ids",
        "versions",
    )

    def __init__(
        self, variable_ids: Array, parts: Sequence[Array], versions: Sequence[int]
    ) -> None:
        """Create a block of the values `parts`, one for each variable, all of the same dtype."""
        self.key = variable_ids.tobytes()
        self.variable_ids = variable_ids
        self.is_single = len(parts) == 1
        self.versions: Array = np.array(versions, np.int64)
        self._taken: dict[int, Array] = {}  # slot → copy of this variable's current value
        self._later: list[tuple[Operation, Rows]] = []  # sparse writes that are not applied yet
        if self.is_single:
            self._values = parts[0]
        else:
            self._shapes = [part.shape for part in parts]
            self._ends = [0, *accumulate(part.size for part in parts)]
            self._values = np.concatenate([part.reshape(-1) for part in parts])
            self._values.setflags(write=False)
        self.is_owned = self._values.flags.writeable  # no other reference to the array exists

    @property
    def values(self) -> Array:
        """Return the array, in which all sparse writes are applied."""
        if self._later:
            self.catch_up()
        return self._values

    def install(self, values: Array, versions: Array) -> None:
        """Set new values of all variables. The caller must not write to the arrays afterwards."""
        values.setflags(write=False)
        versions.setflags(write=False)
        self.change(values, is_owned=False)
        self.versions = versions
        if self._taken:
            self._taken = {}

    def change(self, values: Array, *, is_owned: bool) -> None:
        """Set the value of a block of one variable. The version does not change.

        Args:
            is_owned: Whether the block is allowed to change the array, because no other reference
                to the array exists.
        """
        self._values = values
        self.is_owned = is_owned
        if self._later:
            self._later = []

    def scatter_later(self, operation: Operation, rows: Rows) -> None:
        """Store a sparse write to a block of one variable, to be applied later.

        Args:
            rows: Rows whose arrays never change again.
        """
        self._later.append((operation, rows))

    def catch_up(self) -> None:
        """Apply the waiting sparse writes."""
        later, self._later = self._later, []
        for operation, rows in later:
            self.scatter_now(operation, rows)

    def scatter_now(self, operation: Operation, rows: Rows) -> None:
        """Change rows of a block of one variable. The version does not change.

        If another reference to the array may exist, the array is copied first. Later sparse writes
        change this copy in place, until `show` returns it.
        """
        values = self.values
        if not self.is_owned:
            values = np.array(values, order="C")
            self.change(values, is_owned=True)
        apply_rows(operation, values, rows)

    def show(self, slot: int) -> Array:
        """Return the value of one variable as a read-only array that never changes again."""
        value = self.value(slot)
        if self.is_owned:
            value.setflags(write=False)
            self.is_owned = False
        return value

    def precedes(self, versions: Array) -> bool:
        """Return whether these are the next versions of all variables."""
        if self.is_single:
            return bool(versions.item() == self.versions.item() + 1)
        return np.array_equal(versions, self.versions + 1)

    def value(self, slot: int) -> Array:
        """Return the value of one variable, as the same array until the value changes.

        The caller must not write to the array, even if the array is writable.
        """
        if self.is_single:
            return self.values
        value = self._taken.get(slot)
        if value is None:
            value = self.values[self._ends[slot] : self._ends[slot + 1]].copy()
            value.setflags(write=False)
            value = self._taken[slot] = value.reshape(self._shapes[slot])
        return value

    @property
    def whole_shape(self) -> tuple[int, ...]:
        """Return the shape of the array of all variables."""
        return self._values.shape

    def shape(self, slot: int) -> tuple[int, ...]:
        """Return the shape of one variable's value."""
        return self._values.shape if self.is_single else self._shapes[slot]

    def size_bytes(self, slot: int) -> int:
        """Return the size of one variable's value."""
        if self.is_single:
            return self._values.nbytes
        return (self._ends[slot + 1] - self._ends[slot]) * self._values.itemsize

    def split(self, values: Array) -> list[Array]:
        """Split an array with the same layout as `values` into one view per variable."""
        if self.is_single:
            return [values]
        return [
            values[start:end].reshape(shape)
            for (start, end), shape in zip(pairwise(self._ends), self._shapes, strict=True)
        ]
