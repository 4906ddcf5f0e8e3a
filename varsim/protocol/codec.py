"""Encode envelopes: a list of messages becomes a list of ZeroMQ frames, and back.

Frame 0 is the header, in msgpack: `[PROTOCOL_VERSION, packed, [[tag, field, …], …]]`. The tag of a
message is the index of its class in `MESSAGES`. `records` describes how fields are encoded.
`packed` contains the bytes of all small arrays. If there are more than `MAX_INLINE_BYTES`
bytes, `packed` is their number, and frame 1 contains them. Each further frame is one large array
(see `buffers`). If sender and receiver share memory, the last frame can be a list of the blocks
that the sender has released.

This module does not unpickle anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args

import msgpack

from varsim.errors import ProtocolError
from varsim.protocol.buffers import ArrayReader, ArrayWriter, Buffer, Frame, Memory
from varsim.protocol.messages import Message, ToCoordinator, ToWorker
from varsim.protocol.records import Record

PROTOCOL_VERSION: Final = 7
"""Number that changes with the fields of any message. Both processes must have the same number."""

MAX_HEADER_BYTES: Final = 64 * 2**20
"""Size limit of a header. A header contains no large arrays, so only a message with millions of
Python values reaches this limit."""

MAX_INLINE_BYTES: Final = 4096
"""Size limit of the arrays in the header: copying them costs less than an additional frame."""

MAX_ELEMENTS: Final = 2**24
"""Length limit of a list in a header, for example the list of messages."""

MESSAGES: Final[tuple[type[Message], ...]] = get_args(ToWorker) + get_args(ToCoordinator)
"""Every class of message; the index of a class is its tag."""

_RECORDS: Final = [Record(cls, tag) for tag, cls in enumerate(MESSAGES)]
_ENCODERS: Final = {record.cls: record.encode for record in _RECORDS}


def encode(messages: Sequence[Message], memory: Memory | None = None) -> list[Frame]:
    """Return the frames of an envelope.

    Args:
        memory: The memory that sender and receiver share; large arrays are sent as references.
    Returns:
        The frames. Those of large arrays are views, so the arrays must not change before they are
        sent.
    Raises:
        TypeError: A value has another type than its field, for example a NumPy scalar.
        ValueError: The envelope is larger than the limits.
    """
    writer = ArrayWriter(memory)
    try:
        return _encode(messages, writer)
    except BaseException:
        writer.take_back()
        raise


def _encode(messages: Sequence[Message], writer: ArrayWriter) -> list[Frame]:
    bodies = [_ENCODERS[type(message)](message, writer) for message in messages]
    packed, large = writer.frames()
    short = len(packed) <= MAX_INLINE_BYTES
    envelope = (PROTOCOL_VERSION, packed if short else len(packed), bodies)
    try:
        header: bytes = msgpack.packb(envelope, unicode_errors="surrogatepass")
    except OverflowError as error:
        raise ValueError(f"a number in an envelope has more than 64 bits: {error}") from error
    if len(header) > MAX_HEADER_BYTES:
        raise ValueError(
            f"an envelope's header would have {len(header):,} bytes; the limit is "
            f"{MAX_HEADER_BYTES:,}. Pass NumPy arrays instead of long lists of Python values."
        )
    return [header, *large] if short else [header, packed, *large]


def decode(frames: Sequence[Buffer], memory: Memory | None = None) -> list[Message]:
    """Return the messages of a received envelope.

    The arrays in the messages are read-only views of the frames or of shared memory. A view keeps
    the frame or the shared block alive.

    Args:
        memory: The memory that sender and receiver share.
    Raises:
        ProtocolError: The frames are malformed. The sizes in a header are checked before memory
            is allocated for them.
    """
    if not frames:
        raise ProtocolError("an envelope has no frames")
    header = _header(frames[0])
    if type(header) is not list or len(header) != 3:
        raise ProtocolError("a header is not [version, packed arrays, messages]")
    version, packed, bodies = header
    if type(version) is not int or version != PROTOCOL_VERSION:
        raise ProtocolError(
            f"the peer uses protocol version {version!r}; this is version {PROTOCOL_VERSION}"
        )
    if type(packed) not in {int, bytes} or type(bodies) is not list:
        raise ProtocolError("a header is not [version, packed arrays, messages]")
    reader = ArrayReader(packed, frames[1:], memory)
    messages = [_message(body, reader) for body in bodies]
    note = reader.finish()
    if note is not None and memory is not None:
        memory.take_note(note)
    return messages


def _header(frame: Buffer) -> Any:
    size_bytes = len(frame)
    if size_bytes > MAX_HEADER_BYTES:
        raise ProtocolError(f"a header has {size_bytes} bytes; the limit is {MAX_HEADER_BYTES}")
    try:
        # Strings and bytes cannot be longer than the frame. Maps and extension types do not occur.
        return msgpack.unpackb(
            frame,
            unicode_errors="surrogatepass",
            max_array_len=min(size_bytes, MAX_ELEMENTS),
            max_map_len=0,
            max_ext_len=0,
        )
    except ValueError as error:  # all exceptions of msgpack inherit from it
        raise ProtocolError(f"a header is not msgpack: {error!r}") from error


def _message(body: Any, reader: ArrayReader) -> Message:
    if type(body) is not list or not body:
        raise ProtocolError("a message is not [tag, field, …]")
    tag = body[0]
    if type(tag) is not int or not 0 <= tag < len(_RECORDS):
        raise ProtocolError(f"no message has the tag {tag!r}")
    message: Message = _RECORDS[tag].decode(body, reader)
    return message
