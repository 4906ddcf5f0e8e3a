"""Read and write the text of a golden scenario: blocks, commands and values."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from varsim.distribute.indexed_slices import IndexedSlices
from varsim.distribute.values import PerReplica
from varsim.spec import Rows
from varsim.sync.actions import COORDINATOR

EXPECTED = "----"
"""The line between commands and their output."""

Ends = tuple[int, int]
"""Sender and receiver of a message; each is a replica or `COORDINATOR`."""


class ScenarioError(Exception):
    """A scenario has a syntax error or an impossible command."""


@dataclass(frozen=True, slots=True)
class Command:
    """One line: a verb, options like `replica=0`, and words."""

    verb: str
    words: tuple[str, ...]
    options: dict[str, str]
    location: str  # file:line in the program of the scenario

    @property
    def replica_id(self) -> int:
        """Return the replica of the command.

        Raises:
            ScenarioError: The command names no replica.
        """
        if "replica" not in self.options:
            raise ScenarioError(
                f"{self.location}: {self.verb} needs a replica, for example replica=0"
            )
        return int(self.options["replica"])

    @property
    def ends(self) -> Ends:
        """Return the sender and the receiver that the command names, as in `0 -> coordinator`."""
        sender, arrow, receiver, *_ = (*self.words, "", "", "")
        if arrow != "->":
            raise ScenarioError(
                f"{self.location}: write the sender and the receiver as in `0 -> coordinator`"
            )
        return _end_of(sender), _end_of(receiver)


@dataclass(slots=True)
class ScenarioBlock:
    """Commands with their output."""

    source: list[str]  # the lines of the file, with comments
    commands: list[Command] = field(default_factory=list)
    output: list[str] = field(default_factory=list)


def parse(text: str) -> Iterator[ScenarioBlock]:
    """Yield the blocks of a scenario, without their output.

    Raises:
        ScenarioError: Commands at the end have no `----`.
    """
    lines = iter(text.splitlines())
    block = ScenarioBlock([])
    number = 0
    for line in lines:
        if line == EXPECTED:
            yield block
            block = ScenarioBlock([])
            while next(lines, ""):
                pass  # the old output, up to a blank line
            continue
        block.source.append(line)
        if line and not line.startswith("#"):
            number += 1
            block.commands.append(_command(line, number))
    if block.commands:
        raise ScenarioError(f"{block.source[-1]!r}: the last commands have no {EXPECTED}")


def _command(line: str, number: int) -> Command:
    line, _, location = line.partition(" at ")
    verb, *rest = line.split()
    options = dict(word.split("=", 1) for word in rest if "=" in word)
    words = tuple(word for word in rest if "=" not in word)
    return Command(verb, words, options, location or f"program.py:{number}")


def render(blocks: list[ScenarioBlock]) -> str:
    """Return the text of a scenario with its output."""
    return "\n".join("\n".join([*b.source, EXPECTED, *b.output, ""]) for b in blocks)


def literal(word: str) -> Any:
    """Return the Python value of a word.

    Raises:
        ScenarioError: The word is not a value.
    """
    try:
        return ast.literal_eval(word)
    except (SyntaxError, ValueError) as error:
        raise ScenarioError(f"{word!r} is not a value; write it without spaces") from error


def value_of(words: Sequence[str]) -> Any:
    """Return the value of words; words such as `0:1.0 1:3.0` are a PerReplica."""
    if len(words) == 1 and ":" not in words[0]:
        return _value(words[0])
    return PerReplica(_value(word.partition(":")[2]) for word in words)


def _value(word: str) -> Any:
    return slices_of(word) if "@" in word else literal(word)


def slices_of(word: str) -> IndexedSlices:
    """Return the rows of a word such as `[1.0,2.0]@[0,3]`."""
    values, _, indices = word.partition("@")
    return IndexedSlices(literal(values), literal(indices))


def _end_of(word: str) -> int:
    return COORDINATOR if word == "coordinator" else int(word)


# ---------------------------------------------------------------- the text of values


def show(value: Any) -> str:
    """Return a value as one line."""
    if isinstance(value, np.ndarray) and value.ndim:
        return np.array2string(value, separator=", ").replace("\n", "")
    return str(value)


def show_rows(rows: Rows) -> str:
    """Return rows as one line."""
    return f"{show(rows.values)} @ {show(rows.indices)}"


def show_each(values: Iterable[Any]) -> str:
    """Return one value per replica, as one line."""
    return " ".join(f"{replica_id}:{show(value)}" for replica_id, value in enumerate(values))
