"""The result of a comparison with a single device: the differences, and what was not compared."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from varsim.analysis.oracle import FIRST_REPLICA
from varsim.analysis.returned import ReturnedValue
from varsim.tracing.history import PROGRAM, Event


class Access(Enum):
    """How a variable was accessed at a location, in words."""

    MERGED = "written by all replicas"
    WRITTEN = "written by the program"
    READ = "read by the program"

    __hash__ = object.__hash__

    @property
    def kind(self) -> str:
        """Return the kind of event that records such an access."""
        return "read" if self is Access.READ else "write"

    @property
    def process(self) -> int:
        """Return the process that makes such an access on a single device."""
        return FIRST_REPLICA if self is Access.MERGED else PROGRAM


class Site(NamedTuple):
    """Where values are compared: the variable, the kind of access, and the location."""

    variable_id: int
    access: Access
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueDifference:
    """Values of a variable at one location that differ from a single device beyond rounding."""

    variable_id: int
    variable: str  # the name of the variable
    access: Access
    location: str  # file:line in the program
    count: int  # number of values that differ
    compared: int  # number of values that were compared
    step: int  # how many calls of strategy.run had begun at the first difference
    inside: bool  # whether the first difference is inside the last of these calls
    event: int  # number of the event that shows the first difference
    element: tuple[int, ...] | None  # index of the largest difference in an array
    got: Any  # the run's value; None if the sizes differ
    wanted: Any  # the single device's value
    explained: int = 0  # number of the differing values that findings explain

    @property
    def unexplained(self) -> int:
        """Return the number of differing values that no finding explains."""
        return self.count - self.explained


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncompared:
    """Values of a variable that could not be compared."""

    variable: str  # the name of the variable
    location: str  # file:line in the program; "" for all locations
    why: str  # the reason, as a clause


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The result of a comparison with a single device."""

    values: int  # number of compared values
    locations: int  # number of locations at which values were compared
    differences: tuple[ValueDifference, ...]  # in the order of their first event
    uncompared: tuple[Uncompared, ...]
    own: tuple[str, ...]  # variables with a separate value on each replica by design
    copies: tuple[str, ...] = ()
    """Variables with a copy that replicas may read too early; no rule is tried about them."""
    rules_tried: bool = True  # False if the single device did not have the whole batch
    returned: tuple[ReturnedValue, ...] = ()  # what the program returned

    @property
    def unexplained(self) -> tuple[ValueDifference, ...]:
        """Return the differences with at least one value that no finding explains."""
        return tuple(one for one in self.differences if one.unexplained)

    @property
    def differs(self) -> bool:
        """Return whether there is a difference that is not explained by a finding."""
        return bool(self.unexplained) or any(one.differs for one in self.returned)


def site_of(event: Event) -> Site:
    """Return the site of an event."""
    if event.kind == "read":
        access = Access.READ
    else:
        access = Access.WRITTEN if event.process == PROGRAM else Access.MERGED
    return Site(event.variable or 0, access, event.location or "")
