"""The generated parts of docs/history.md: the tables of a history, and the kinds of its events."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from varsim.tracing.history import KINDS, RUN_KEYS, SCHEMA

_TABLE = re.compile(r"CREATE TABLE (\w+) \((.*?)\n\);", re.DOTALL)
_COLUMN = re.compile(r" +(\w+) +([A-Z ]+?),? +-- (.*)")


def history_schema() -> str:
    """Return the tables of a history, with a row for each column."""
    return "\n".join(_tables())


def _tables() -> Iterator[str]:
    for name, body in _TABLE.findall(SCHEMA):
        yield from (f"**{name}**", "", "| column | type | meaning |", "| --- | --- | --- |")
        for line in body.splitlines():
            if (column := _COLUMN.fullmatch(line)) is not None:
                yield f"| `{column[1]}` | {column[2]} | {column[3]} |"
        yield ""


def history_run_keys() -> str:
    """Return the keys of the table `run` with their meanings."""
    return _meanings("key", RUN_KEYS)


def history_kinds() -> str:
    """Return the kinds of events with their meanings."""
    return _meanings("kind", KINDS)


def _meanings(heading: str, meanings: Mapping[str, str]) -> str:
    rows = [f"| `{word}` | {meaning} |" for word, meaning in meanings.items()]
    return "\n".join([f"| {heading} | meaning |", "| --- | --- |", *rows])
