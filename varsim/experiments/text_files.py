"""Read text files of a run within limits: UTF-8, and JSON objects."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from varsim.errors import FileError
from varsim.texts.files import JSON_REMEDY, TEXT_REMEDY

MAX_JSON_BYTES: Final = 2**28
"""Size limit of a JSON file. A summary of a run with thousands of variables has a few megabytes."""

_MAX_DEPTH: Final = 100  # varsim writes at most 50 levels, and a few levels around them
_MAX_DIGITS: Final = 310  # integers beyond the largest float are written as texts


def read_text(file: Path, most_bytes: int, remedy: str = TEXT_REMEDY) -> str:
    """Return the text of a file.

    Raises:
        OSError: The file cannot be read.
        FileError: The file is too large, or is not UTF-8.
    """
    with file.open("rb") as stream:
        content = stream.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise FileError(file, f"it has more than {most_bytes:,} bytes", remedy)
    try:
        return content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise FileError(file, f"line {line} is not UTF-8 text: {error.reason}", remedy) from None


def read_object(file: Path, command: str) -> dict[str, Any]:
    """Return the JSON object in a file that a command of varsim wrote.

    Raises:
        FileError: The file cannot be read, or is not a JSON object within the limits.
    """
    remedy = JSON_REMEDY.format(command=command)
    try:
        text = read_text(file, MAX_JSON_BYTES, remedy)
    except OSError as error:
        raise FileError(file, f"it cannot be read: {error.strerror}", remedy) from None
    try:
        value = json.loads(text, parse_constant=_refuse, parse_int=_whole, parse_float=_fraction)
        _check_depth(value, 0)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise FileError(file, f"it is not valid JSON: {why}", remedy) from None
    if not isinstance(value, dict):
        raise FileError(file, "it is not an object of JSON", remedy)
    return value


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not a number of JSON")


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits; the limit is {_MAX_DIGITS}")
    return int(digits)


def _fraction(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _check_depth(value: Any, depth: int) -> None:
    """Check the depth of nested containers.

    Raises:
        ValueError: The depth is too large.
    """
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
    match value:
        case dict():
            inner: Iterable[Any] = value.values()
        case list():
            inner = value
        case _:
            return
    for one in inner:
        _check_depth(one, depth + 1)


def first_problem(error: Any) -> str:
    """Return the first problem of a pydantic ValidationError, with the field that has it."""
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"]))
    others = error.error_count() - 1
    more = f" (and {others} more)" if others else ""
    return f"{place}: {problem['msg']}{more}" if place else f"{problem['msg']}{more}"
