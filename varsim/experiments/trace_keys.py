"""What an experiment says under `trace`: a level, or more about it."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from varsim.experiments.nearest import did_you_mean
from varsim.tracing.trace import LEVELS, LIMIT_BYTES, OPS

KEYS: Final = ("level", "steps", "limit")
LEAST_LIMIT_BYTES: Final = 2**16
"""Less would end before the first variable is there."""

_STEPS: Final = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*")
_SIZE: Final = re.compile(r"\s*(\d+)\s*(B|KiB|MiB|GiB)?\s*")
_UNITS: Final = {None: 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

JSON_SCHEMA: Final = {
    "anyOf": [
        {"enum": list(LEVELS)},
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "level": {"enum": list(LEVELS)},
                "steps": {"type": "string", "pattern": r"^\s*\d+\s*:\s*\d+\s*$"},
                "limit": {"type": ["string", "integer"]},
            },
        },
    ]
}


class TraceKeys(NamedTuple):
    """What is recorded: named as in `TraceOptions`, which takes them as they are."""

    level: str = OPS
    window: tuple[int, int] | None = None  # calls of strategy.run: the first, and the first after
    limit_bytes: int = LIMIT_BYTES  # of each process


def parse_trace(value: Any) -> TraceKeys:
    """Reads a level, or a mapping of `KEYS`.

    Raises:
        ValueError: It is neither; the text says what it could be.
    """
    if not isinstance(value, dict):
        return TraceKeys(_level(value))
    for key in value:
        if key not in KEYS:
            raise ValueError(
                f"there is no {key!r} under trace{did_you_mean(str(key), KEYS)}\n"
                f"  keys: {', '.join(KEYS)}"
            )
    steps, limit = value.get("steps"), value.get("limit")
    return TraceKeys(
        _level(value.get("level", OPS)),
        None if steps is None else _window(steps),
        LIMIT_BYTES if limit is None else _limit(limit),
    )


def _level(value: Any) -> str:
    if value not in LEVELS:
        known = ", ".join(LEVELS)
        raise ValueError(f"{value!r} is not one of {known}{did_you_mean(str(value), LEVELS)}")
    return str(value)


def _window(value: Any) -> tuple[int, int]:
    found = _STEPS.fullmatch(str(value))
    if found is None or not 1 <= int(found[1]) < int(found[2]):
        raise ValueError(
            f"steps: {value!r} is not a window: write 100:200 for the calls of strategy.run from "
            "the "
            "100th to the 199th"
        )
    return int(found[1]), int(found[2])


def _limit(value: Any) -> int:
    found = _SIZE.fullmatch(str(value))
    size = int(found[1]) * _UNITS[found[2]] if found is not None else 0
    if size < LEAST_LIMIT_BYTES:
        raise ValueError(
            f"limit: {value!r} is not a size: write 64 MiB, or a number of bytes from "
            f"{LEAST_LIMIT_BYTES:,}"
        )
    return size
