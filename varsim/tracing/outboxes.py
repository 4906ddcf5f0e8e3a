"""Find the values of a contribution in the arrays of its outbox."""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from varsim.protocol.messages import Write
from varsim.spec import Array
from varsim.tracing.absent import AbsentMemory
from varsim.tracing.layout import LayoutError, Packed
from varsim.tracing.rows import NO_VALUE, Columns, Kept, form, kept_part


class RecordedOutbox:
    """The layout of an outbox. Many contributions may have the same layout."""

    def __init__(self, writes: Sequence[Write], arrays: Sequence[Packed]) -> None:
        self.variable_ids = [write.variable_id for write in writes]
        self._named = [(one.variable_id, one.operation._value_, one.location) for one in writes]
        self._packed = arrays

    def columns(
        self,
        first: int,
        arrays: Sequence[Array],
        absent: AbsentMemory,
        withheld: Mapping[int, deque[Kept]],
    ) -> Iterator[Columns]:
        """Return the columns of every write; the values are in arrays or were withheld."""
        values: list[Kept] = [NO_VALUE] * len(self._named)
        if len(arrays) != len(self._packed):
            raise LayoutError(f"{len(arrays)} arrays, where its layout has {len(self._packed)}")
        for one, array in zip(self._packed, arrays, strict=True):
            if array.shape != one.shape:
                if array.size:
                    raise LayoutError(f"an array of shape {array.shape} instead of {one.shape}")
                continue  # the values of this replica are not used
            for write, shown in zip(
                one.writes, side_by_side(array, one.shapes, absent), strict=True
            ):
                values[write] = shown
        for index, ((variable, operation, location), value) in enumerate(
            zip(self._named, values, strict=True), start=first
        ):
            if value is NO_VALUE and withheld.get(variable):
                value = withheld[variable].popleft()  # noqa: PLW2901
            yield variable, operation, index, location, *value


def side_by_side(
    array: Array, shapes: Sequence[Sequence[int | None]], absent: AbsentMemory
) -> list[Kept]:
    """Return the columns of values that are packed in one array; all shapes are known."""
    if absent.is_absent(array):
        parts = absent.parts_of(array)
        known = parts if len(parts) == len(shapes) else [None] * len(shapes)
        return [
            kept_part(array.dtype, [size or 0 for size in shape], () if one is None else (one,))
            for shape, one in zip(shapes, known, strict=True)
        ]
    content = bytearray(array.tobytes())
    dtype, size = array.dtype, array.itemsize
    found: list[Kept] = []
    start = 0
    for shape in shapes:
        end = start + _count(shape) * size
        part = content[start:end]
        found.append((*form(dtype, tuple(shape)), zlib.crc32(part), part))
        start = end
    return found


def _count(shape: Sequence[int | None]) -> int:
    """Return the number of elements of a value of a known shape."""
    return math.prod(size for size in shape if size is not None)
