"""Write and read an envelope's arrays as raw bytes after its header, in descriptor order.

A descriptor is `[dtype code, dimension, …]`. A code is an index of `extension_dtypes.NAMES`. Arrays
of up to `PACK_LIMIT_BYTES` are packed into one frame, each at a multiple of `ALIGNMENT`. Every
larger array is a separate frame. The receiver computes all offsets and sizes from the descriptors,
so they are not sent. The receiver compares the descriptors with the received frames before it
allocates memory.

If an array is in memory that sender and receiver share, no frame contains it. The descriptor is
then `[SHARED + dtype code, block, size of the block, start, dimension, …]`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from varsim.errors import ProtocolError, SizeError
from varsim.extension_dtypes import NAMES, NUMPY_DTYPES, is_extension, named
from varsim.protocol.limits import (
    MAX_DIMENSIONS,
    MAX_FRAME_BYTES,
    Buffer,
    check_frame,
    check_large_arrays,
)
from varsim.spec import Array

PACK_LIMIT_BYTES: Final = 64 * 1024
"""Arrays of up to this size are packed together, which costs less than separate frames."""

ALIGNMENT: Final = 16
"""Alignment of packed arrays in bytes: sufficient for every dtype and for vector instructions."""

SHARED: Final = 64
"""This number is added to the dtype's code if the array is in shared memory."""

Frame = bytes | memoryview
"""The types of a frame to send. A memoryview is a view of an array in a message."""

_DTYPES: Final = dict(enumerate(NUMPY_DTYPES))
"""Code → dtype; an extension dtype is added when it is first used."""

_CODES: Final = {dtype: code for code, dtype in _DTYPES.items()}
_PADDING: Final = tuple(bytes(-size % ALIGNMENT) for size in range(ALIGNMENT))


class SharedReference(NamedTuple):
    """The location of an array in shared memory."""

    block: int  # the offset of the block in the memory
    size_bytes: int  # the size of the block
    start: int  # the offset of the array in the block


class Memory(Protocol):
    """Memory that this process shares with its peer."""

    def put(self, array: Array) -> SharedReference | None:
        """Return a reference to an array; None if the array must be sent by value.

        An array that is not in the shared memory is copied into it.
        """

    def take_back(self, reference: SharedReference) -> None:
        """Undo the last `put` that returned this reference, because the reference is not sent."""

    def get(self, reference: SharedReference, size_bytes: int) -> Array:
        """Return the bytes of an array to which the peer has sent a reference.

        Raises:
            ProtocolError: There is no such block.
        """

    def take_note(self, note: memoryview) -> None:
        """Process the peer's list of released blocks.

        Raises:
            ProtocolError: The list is malformed.
        """


class ArrayWriter:
    """Collects the bytes of an envelope's arrays."""

    __slots__ = ("_large", "_memory", "_packed", "_references")

    def __init__(self, memory: Memory | None = None) -> None:
        self._memory = memory
        self._packed: list[bytes] = []
        self._large: list[Frame] = []
        self._references: list[SharedReference] = []

    def add(self, array: Any) -> tuple[int, ...]:
        """Add an array, and return its descriptor.

        Raises:
            TypeError: The value is not an array, or no variable can have its dtype.
            SizeError: The array is larger than `MAX_FRAME_BYTES`.
        """
        if type(array) is not np.ndarray:
            raise TypeError(
                f"a message holds NumPy arrays, not {type(array).__name__}: "
                "use np.asarray(value), also for a NumPy scalar"
            )
        code = _CODES.get(array.dtype)
        if code is None:
            array, code = _native(array)
        size = array.nbytes
        if size > PACK_LIMIT_BYTES:
            check_frame(size, SizeError)
            reference = None if self._memory is None else self._memory.put(array)
            if reference is not None:
                self._references.append(reference)
                return (SHARED + code, *reference, *array.shape)
            self._large.append(np.asarray(array, order="C").reshape(-1).view(np.uint8).data)
        elif size:
            padding = _PADDING[size % ALIGNMENT]
            self._packed += (array.tobytes(), padding)
        return (code, *array.shape)

    def frames(self) -> tuple[bytes, list[Frame]]:
        """Return the packed small arrays, and the frames of large arrays not in shared memory.

        Raises:
            SizeError: There are too many of these frames.
        """
        if self._large:
            check_large_arrays(len(self._large), SizeError)
        return b"".join(self._packed), self._large

    def take_back(self) -> None:
        """Undo all references, because the envelope is not sent."""
        for reference in self._references:
            assert self._memory is not None, "the memory returned the reference"
            self._memory.take_back(reference)


def code_of(dtype: np.dtype[Any]) -> int:
    """Return the code of a dtype.

    Raises:
        TypeError: No variable can have the dtype.
    """
    code = _CODES.get(dtype)
    if code is None:
        if not is_extension(dtype):
            raise TypeError(f"a message cannot hold the dtype {dtype}")
        code = _CODES[dtype] = NAMES.index(dtype.name)
    return code


def dtype_of(code: int) -> np.dtype[Any]:
    """Return the dtype that has this code.

    Raises:
        ProtocolError: No dtype has this code.
        MissingDtype: The code belongs to an extension dtype, and `ml_dtypes` is not installed.
    """
    dtype = _DTYPES.get(code)
    if dtype is None:
        if not 0 <= code < len(NAMES):
            raise ProtocolError(f"no dtype has the code {code}")
        dtype = _DTYPES[code] = named(NAMES[code])
    return dtype


def _native(array: Array) -> tuple[Array, int]:
    """Return an array in this machine's byte order, and the code of its dtype."""
    native = array.dtype.newbyteorder("=")
    try:
        code = code_of(native)
    except TypeError:
        raise TypeError(f"a message cannot hold an array of dtype {array.dtype}") from None
    return array if native == array.dtype else array.astype(native), code


class ArrayReader:
    """Returns read-only views of an envelope's frames, descriptor by descriptor."""

    __slots__ = ("_large", "_memory", "_next_large", "_offset", "_packed", "_packed_bytes")

    def __init__(
        self, packed: int | bytes, frames: Sequence[Buffer], memory: Memory | None = None
    ) -> None:
        """Prepare to read the frames after the header.

        Args:
            packed: The packed arrays, or their length if the first frame contains them.
        Raises:
            ProtocolError: A frame is too large, or the first frame has another length.
        """
        views: list[memoryview] = []
        if frames:
            # Two frames are not large arrays: the packed arrays, and the list of released blocks.
            check_large_arrays(len(frames) - 2, ProtocolError)
            views = [memoryview(frame).toreadonly() for frame in frames]
            for view in views:
                check_frame(view.nbytes, ProtocolError)
        if isinstance(packed, bytes):
            self._packed = memoryview(packed)
        else:
            self._packed = views.pop(0) if views else memoryview(b"")
            if len(self._packed) != packed:
                raise ProtocolError(
                    f"the packed arrays have {len(self._packed)} bytes; the header says {packed}"
                )
        self._packed_bytes = len(self._packed)
        self._memory = memory
        self._offset = 0
        self._large = views
        self._next_large = 0

    def take(self, descriptor: list[Any]) -> Array:
        """Return the next array, which has this descriptor.

        Raises:
            ProtocolError: The descriptor is malformed, or does not match the received frames.
        """
        if not 0 < len(descriptor) <= MAX_DIMENSIONS + 1:
            raise ProtocolError(f"an array descriptor has the wrong length {len(descriptor)}")
        if self._memory is not None and type(descriptor[0]) is int and descriptor[0] >= SHARED:
            return self._take_shared(descriptor, self._memory)
        for number in descriptor:
            if type(number) is not int or not 0 <= number <= MAX_FRAME_BYTES:
                raise ProtocolError(f"an array descriptor contains the invalid number {number!r}")
        dtype = dtype_of(descriptor[0])
        shape = descriptor[1:]
        size = math.prod(shape) * dtype.itemsize
        if size > PACK_LIMIT_BYTES:
            return np.ndarray(shape, dtype, self._large_view(size))
        if not size:
            return _empty(shape, dtype)
        offset = self._offset
        self._offset = offset + size + -size % ALIGNMENT
        if self._offset > self._packed_bytes:
            raise ProtocolError("the header describes more small arrays than were sent")
        return np.ndarray(shape, dtype, self._packed, offset)

    def _take_shared(self, descriptor: list[Any], memory: Memory) -> Array:
        code, *numbers = descriptor
        for number in numbers:
            if type(number) is not int or number < 0:
                raise ProtocolError(f"an array descriptor contains the invalid number {number!r}")
        if len(numbers) < 3:
            raise ProtocolError(f"{descriptor} does not describe an array in shared memory")
        block, size_bytes, start, *shape = numbers
        dtype = dtype_of(code - SHARED)
        size = math.prod(shape) * dtype.itemsize
        if size <= PACK_LIMIT_BYTES or start % dtype.alignment:
            raise ProtocolError(f"an array of {dtype}{shape} cannot be shared at the start {start}")
        view = memory.get(SharedReference(block, size_bytes, start), size)
        array: Array = view.view(dtype).reshape(shape)
        array.setflags(write=False)
        return array

    def _large_view(self, size: int) -> memoryview:
        if self._next_large == len(self._large):
            raise ProtocolError("the header describes more large arrays than were sent")
        view = self._large[self._next_large]
        if len(view) != size:
            raise ProtocolError(f"an array has {size} bytes, but its frame has {len(view)}")
        self._next_large += 1
        return view

    def finish(self) -> memoryview | None:
        """Check that `take` has returned all arrays.

        Returns:
            The frame after the arrays, which lists released blocks; None if there is none.
        Raises:
            ProtocolError: The frames contain more arrays than the descriptors describe.
        """
        left = self._large[self._next_large :]
        if self._offset != self._packed_bytes or len(left) > (self._memory is not None):
            raise ProtocolError("more array bytes were sent than the header describes")
        return left[0] if left else None


def _empty(shape: list[int], dtype: np.dtype[np.generic]) -> Array:
    # NumPy refuses even an empty array if the product of its nonzero dimensions is too large.
    if math.prod(dimension or 1 for dimension in shape) * dtype.itemsize > MAX_FRAME_BYTES:
        raise ProtocolError(f"an array of shape {shape} is too large")
    return np.ndarray(shape, dtype, b"")
