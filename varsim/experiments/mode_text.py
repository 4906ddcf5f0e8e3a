"""Parse the text of `--mode`: a mode for all free variables, or modes by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar

from varsim.distribute.policies import (
    BUILT_IN,
    POLICIES,
    WITHOUT_PARAMETERS,
    no_synchronization,
    parse_synchronization,
)
from varsim.errors import ConfigError
from varsim.nearest import did_you_mean
from varsim.spec import Synchronization, VariableSynchronization
from varsim.texts.modes import ADAPTIVE, PLAIN

MODES: Final = {mode.name.lower(): mode for mode in VariableSynchronization}
"""Name in an experiment and on the command line → mode."""

WITH_PARAMETERS: Final = "[a-z][a-z0-9_]*(:[A-Za-z0-9_.+-]+)+"
"""A pattern of a policy that TensorFlow does not have, as in local_sgd:8."""

WORDS: Final = (*MODES, *WITHOUT_PARAMETERS)
"""The modes that are one word."""

PARAMETRIC: Final = tuple(one for one in BUILT_IN if one not in WITHOUT_PARAMETERS)
"""The keywords of the modes with parameters."""

SYNTAX: Final = (
    f"{PLAIN}; {ADAPTIVE} (short for mode: auto with auto: {ADAPTIVE}); or name=mode,name=mode for "
    "some variables"
)

_EXPECTED: Final = "expected MODE; or NAME=MODE,NAME=MODE for some variables"

_NOT_BY_NAME: Final = (
    f"{ADAPTIVE} cannot be set for single variables, because it applies to all AUTO variables of a "
    f"strategy; set auto: {ADAPTIVE}, and give the mode on_write to the variables that must be "
    "exchanged at every write"
)

E = TypeVar("E", bound=Enum)


@dataclass(frozen=True, slots=True)
class Mode:
    """The synchronizations that an experiment gives to variables."""

    free: Synchronization | None  # the synchronization of all free variables, if one is given
    named: dict[str, Synchronization]  # name or fnmatch pattern → synchronization
    adaptive: bool = False  # whether AUTO is adaptive


def parse_mode(text: str) -> Mode:
    """Parse `on_read`, or `weights=on_read,bias=on_write`, or both: `on_read,bias=on_write`.

    Raises:
        ConfigError: There is no such mode (the error names the nearest one), or adaptive is set for
            a single variable.
    """
    free: Synchronization | None = None
    adaptive = False
    named: dict[str, Synchronization] = {}
    for part in text.split(","):
        name, equals, word = part.strip().rpartition("=")
        mode = _mode(word.strip())
        is_adaptive = as_member(word).lower() == ADAPTIVE
        adaptive = adaptive or is_adaptive
        if equals and not name.strip():
            raise ConfigError(f"{part.strip()!r} does not name a variable: {_EXPECTED}")
        if equals and is_adaptive:
            raise ConfigError(f"{part.strip()!r}: {_NOT_BY_NAME}")
        if equals:
            named[name.strip()] = mode
        elif free is not None:
            raise ConfigError(f"{text!r} has two modes without a variable: {_EXPECTED}")
        else:
            free = mode
    return Mode(free, named, adaptive)


def without_auto(text: str) -> str | None:
    """Return the text without the parts that give AUTO, or None if no part remains."""
    auto = VariableSynchronization.AUTO
    parts = text.split(",")
    return ",".join(p for p in parts if _mode(p.rpartition("=")[2].strip()) is not auto) or None


def as_member(word: str) -> str:
    """Return the name of an enum's member for a word, which may have lower case and hyphens."""
    return word.strip().upper().replace("-", "_")


def _mode(word: str) -> Synchronization:
    name = as_member(word).lower()
    if name == ADAPTIVE:
        return VariableSynchronization.AUTO
    if name in MODES:
        return MODES[name]
    if name.partition(":")[0] in (*MODES, *POLICIES.names()):
        return parse_synchronization(word)
    raise ConfigError(no_mode(word))


def no_mode(word: str) -> str:
    """Return the error about a word that is not a mode, with all modes of this installation."""
    return no_synchronization(word, "mode", also=[ADAPTIVE])


def member_reader(kind: type[E]) -> Callable[[Any], E]:
    """Return a validator that reads the name of an enum's member, in upper or lower case."""
    names = [member.name.lower() for member in kind]

    def read(value: Any) -> E:
        if isinstance(value, kind):
            return value
        if isinstance(value, str) and as_member(value) in kind.__members__:
            return kind[as_member(value)]
        raise ValueError(
            f"{value!r} is not one of {', '.join(names)}{did_you_mean(str(value), names)}"
        )

    return read


def read_synchronization(value: Any) -> Synchronization:
    """Read a synchronization: the name of a member, or a policy with parameters."""
    if isinstance(value, Synchronization):
        return value
    if isinstance(value, str) and (":" in value or value in POLICIES.names()):
        return parse_synchronization(value)
    if isinstance(value, str) and as_member(value).lower() == ADAPTIVE:
        raise ValueError(f"{value!r}: {_NOT_BY_NAME}")
    if isinstance(value, str) and as_member(value).lower() in MODES:
        return MODES[as_member(value).lower()]
    raise ValueError(no_synchronization(str(value)))
