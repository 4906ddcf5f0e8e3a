"""Decide what a trace keeps of values: small values whole, and samples of large values.

Messages are decoded from a trace with the classes of the protocol. In place of an array that the
trace does not keep, the header has the descriptor of an array in shared memory, whose block is the
index of the array's samples in the record (see `absent.py`).
"""

from __future__ import annotations

import math
import weakref
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from varsim.extension_dtypes import key_of
from varsim.protocol.buffers import SHARED, ArrayWriter, Frame, code_of
from varsim.protocol.codec import encode_into
from varsim.protocol.messages import (
    BoundedWrite,
    Combine,
    Commit,
    Component,
    ComponentCommit,
    CompressedContribution,
    Contribution,
    Create,
    FreshCopy,
    Layout,
    Message,
    Payload,
    Publish,
    Push,
    Reduced,
    Scatter,
    ScatterCommit,
    SetPolicyState,
    SharedValue,
    Start,
)
from varsim.spec import Array, Rows, VariableSpec
from varsim.tracing.compressed_parts import restored
from varsim.tracing.layout import LayoutError, Packed, packed
from varsim.tracing.samples import MOST_ELEMENTS, Sampled, sample, sample_of_rows

FRAME_LIMIT_BYTES: Final = 2**16
"""At `ops`, size limit of a value and of the values of one envelope, to keep them whole."""

READ_LIMIT_BYTES: Final = 2**10
"""At `ops`, size limit of a replica's read or withheld value, to keep its bytes. If the values of
an envelope are larger than `FRAME_LIMIT_BYTES` together, this is the limit of each of them."""

DEFINITIONS: Final = frozenset({Create, Layout})
"""Messages that describe the arrays of later messages."""

Kept = tuple[str, tuple[int, ...], int | None, bytes | Sampled | None]
"""The columns of a value: dtype, shape, digest, and its bytes or its sample."""

KeptRows = tuple[str, tuple[int, ...], int | None, bytes | Sampled | None, bytes | None]
"""The columns of rows: those of their values, and the bytes of the indices.

One digest covers both.
"""

Parts = Sequence[Sampled]
"""The samples of the values that one array contains side by side."""

_VALUES: Final[dict[type[Message], str]] = {
    BoundedWrite: "operand",
    Combine: "leaves",
    Component: "value",
    ComponentCommit: "value",
    Create: "value",
    FreshCopy: "value",
    Publish: "value",
    Push: "delta",
    Reduced: "leaves",
    SetPolicyState: "arrays",
    SharedValue: "value",
}
"""Message → its field with values; each array is one value."""


class KeptValues:
    """Makes the columns of values that no message contains.

    Args:
        everything: Whether all values are kept whole.
        read_limit: The size limit of values that are read or withheld.
    """

    def __init__(self, *, everything: bool, read_limit: int) -> None:
        self._limit = 2**63 if everything else FRAME_LIMIT_BYTES
        self._read_limit = 2**63 if everything else read_limit
        self.specs: dict[int, VariableSpec] = {}
        self.shapes: dict[int, tuple[int, ...]] = {}  # of variables on a parameter server

    def written(self, value: Array) -> Kept:
        """Return the columns of a written value."""
        if value.nbytes > self._limit:
            return _sampled(value)
        return key_of(value.dtype), value.shape, None, value.tobytes()

    def shown(self, value: Array) -> Kept:
        """Return the columns of a value that was read or withheld."""
        if value.nbytes > self._limit:
            return _sampled(value)
        content = value.tobytes()
        if len(content) <= self._read_limit:
            return key_of(value.dtype), value.shape, None, content
        return key_of(value.dtype), value.shape, zlib.crc32(content), None

    def rows(self, variable_id: int, rows: Rows, *, withheld: bool = False) -> KeptRows:
        """Return the columns of rows."""
        form = key_of(rows.values.dtype), rows.values.shape
        if rows.nbytes > self._limit:
            shape = self.shapes.get(variable_id) or shape_of(self.specs.get(variable_id))
            found = sample_of_rows(rows, shape)
            return *form, found.digest, found, None
        indices, content = rows.indices.tobytes(), rows.values.tobytes()
        if withheld and rows.nbytes > self._read_limit:
            return *form, zlib.crc32(content, zlib.crc32(indices)), None, None
        return *form, None, content, indices


def _sampled(value: Array) -> Kept:
    found = sample(value)
    return key_of(value.dtype), value.shape, found.digest, found


def shape_of(spec: VariableSpec | None) -> Sequence[int | None] | None:
    """Return the shape of a variable; None if the variable is not known."""
    return None if spec is None else spec.shape


class KeptEnvelopes:
    """Replaces the large values in the frames of envelopes.

    Args:
        specs: The variables that are known; `learn` adds to them.
    """

    def __init__(self, specs: dict[int, VariableSpec]) -> None:
        self._specs = specs
        self._layouts: dict[int, list[Packed]] = {}
        self._known: dict[int, tuple[weakref.ref[Array], Parts | None]] = {}
        """Id of an array of the last envelope → the array, and its samples. The program sends one
        array to several replicas."""

    def learn(self, messages: Iterable[Message]) -> None:
        """Store what messages say about the arrays of later messages."""
        for message in messages:
            if isinstance(message, Create):
                self._specs[message.spec.variable_id] = message.spec
            elif isinstance(message, Layout) and all(
                one.variable_id in self._specs for one in message.writes
            ):
                self._layouts[message.layout_id] = packed(message.writes, self._specs)

    def kept(
        self, frames: Sequence[Frame], messages: Sequence[Message], *, shared: bool
    ) -> tuple[list[Frame]] | tuple[list[Frame], list[Parts | None]]:
        """Return the members of a record: frames, and samples if some values are not kept.

        Args:
            shared: Whether some arrays are in shared memory, and not in the frames.
        """
        if not shared:
            for frame in frames[1:]:
                if len(frame) > FRAME_LIMIT_BYTES:
                    break
            else:
                return (list(frames),)
        # The history does not need the arguments of a call.
        bare = [
            replace(one, arguments=Payload(None)) if isinstance(one, Start) else one
            for one in messages
        ]
        writer = _SamplingWriter(self._plan(bare))
        return encode_into(bare, writer), writer.samples

    def _plan(self, messages: Sequence[Message]) -> dict[int, Parts | None]:
        """Return, by their ids, what is kept of arrays; an array in no value is not planned."""
        arrays = [pair for message in messages for pair in self._arrays_of(message)]
        small = sum(one.nbytes for one, _ in arrays if one.nbytes <= FRAME_LIMIT_BYTES)
        limit = FRAME_LIMIT_BYTES if small <= FRAME_LIMIT_BYTES else READ_LIMIT_BYTES
        plan: dict[int, Parts | None] = {}
        known: dict[int, tuple[weakref.ref[Array], Parts | None]] = {}
        for array, values in arrays:
            if isinstance(values, Message):
                parts = _parts_of(values, self._specs, limit)
            elif array.nbytes <= limit or max(values) <= MOST_ELEMENTS:
                parts = None
            else:
                before = self._known.get(id(array))
                if before is not None and before[0]() is array:
                    parts = before[1]
                else:
                    parts = _side_by_side(array, values)
                known[id(array)] = weakref.ref(array), parts
            plan[id(array)] = parts
        self._known = known
        for message in messages:
            _complete(plan, message)
        return plan

    def _arrays_of(self, message: Message) -> Iterator[tuple[Array, Sequence[int] | Message]]:
        """Yield the arrays with values, each with the numbers of elements of its values.

        An array that does not have its values side by side comes with its message.
        """
        match message:
            case Contribution(layout_id=layout_id, buckets=buckets):
                layout = self._layouts.get(layout_id, ())
                for array, one in zip(buckets, layout, strict=False):
                    yield array, [math.prod(shape) for shape in one.shapes]
            case Commit(variable_ids=ids, value=value):
                shapes = [shape_of(self._specs.get(i)) for i in ids.tolist()]
                several = len(shapes) > 1 and all(s is not None and None not in s for s in shapes)
                yield value, [math.prod(s) for s in shapes] if several else [value.size]  # type: ignore[arg-type]
            case Scatter(rows=rows) | ScatterCommit(rows=rows):
                yield rows.values, message
            case CompressedContribution(parts=(first, *_)):
                yield first, message
            case _:
                found = getattr(message, _VALUES.get(type(message), ""), ())
                for array in (found,) if isinstance(found, np.ndarray) else found:
                    yield array, [array.size]


def _side_by_side(array: Array, sizes: Sequence[int]) -> Parts:
    if len(sizes) == 1 or sum(sizes) != array.size:
        return [sample(array)]
    ends = np.cumsum(sizes).tolist()
    return [sample(array[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def _parts_of(message: Message, specs: dict[int, VariableSpec], limit: int) -> Parts | None:
    """Return the sample of the value of a sparse write or of a compressed contribution."""
    match message:
        case Scatter(rows=rows, write=write):
            return _of_rows(rows, specs.get(write.variable_id), limit)
        case ScatterCommit(rows=rows, variable_id=number):
            return _of_rows(rows, specs.get(number), limit)
        case CompressedContribution(parts=parts, write=write, is_whole=is_whole):
            spec = specs.get(write.variable_id)
            if spec is None or sum(one.nbytes for one in parts) <= limit:
                return None
            try:
                size = math.prod(write.shape)
                return [sample(parts[0] if is_whole else restored(parts, size, spec.dtype))]
            except LayoutError:
                return []
    return None


def _of_rows(rows: Rows, spec: VariableSpec | None, limit: int) -> Parts | None:
    return None if rows.nbytes <= limit else [sample_of_rows(rows, shape_of(spec))]


def _complete(plan: dict[int, Parts | None], message: Message) -> None:
    """Add the arrays of a message that its values need, or that are left out with its values."""
    match message:
        case Commit(variable_ids=ids, versions=versions):
            plan |= {id(ids): None, id(versions): None}
        case Scatter(rows=rows) | ScatterCommit(rows=rows):
            if plan[id(rows.values)] is None:
                plan[id(rows.indices)] = None
        case CompressedContribution(parts=(first, *others)):
            if plan[id(first)] is None:
                plan |= dict.fromkeys(map(id, others))


class _SamplingWriter(ArrayWriter):
    """Writes the descriptors of all arrays, and the bytes of those that are kept whole.

    Args:
        plan: Id of an array → its samples; None if the array is kept whole. Other arrays are left
            out.
    """

    __slots__ = ("_plan", "samples")

    def __init__(self, plan: dict[int, Parts | None]) -> None:
        super().__init__()
        self._plan = plan
        self.samples: list[Parts | None] = []

    def add(self, array: Any) -> tuple[int, ...]:
        parts = self._plan.get(id(array), ())
        if parts is None or not array.nbytes:
            return super().add(array)
        self.samples.append(parts or None)
        code = code_of(array.dtype.newbyteorder("="))
        return (SHARED + code, len(self.samples) - 1, 0, 0, *array.shape)
