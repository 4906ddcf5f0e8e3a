"""Encode messages as lists of plain values, with code that is generated from their annotations.

The fields of a message are encoded as follows: an array as its descriptor; an enum member as its
index in the enum; a dtype as its code; a dataclass as the list of its fields; a `Payload` as
`[tree, [descriptor, …]]`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import product
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

import numpy as np

from varsim.errors import ProtocolError
from varsim.protocol.buffers import ArrayReader, ArrayWriter, code_of, dtype_of
from varsim.protocol.messages import Payload

Encode = Callable[[Any, ArrayWriter], Any]
Decode = Callable[[Any, ArrayReader], Any]

_PLAIN: Final = (int, float, str, bool, bytes, NoneType)


class FieldEncoding:
    """The encoding of the values of one type annotation."""

    def __init__(
        self, *accepted: type, encode: Encode | None = None, decode: Decode | None = None
    ) -> None:
        self.accepted = accepted  # the exact types that a received field can have
        self.encode = encode  # None if values are sent unchanged
        self.decode = decode


class Record:
    """Encodes a dataclass as the list of its fields, in order. The first item is the tag, if any.

    The source code of `encode` and `decode` is generated for each class, like the methods of a
    dataclass. These functions run for every message, and a loop over fields would take twice as
    long. Names in the generated code begin with an underscore, so that they differ from fields.
    """

    def __init__(self, cls: type, tag: int | None = None) -> None:
        hints = get_type_hints(cls)
        names = [field.name for field in fields(cls)]
        encodings = [_encoding(hints[name]) for name in names]
        prefix = [] if tag is None else [tag]
        self.cls = cls
        scope: dict[str, Any] = {"cls": cls, "new": object.__new__, "refuse": self._refuse}
        rows = product(*[(int,)] * len(prefix), *(encoding.accepted for encoding in encodings))
        scope["accepted"] = frozenset(rows)
        for name, encoding in zip(names, encodings, strict=True):
            # Setting each slot takes less time than a call of __init__.
            scope[f"set_{name}"] = getattr(cls, name).__set__
            scope[f"encode_{name}"], scope[f"decode_{name}"] = encoding.encode, encoding.decode
        encoded = [
            f"encode_{name}(_made.{name}, _writer)" if encoding.encode else f"_made.{name}"
            for name, encoding in zip(names, encodings, strict=True)
        ]
        received = ["_" for _ in prefix] + names
        lines = [
            "def encode(_made, _writer):",
            f"    return [{', '.join([*map(str, prefix), *encoded])}]",
            "def decode(_body, _reader):",
            "    if tuple(map(type, _body)) not in accepted:",
            "        refuse(_body)",
            f"    [{', '.join(received)}] = _body",
            "    _made = new(cls)",
            *(
                f"    set_{name}(_made, decode_{name}({name}, _reader))"
                if encoding.decode
                else f"    set_{name}(_made, {name})"
                for name, encoding in zip(names, encodings, strict=True)
            ),
            "    return _made",
        ]
        exec("\n".join(lines), scope)  # noqa: S102  # contains only names of varsim's fields
        self.encode: Encode = scope["encode"]
        """Returns the fields as values that msgpack can encode."""
        self.decode: Decode = scope["decode"]
        """Returns the dataclass; raises ProtocolError if the values have wrong types."""

    def _refuse(self, body: list[Any]) -> None:
        kinds = ", ".join(type(value).__name__ for value in body)
        raise ProtocolError(f"{self.cls.__name__} cannot have the fields ({kinds})")


def _encoding(hint: Any) -> FieldEncoding:
    """Return the encoding for an annotation. An unknown annotation is a bug in `messages`."""
    if hint in _PLAIN:
        return FieldEncoding(hint)
    if hint is Payload:
        return FieldEncoding(list, encode=_encode_payload, decode=_decode_payload)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is np.ndarray:
        return FieldEncoding(list, encode=_encode_array, decode=_decode_array)
    if origin is np.dtype:
        return FieldEncoding(
            int, encode=lambda dtype, _: code_of(dtype), decode=lambda code, _: dtype_of(code)
        )
    if origin is UnionType and arguments[1:] == (NoneType,):
        return _optional(_encoding(arguments[0]))
    if origin is UnionType:
        return _either(*arguments)
    if origin is tuple:
        return _tuple(arguments)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _choice(tuple(hint))
    assert is_dataclass(hint), f"messages cannot hold {hint}"
    assert isinstance(hint, type), "a class, not an instance"
    record = Record(hint)
    return FieldEncoding(list, encode=record.encode, decode=record.decode)


def _encode_array(array: Any, writer: ArrayWriter) -> tuple[int, ...]:
    return writer.add(array)


def _decode_array(descriptor: list[Any], reader: ArrayReader) -> Any:
    return reader.take(descriptor)


def _member(members: tuple[Any, ...], index: int) -> Any:
    if not 0 <= index < len(members):
        raise ProtocolError(f"{index} is not the index of one of {', '.join(map(str, members))}")
    return members[index]


def _encode_payload(payload: Payload, writer: ArrayWriter) -> tuple[Any, ...]:
    return payload.tree, [writer.add(array) for array in payload.arrays]


def _decode_payload(raw: list[Any], reader: ArrayReader) -> Payload:
    if len(raw) != 2 or type(raw[1]) is not list:
        raise ProtocolError("a payload is not [tree, [array descriptor, …]]")
    return Payload(raw[0], tuple([_array_of(descriptor, reader) for descriptor in raw[1]]))


def _array_of(descriptor: Any, reader: ArrayReader) -> Any:
    if type(descriptor) is not list:
        raise ProtocolError(f"{descriptor!r} is not an array descriptor")
    return reader.take(descriptor)


def _choice(members: tuple[Any, ...]) -> FieldEncoding:
    """Return the encoding of a member as its index."""
    indices = {member: index for index, member in enumerate(members)}
    return FieldEncoding(
        int,
        encode=lambda member, _: indices[member],
        decode=lambda index, _: _member(members, index),
    )


def _optional(encoding: FieldEncoding) -> FieldEncoding:
    encode, decode = encoding.encode, encoding.decode
    return FieldEncoding(
        *encoding.accepted,
        NoneType,
        encode=encode and (lambda value, to: None if value is None else encode(value, to)),
        decode=decode and (lambda raw, of: None if raw is None else decode(raw, of)),
    )


def _either(members: type[Enum], other: type) -> FieldEncoding:
    """Return the encoding of an enum's member as its index, or of a dataclass as a list."""
    member, record = _encoding(members), _encoding(other)
    assert None not in (member.encode, member.decode, record.encode, record.decode)

    def encode(value: Any, writer: ArrayWriter) -> Any:
        chosen = member.encode if isinstance(value, members) else record.encode
        return chosen(value, writer)  # type: ignore[misc]  # asserted above

    def decode(raw: Any, reader: ArrayReader) -> Any:
        chosen = member.decode if type(raw) is int else record.decode
        return chosen(raw, reader)  # type: ignore[misc]

    return FieldEncoding(int, list, encode=encode, decode=decode)


def _tuple(arguments: tuple[Any, ...]) -> FieldEncoding:
    """Return the encoding of a tuple as a list. The list of a `tuple[X, ...]` has any length."""
    encodings = [_encoding(argument) for argument in arguments if argument is not Ellipsis]
    if Ellipsis not in arguments:
        assert not any(encoding.encode for encoding in encodings), (
            "no message needs encoded values in such a tuple"
        )
        rows = frozenset(product(*(encoding.accepted for encoding in encodings)))
        return FieldEncoding(list, decode=lambda raw, _: _fixed(raw, rows))
    (encoding,) = encodings
    accepted, encode, decode = frozenset(encoding.accepted), encoding.encode, encoding.decode

    def encode_all(values: tuple[Any, ...], writer: ArrayWriter) -> list[Any]:
        return [encode(value, writer) if encode else value for value in values]

    def decode_all(raw: list[Any], reader: ArrayReader) -> tuple[Any, ...]:
        if not raw:
            return ()
        if not accepted.issuperset(map(type, raw)):
            raise ProtocolError("a list in a message holds values of a wrong type")
        return tuple([decode(value, reader) for value in raw] if decode else raw)

    return FieldEncoding(list, encode=encode_all if encode else None, decode=decode_all)


def _fixed(raw: list[Any], rows: frozenset[tuple[type, ...]]) -> tuple[Any, ...]:
    if tuple(map(type, raw)) not in rows:
        raise ProtocolError("a tuple in a message has a wrong length, or values of a wrong type")
    return tuple(raw)
