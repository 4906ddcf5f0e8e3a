"""Parse the text of `--mode`: a mode for all free variables, or modes by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from varsim.errors import ConfigError
from varsim.experiments.nearest import did_you_mean
from varsim.spec import VariableSynchronization

MODES: Final = {mode.name.lower(): mode for mode in VariableSynchronization}
"""The modes, by their names in an experiment and on the command line."""

SYNTAX: Final = f"{', '.join(MODES)}; or name=mode,name=mode for some variables"


@dataclass(frozen=True, slots=True)
class Mode:
    """The synchronizations that an experiment gives to variables."""

    free: VariableSynchronization | None  # of all variables that the workload left free
    named: dict[str, VariableSynchronization]  # by name or fnmatch pattern, free or not


def parse_mode(text: str) -> Mode:
    """Parse `on_read`, or `weights=on_read,bias=on_write`, or a mode for all with exceptions.

    Raises:
        ConfigError: There is no such mode; the text names the nearest.
    """
    free: VariableSynchronization | None = None
    named: dict[str, VariableSynchronization] = {}
    for part in text.split(","):
        name, equals, word = part.strip().rpartition("=")
        mode = _mode(word.strip())
        if equals and not name.strip():
            raise ConfigError(f"{part.strip()!r} does not name a variable")
        if equals:
            named[name.strip()] = mode
        elif free is not None:
            raise ConfigError(f"{text!r} has two modes for all free variables")
        else:
            free = mode
    return Mode(free, named)


def without_auto(text: str) -> str | None:
    """Return the text without the parts that give AUTO; None if nothing is left."""
    auto = VariableSynchronization.AUTO
    parts = text.split(",")
    return ",".join(p for p in parts if _mode(p.rpartition("=")[2].strip()) is not auto) or None


def as_member(word: str) -> str:
    """Return the name of an enum's member for a word, which may have small letters and hyphens."""
    return word.strip().upper().replace("-", "_")


def _mode(word: str) -> VariableSynchronization:
    mode = MODES.get(as_member(word).lower())
    if mode is None:
        raise ConfigError(f"{word!r} is not a mode{did_you_mean(word, MODES)}")
    return mode
