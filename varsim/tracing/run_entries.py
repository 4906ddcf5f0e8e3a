"""Validate the table `run` of a history: the entries about the run as a whole."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final

from varsim.environment import MAX_REPLICAS
from varsim.tracing.host_traffic import HostTraffic
from varsim.tracing.validation import (
    MAX_SECONDS,
    MAX_WORD,
    DamageError,
    check_columns,
    is_count,
    not_text,
)

MAX_ENTRIES: Final = 1_000
"""Limit for the number of rows of the table `run`."""

MAX_ENTRY_CHARACTERS: Final = 2**20
"""Length limit of a value in the table `run`. The longest value lists the reasons for gaps."""

_OF_TRAFFIC: Final = {one.name for one in fields(HostTraffic)}
_AMOUNTS: Final = ("messages_within", "bytes_within", "messages_between", "bytes_between")


def entries(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return the entries of the table `run`.

    Raises:
        DamageError: There are too many entries, or an entry is not JSON.
    """
    check_columns(connection, "run", ("key", "value"))
    conditions = f"{not_text('key', MAX_WORD, null=False)} OR "
    conditions += not_text("value", MAX_ENTRY_CHARACTERS, null=False)
    ((count, wrong),) = connection.execute(f"SELECT COUNT(*), SUM({conditions}) FROM run")  # noqa: S608
    if count > MAX_ENTRIES:
        raise DamageError(f"its table 'run' has {count:,} rows; the limit is {MAX_ENTRIES:,}")
    if wrong:
        raise DamageError("its table 'run' has a key or a value that is not a text, or too long")
    found: dict[str, Any] = {}
    for key, value in connection.execute("SELECT key, value FROM run"):
        try:
            found[key] = json.loads(value, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise DamageError(f"its entry {key!r} in the table 'run' is not JSON") from None
    return found


def _refuse(word: str) -> Any:
    raise ValueError(word)


def check_entries(run: Mapping[str, Any]) -> None:
    """Check the entries whose meaning varsim knows.

    Raises:
        DamageError: An entry is missing or has no valid value.
    """
    for key, (valid, expected) in ENTRIES.items():
        if (key in run or key == "num_replicas") and not valid(run.get(key)):
            shown = repr(run.get(key))
            shown = shown if len(shown) <= MAX_WORD else f"{shown[:MAX_WORD]}…"
            raise DamageError(f"its entry {key!r} is {shown}, and must be {expected}")


def _is_window(value: object) -> bool:
    match value:
        case None:
            return True
        case [int(first), int(after)]:
            return is_count(first, 1) and is_count(after) and first < after
    return False


def _is_continued(value: object) -> bool:
    match value:
        case {"calls": calls, "kept": [*kept]}:
            return is_count(calls) and all(map(is_count, kept))
    return False


def _are_hosts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_host, value))


def _is_host(value: object) -> bool:
    match value:
        case {"name": str(), "replicas": [*replicas], "clock_error_s": error}:
            return _is_time(error) and all(is_count(one, 0, MAX_REPLICAS) for one in replicas)
    return False


def _is_time(value: Any) -> bool:
    return value is None or (type(value) in {int, float} and 0 <= value <= MAX_SECONDS)


def _is_traffic(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == _OF_TRAFFIC
        and all(is_count(value[name]) for name in _AMOUNTS)
        and isinstance(value["uncounted"], str)
        and _are_texts(value["program_on"])
        and _are_texts(value["slowest"])
        and isinstance(value["links"], list)
        and all(map(_is_link, value["links"]))
    )


def _is_link(value: object) -> bool:
    match value:
        case {
            "ends": [str(), str()],
            "within": bool(),
            "messages": messages,
            "size_bytes": size_bytes,
            "delay_s": delay_s,
            "quartile_s": quartile_s,
            **others,
        } if not others:
            return (
                is_count(messages)
                and is_count(size_bytes)
                and _is_time(delay_s)
                and _is_time(quartile_s)
            )
    return False


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _are_texts_by_key(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


ENTRIES: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "num_replicas": (
        lambda value: is_count(value, 1, MAX_REPLICAS),
        f"a number from 1 to {MAX_REPLICAS}",
    ),
    "events": (is_count, "a number from 0"),
    "complete": (lambda value: isinstance(value, bool), "true or false"),
    "limited": (lambda value: isinstance(value, bool), "true or false"),
    "simulated": (lambda value: isinstance(value, bool), "true or false"),
    "level": (lambda value: isinstance(value, str), "a word"),
    "began": (
        lambda value: type(value) in {int, float} and 0 <= value <= MAX_SECONDS,
        "a time in seconds",
    ),
    "window": (_is_window, "null, or the first call and the first call after it"),
    "continued": (_is_continued, "the calls before, and the numbers of the kept variables"),
    "hosts": (_are_hosts, "a list of hosts with their replicas"),
    "traffic": (_is_traffic, "what hosts sent to each other"),
    "counted": (_are_texts, "a list of texts"),
    "missing": (_are_texts, "a list of texts"),
    "left_out": (_are_texts, "a list of texts"),
    "cut_short": (
        lambda value: _are_texts_by_key(value) and all(map(str.isdecimal, value)),
        "texts by replica",
    ),
    "policies": (_are_texts_by_key, "packages by keyword"),
    "policy_files": (_are_texts_by_key, "files by keyword"),
}
"""Key → a function that returns whether a value is valid, and a text about valid values."""
