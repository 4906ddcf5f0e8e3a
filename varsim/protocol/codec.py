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

from varsim.errors import ProtocolError, SizeError
from varsim.protocol.buffers import ArrayReader, ArrayWriter, Frame, Memory
from varsim.protocol.limits import SHORT_HEADER_BYTES, Buffer, check_header
from varsim.protocol.messages import Message, ToCoordinator, ToWorker
from varsim.protocol.parameter_servers import OfParameterServers
from varsim.protocol.records import Record

PROTOCOL_VERSION: Final = 19
"""Number that changes with the fields of any message. Both processes must have the same number."""

MAX_INLINE_BYTES: Final = 4096
"""Size limit of the arrays in the header: copying them costs less than an additional frame."""

MESSAGES: Final[tuple[type[Message], ...]] = (
    get_args(ToWorker) + get_args(ToCoordinator) + get_args(OfParameterServers)
)
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
        ValueError: A number has more than 64 bits.
        SizeError: The envelope is larger than the limits that a receiver checks; nothing is sent.
    """
    writer = ArrayWriter(memory)
    try:
        return encode_into(messages, writer)
    except BaseException:
        writer.take_back()
        raise


def encode_into(messages: Sequence[Message], writer: ArrayWriter) -> list[Frame]:
    """Return the frames of an envelope whose arrays a writer collects; see `encode`."""
    bodies = [_ENCODERS[type(message)](message, writer) for message in messages]
    packed, large = writer.frames()
    short = len(packed) <= MAX_INLINE_BYTES
    envelope = (PROTOCOL_VERSION, packed if short else len(packed), bodies)
    try:
        header: bytes = msgpack.packb(envelope, unicode_errors="surrogatepass")
    except OverflowError as error:
        raise ValueError(f"a number in an envelope has more than 64 bits: {error}") from error
    if len(header) > SHORT_HEADER_BYTES:
        check_header(header, SizeError)
    return [header, *large] if short else [header, packed, *large]


def decode(
    frames: Sequence[Buffer],
    memory: Memory | None = None,
    reader_type: type[ArrayReader] = ArrayReader,
) -> list[Message]:
    """Return the messages of a received envelope.

    The arrays in the messages are read-only views of the frames or of shared memory. A view keeps
    the frame or the shared block alive.

    Args:
        memory: The memory that sender and receiver share.
        reader_type: The class that returns the arrays.
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
    reader = reader_type(packed, frames[1:], memory)
    messages = [_message(body, reader) for body in bodies]
    note = reader.finish()
    if note is not None and memory is not None:
        memory.take_note(note)
    return messages


def _header(frame: Buffer) -> Any:
    size_bytes = len(frame)
    if size_bytes > SHORT_HEADER_BYTES:
        check_header(frame, ProtocolError)
    try:
        # Strings and bytes cannot be longer than the frame. Maps and extension types do not occur.
        return msgpack.unpackb(
            frame,
            unicode_errors="surrogatepass",
            max_array_len=size_bytes,
            max_map_len=0,
            max_ext_len=0,
        )
    except ValueError as error:  # all exceptions of msgpack inherit from ValueError
        raise ProtocolError(f"a header is not msgpack: {error!r}") from error


def _message(body: Any, reader: ArrayReader) -> Message:
    if type(body) is not list or not body:
        raise ProtocolError("a message is not [tag, field, …]")
    tag = body[0]
    if type(tag) is not int or not 0 <= tag < len(_RECORDS):
        raise ProtocolError(f"no message has the tag {tag!r}")
    message: Message = _RECORDS[tag].decode(body, reader)
    return message
