"""Convert dataclasses to JSON and back, field by field from their annotations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

_PLAIN: Final = (NoneType, bool, int, float, str)


def to_json(value: object) -> str:
    """Return a dataclass of plain values, paths, tuples and dataclasses as one line of JSON."""
    return json.dumps(_encoded(value))


def from_json(cls: type[T], line: str | bytes) -> T:
    """Return the dataclass that `to_json` has converted."""
    made = _decoded(cls, json.loads(line))
    assert isinstance(made, cls)
    return made


def _encoded(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_encoded(one) for one in value]
    assert is_dataclass(value), f"{value!r} cannot be converted to JSON"
    return {field.name: _encoded(getattr(value, field.name)) for field in fields(value)}


def _decoded(hint: Any, raw: Any) -> Any:
    if hint in _PLAIN:
        return raw
    if hint is Path:
        return Path(raw)
    arguments = get_args(hint)
    if get_origin(hint) is UnionType:
        assert arguments[1:] == (NoneType,), f"{hint} cannot be converted from JSON"
        return None if raw is None else _decoded(arguments[0], raw)
    if get_origin(hint) is tuple:
        return _decoded_tuple(arguments, raw)
    hints = get_type_hints(hint)
    return hint(
        **{field.name: _decoded(hints[field.name], raw[field.name]) for field in fields(hint)}
    )


def _decoded_tuple(arguments: Sequence[Any], raw: Sequence[Any]) -> tuple[Any, ...]:
    if Ellipsis in arguments:
        return tuple(_decoded(arguments[0], one) for one in raw)
    return tuple(_decoded(hint, one) for hint, one in zip(arguments, raw, strict=True))
