"""The result of a comparison with a single device: the differences, and what was not compared."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

from varsim.analysis.oracle import FIRST_REPLICA, AccessKey
from varsim.analysis.returned import ReturnedValue
from varsim.tracing.history import PROGRAM, Event

NEVER_COUNTED: Final = (
    "the program never asked for the number of replicas (strategy.num_replicas_in_sync, "
    "hvd.size(), dist.get_world_size()) and distributed no dataset, so it does not split a batch: "
    "a single device had other data"
)
NOT_WHOLE: Final = (
    "no number of the single device is the sum or the mean of the replicas' numbers, so it may "
    "have had other data"
)
"""The reasons why a single device is no oracle for factors."""


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

    @property
    def key(self) -> AccessKey:
        """Return the key of the accesses in the records of both runs."""
        return self.variable_id, self.access.kind, self.access.process, self.location


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
    aggregation: str = ""  # how the replicas' values were combined; "" for a write by the program
    operation: str = ""  # of the writes, such as "assign_sub"; "" for a read
    alike: bool = False  # whether all replicas had the same value at the first difference
    origin: ValueDifference | None = None
    """The earlier difference from which this one follows: of the writes that a read combines, or of
    a variable that was read before the write. None if no earlier difference is known."""
    explained: int = 0  # number of the differing values that findings explain
    follows: str = ""
    """The variable with a finding that the writers of the first value had read before; "" if none
    is known."""

    @property
    def began(self) -> ValueDifference:
        """Return the difference with which this one began: the write, or another variable's."""
        return self if self.origin is None else self.origin.began

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
    partly: bool = False  # whether the first values there were compared


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveDifference:
    """Results of a collective at one line, and how they differ from a single device."""

    operation: str  # "all_reduce"; "plain" for the value of a plain variable after each call
    location: str  # file:line in the program; of a plain variable, that of its creation
    variable: str = ""  # the name of a plain variable
    compared: int = 0  # number of results that were compared
    count: int = 0  # number of results that differ
    scaled: int = 0  # number of these that are the single device's value, N or 1/N times
    reduction: str = ""  # how the replicas' values were combined: "MEAN"; "" if not known
    step: int = 0  # how many calls of strategy.run had begun at the first difference
    event: int = 0  # number of the event that shows the first difference
    element: tuple[int, ...] | None = None  # index of the largest difference in an array
    got: Any = None  # the run's value
    wanted: Any = None  # the single device's value


@dataclass(frozen=True, slots=True, kw_only=True)
class Approximate:
    """A variable that differs from a single device as its mode intends; factors are not checked."""

    variable_id: int
    variable: str  # the name of the variable
    mode: str  # the synchronization, such as local_sgd:8
    largest: float  # the largest difference, relative to the largest element of the value
    apart: bool = False  # whether replicas train their components apart until a read combines them
    follows: bool = False  # whether only a variable that its writers had read has such a mode
    source: str = ""  # the name of the variable that has the mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotient:
    """Variables that are wrong by the same factor and are read together: a quotient is right."""

    variable_ids: tuple[int, ...]
    variables: tuple[str, ...]  # their names
    factor: str  # the factor: "4" or "1/4"
    location: str  # file:line of the first read or write with this factor
    returned: str = ""  # for one variable: the name of the returned value that is right


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
    approximate: tuple[Approximate, ...] = ()
    """Variables with differences that no finding explains, but their approximate modes."""
    quotients: tuple[Quotient, ...] = ()
    collectives: tuple[CollectiveDifference, ...] = ()
    """The results of collectives, line by line. They are shown, and are not judged."""
    not_comparable: str = ""
    """Why rules about factors and shards were not tried, as a clause; "" if they were tried."""
    returned: tuple[ReturnedValue, ...] = ()  # what the program returned
    num_replicas: int = 0  # of the run; 0 if it is not known

    @property
    def scaled_results(self) -> tuple[tuple[str, str], ...]:
        """Return the returned values that are N or 1/N times right, although variables are right.

        The result is empty if a variable differs, or if none was compared.

        Returns:
            The name of each such value, and its factor as a text.
        """
        if not self.values or self.differences:
            return ()
        factors = [(one.name, one.factor(self.num_replicas)) for one in self.returned]
        return tuple((name, factor) for name, factor in factors if factor)

    @property
    def rules_tried(self) -> bool:
        """Return whether the rules about factors and shards were tried for all variables.

        If not, the single device had not the whole batch, or a mode is approximate.
        """
        return not (self.not_comparable or self.approximate)

    @property
    def is_approximate(self) -> bool:
        """Return whether approximate modes explain all differences that no finding explains."""
        known = {one.variable_id for one in self.approximate}
        left = self.unexplained
        return bool(left) and all(one.variable_id in known for one in left)

    @property
    def unexplained(self) -> tuple[ValueDifference, ...]:
        """Return the differences with at least one value that no finding explains."""
        return tuple(one for one in self.differences if one.unexplained)

    @property
    def wrong(self) -> tuple[ValueDifference, ...]:
        """Return the differences of all values that are not right as a quotient."""
        quotients = {number for one in self.quotients for number in one.variable_ids}
        return tuple(
            one for one in self.differences if one.unexplained or one.variable_id not in quotients
        )

    def count_of(self, one: ValueDifference) -> ValueDifference | None:
        """Return the count by which the program probably divides a sum, if it counts the replicas.

        The program reads both at one line, and the count is N times the single device's: each
        replica adds what a single device adds. Their quotient is the mean of the replicas' values.
        """
        if one.began.aggregation != "SUM" or one.began.alike:
            return None
        counts = (other for other in self.differences if self._counts_replicas(other))
        return next((other for other in counts if _is_read_with(one, other)), None)

    def is_count(self, one: ValueDifference) -> bool:
        """Return whether a difference is that of such a count."""
        return any(self.count_of(other) is one for other in self.differences)

    def _counts_replicas(self, one: ValueDifference) -> bool:
        known = isinstance(one.got, int | float) and isinstance(one.wanted, int | float)
        alike = one.began.alike and one.began.aggregation == "SUM"
        return alike and known and one.got == self.num_replicas * one.wanted

    @property
    def leading(self) -> tuple[ValueDifference, ...]:
        """Return the unexplained differences that follow from no other difference and finding."""
        listed = {one.variable_id for one in self.differences}
        seen: set[int] = set()
        found = []
        for one in self.unexplained:
            began = one.began.variable_id
            follows = one.follows or (began != one.variable_id and began in listed)
            if not follows and began not in seen:
                found.append(one)
            seen.add(began)
        return tuple(found)

    @property
    def differs(self) -> bool:
        """Return whether there is a difference that is not explained by a finding."""
        if self.unexplained or any(one.unexplained for one in self.returned):
            return True
        return any(one.count and not self.is_meant(one) for one in self.collectives)

    def is_meant(self, one: CollectiveDifference) -> bool:
        """Return whether a result is an intermediate one: a sum or a mean, scaled afterwards."""
        checked = self.values or any(not value.why for value in self.returned)
        return bool(checked) and one.scaled == one.count and not self.differences


def _is_read_with(one: ValueDifference, other: ValueDifference) -> bool:
    """Return whether the program reads two variables at one line."""
    return one.access is other.access is Access.READ and one.location == other.location


def site_of(event: Event) -> Site:
    """Return the site of an event."""
    if event.kind == "read":
        access = Access.READ
    else:
        access = Access.WRITTEN if event.process == PROGRAM else Access.MERGED
    return Site(event.variable or 0, access, event.location or "")
