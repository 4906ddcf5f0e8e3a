"""The model of a finding, and the base class of the finders.

A new finding is one file in this folder: its kinds (`FindingKind`), a `Finder` and its texts. One
line in `analysis/search.py` registers it. All lists of kinds derive from that line.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import ClassVar, Final, NamedTuple

from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.observer import EventObserver
from varsim.analysis.outcome import Note
from varsim.shown_as_html import ShownAsHtml
from varsim.spec import VariableAggregation, VariableSynchronization
from varsim.texts.program_lines import variable_lines
from varsim.tracing.history import Event

MOST_EVENTS: Final = 6
"""Largest number of events kept for a finding; the first events are kept."""

MOST_LOCATIONS: Final = 5
"""Largest number of locations kept for a finding."""


class Certainty(Enum):
    """How sure a finding is, in words."""

    RECORDED = "certain: the record shows each occurrence"
    COMPARED = "as sure as the comparison with a single device: the values follow a known rule"
    PATTERN = "likely: programs that do this usually mean something else"


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingKind:
    """A kind of problem that a program can have."""

    name: str  # the name of the kind in reports: "stale read"
    certainty: Certainty = Certainty.RECORDED
    about_values: bool = False  # whether the value lens can show the problem
    costs_only: bool = False  # whether it costs messages or time, and makes no value wrong
    needs_oracle: bool = False  # whether the finder compares with the run on a single device
    needs_whole_batch: bool = False  # whether the single device must have the whole batch
    mended_by_settings: bool = False  # whether other settings usually remove it

    @property
    def word(self) -> str:
        """Return the name as one word for options and identifiers: "stale-read"."""
        return as_word(self.name)


def compared_kind(name: str, *, mended_by_settings: bool = False) -> FindingKind:
    """Return a kind of wrong values that a comparison with the whole batch on one device shows."""
    return FindingKind(
        name=name,
        certainty=Certainty.COMPARED,
        about_values=True,
        needs_oracle=True,
        needs_whole_batch=True,
        mended_by_settings=mended_by_settings,
    )


class Proposed(NamedTuple):
    """Settings of a variable that a remedy proposes."""

    synchronization: VariableSynchronization
    aggregation: VariableAggregation

    @property
    def in_words(self) -> str:
        """Return the settings as text."""
        return f"{self.synchronization.name} with {self.aggregation.name}"


OWN_VALUES: Final = Proposed(VariableSynchronization.ON_READ, VariableAggregation.NONE)
"""The settings with which each replica has its own value."""

_NOT_REPLAYED: Final = "`varsim check` tries it"


class Cause(NamedTuple):
    """The finding from which another finding follows."""

    kind: FindingKind
    variable_id: int | None
    variable: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(ShownAsHtml):
    """One kind of problem with one variable, and all its occurrences."""

    kind: FindingKind
    variable_id: int | None  # None if the finding is not about one variable
    variable: str  # the variable's name; "" if the finding is not about one variable
    locations: tuple[tuple[str, int], ...]  # file:line and its count, the highest count first
    count: int  # number of occurrences
    what: str  # what happened, a sentence with numbers
    remedy: str  # what to do, a sentence
    events: tuple[int, ...]  # the numbers of the first events that show the problem
    histogram: tuple[tuple[int, int], ...] = ()  # pairs: staleness, number of reads
    paste: tuple[str, ...] = ()  # lines of a program that do what the remedy says
    settings: Proposed | None = None  # the settings that these lines select, if they select any
    tried: str = ""  # the result of a replay with these settings; "" without a replay
    untried: str = _NOT_REPLAYED  # why there is no such result, and what gives it, as a clause
    cause: Cause | None = None  # the finding from which this one follows; None if it leads
    own_cause: bool = False  # whether it has a mistake of its own, whatever values it read
    mended_by_settings: bool = False  # whether other settings can remove it, by changing values
    is_possible: bool = False  # whether it may be meant, although its kind is certain

    @property
    def certainty(self) -> Certainty:
        """Return how sure the finding is."""
        return Certainty.PATTERN if self.is_possible else self.kind.certainty

    @property
    def offered(self) -> tuple[str, ...]:
        """Return the lines that a report may offer to paste: no settings without a replay."""
        return self.paste if self.settings is None or self.tried else ()

    @property
    def trial(self) -> str:
        """Return what a replay with the proposed settings showed, or why there was none.

        It is empty if the finding proposes no settings.
        """
        if self.settings is None or self.tried:
            return self.tried
        return f"{self.settings.in_words} was not tried in a replay: {self.untried}"


class Findings(tuple[Finding, ...], ShownAsHtml):
    """All findings of a run."""

    __slots__ = ()


class Finder(EventObserver):
    """Looks for findings of some kinds, in one pass over the events of a history.

    A finder gets each event after the observers of the context.
    """

    kinds: ClassVar[tuple[FindingKind, ...]]
    """The kinds that the finder can find, in the order of reports."""

    def __init__(self, context: FindingContext) -> None:
        """Prepare for one history."""
        self.context = context
        self.num_replicas = context.num_replicas
        self.present = context.presence.of
        self.members = context.presence.members
        self.givers = context.presence.givers

    @abstractmethod
    def finish(self) -> list[Finding]:
        """Return the findings, after the last event."""

    def notes(self) -> list[Note]:
        """Return notes on what was not examined, after the last event."""
        return []


class SelectiveFinder(Finder):
    """Looks only at some variables, and at the events that are about none."""

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._variables = {
            number: facts for number, facts in context.variables.items() if self.examines(facts)
        }

    @abstractmethod
    def examines(self, facts: VariableFacts) -> bool:
        """Return whether the finder looks at a variable."""

    def concerns(self, variable: int | None) -> bool:
        """Return whether the finder gets the events of a variable."""
        return variable is None or variable in self._variables


@dataclass(slots=True)
class Evidence:
    """Occurrences of a problem: their count, locations, and first events."""

    count: int = 0
    locations: Counter[str] = field(default_factory=Counter)
    events: list[int] = field(default_factory=list)

    def add(
        self, event: Event, *others: int, location: str | None = None, count: int | None = None
    ) -> None:
        """Count the occurrences of an event at its location.

        Args:
            others: The numbers of other events that show the occurrence.
            location: The location, if the event has none.
            count: The number of occurrences; None for the number of occurrences of the event.
        """
        count = event.occurrences if count is None else count
        self.count += count
        location = location if event.location is None else event.location
        if location is not None:
            self.locations[location] += count
        if len(self.events) < MOST_EVENTS:
            fresh = (n for n in sorted((*others, event.event)) if n not in self.events)
            self.events.extend(fresh)
            del self.events[MOST_EVENTS:]

    def merge(self, other: Evidence) -> None:
        """Add the occurrences of another `Evidence`."""
        self.count += other.count
        self.locations.update(other.locations)
        fresh = [number for number in other.events if number not in self.events]
        self.events.extend(fresh[: MOST_EVENTS - len(self.events)])

    def most_locations(self) -> tuple[tuple[str, int], ...]:
        """Return the locations with the most occurrences, the highest count first."""
        return most(self.locations)


def finding_of(
    kind: FindingKind,
    variable: VariableFacts | None,
    evidence: Evidence,
    what: str,
    remedy: str,
    histogram: tuple[tuple[int, int], ...] = (),
    paste: Iterable[str] = (),
    settings: Proposed | None = None,
    *,
    mended_by_settings: bool | None = None,
) -> Finding:
    """Return a finding about a variable, with its evidence.

    Args:
        settings: The settings that the remedy proposes, if it proposes exactly one. Their lines
            replace `paste`.
        mended_by_settings: Whether other settings can remove it; None for what its kind says.
    """
    if settings is not None and variable is not None:
        paste = variable_lines(variable.name, settings.synchronization, settings.aggregation.name)
    return Finding(
        kind=kind,
        variable_id=None if variable is None else variable.variable_id,
        variable="" if variable is None else variable.name,
        locations=evidence.most_locations(),
        count=evidence.count,
        what=what[0].upper() + what[1:],
        remedy=remedy,
        events=tuple(evidence.events),
        histogram=histogram,
        paste=tuple(paste),
        settings=settings,
        mended_by_settings=(
            kind.mended_by_settings if mended_by_settings is None else mended_by_settings
        ),
    )


def led_by(finding: Finding, location: str | None) -> Finding:
    """Return a finding whose first location is the line to change."""
    if not location:
        return finding
    others = tuple(one for one in finding.locations if one[0] != location)
    return replace(finding, locations=((location, finding.count), *others))


def as_word(name: str) -> str:
    """Return the name of a kind as one word. Upper case, blanks and underscores do not matter."""
    return "-".join(name.lower().replace("_", " ").replace("-", " ").split())


def most(locations: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Return the locations with the highest counts, sorted by count and then by name."""
    return tuple(sorted(locations.items(), key=lambda one: (-one[1], one[0]))[:MOST_LOCATIONS])


def milliseconds(value_s: float) -> str:
    """Return a time as text for findings."""
    value_ms = value_s * 1e3
    return f"{value_ms:,.0f} ms" if value_ms >= 10 else f"{value_ms:.2g} ms"
