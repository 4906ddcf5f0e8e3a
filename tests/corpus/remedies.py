"""Apply the remedies of findings to a program of the corpus."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from varsim.analysis.findings.model import Finding
from varsim.experiments.variable_settings import VariableSettings

_REMEDY: Final = re.compile(r"( *)# REMEDY:(?: (.*))?$")


class Change(NamedTuple):
    """A statement of a program, and the lines that a remedy puts in its place."""

    first: int  # the first line of the statement; numbers start at 1
    last: int  # the line after its last REMEDY line
    lines: tuple[str, ...]


def changes(text: str) -> list[Change]:
    """Return the changes that the REMEDY lines of a program describe, in the order of lines.

    REMEDY lines are below the statement that they replace, with its indentation and nothing but
    empty lines between them. An empty REMEDY line deletes the statement.
    """
    lines = text.splitlines()
    starts = {
        (one.end_lineno, one.col_offset): one.lineno
        for one in ast.walk(ast.parse(text))
        if isinstance(one, ast.stmt)
    }
    found: list[Change] = []
    number = 0
    while number < len(lines):
        block = list(_block(lines[number:]))
        if block:
            indentation = len(block[0][1])
            above = max((n for n in range(number + 1) if n and lines[n - 1].strip()), default=0)
            first = starts.get((above, indentation))
            assert first, f"line {number + 1}: no statement ends above this REMEDY"
            said = tuple(one[1] + one[2] for one in block if one[2])
            found.append(Change(first, number + len(block) + 1, said))
        number += max(1, len(block))
    return found


def _block(lines: Iterable[str]) -> Iterator[re.Match[str]]:
    """Yield the REMEDY lines at the start of some lines."""
    for line in lines:
        mark = _REMEDY.match(line)
        if mark is None:
            return
        yield mark


def mended(text: str) -> str:
    """Return a program with its REMEDY lines applied."""
    lines = text.splitlines()
    for change in reversed(changes(text)):
        lines[change.first - 1 : change.last - 1] = change.lines
    return "\n".join(lines) + "\n"


def settings_of(findings: Iterable[Finding]) -> dict[str, VariableSettings]:
    """Return the settings that findings propose, as the `variables` of an experiment."""
    return {
        one.variable: VariableSettings(
            synchronization=one.settings.synchronization, aggregation=one.settings.aggregation
        )
        for one in findings
        if one.settings is not None
    }
