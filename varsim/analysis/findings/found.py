"""What a finding is: trouble in the program under study, with all that shows it."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from varsim.analysis.observer import Observer
from varsim.tracing.history import Event

MOST_EVENTS: Final = 6
"""Of those that show a finding, the first ones are kept."""

MOST_PLACES: Final = 5


class Kind(Enum):
    """What a program can suffer from; the value is what people call it."""

    FAILED_RUN = "failed run"
    FAILED_CALL = "failed call"
    STALE_READ = "stale read"
    DIVERGENCE = "divergence"
    WRITE_WRITE = "write-write conflict"
    READ_WRITE = "read-write conflict"
    WRONG_FACTOR = "wrong by the number of replicas"
    MEAN_OF_MEANS = "mean of means"
    FIRST_REPLICA = "first replica only"
    TRUNCATION = "integer truncation"
    OVERFLOW = "overflow of a sum"
    UNREAD_MERGES = "merges that nobody reads"
    REPEATED_READS = "reads with nothing changed"
    SAME_CONTRIBUTIONS = "merges of the same values"
    EAGER_SYNCHRONISATION = "manual synchronisation after every write"
    STRAGGLER = "waiting for one replica"
    OTHER_LINES = "collectives of different lines"

    __hash__ = object.__hash__


FAILURES: Final = (Kind.FAILED_RUN, Kind.FAILED_CALL)
"""What is told even if the record is not whole; all other kinds are looked for in whole ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One kind of trouble with one variable, however often it showed."""

    kind: Kind
    variable_id: int | None  # None: not one variable's
    variable: str  # its name; "" without one
    places: tuple[tuple[str, int], ...]  # file:line in the program, and how often; most first
    count: int  # how often
    what: str  # what happened, a sentence with numbers
    remedy: str  # what to do, a sentence
    events: tuple[int, ...]  # the first that show it, by number
    histogram: tuple[tuple[int, int], ...] = ()  # staleness in versions, and how many reads


class Finder(Observer):
    """What looks for one family of findings, in one pass over the events of a history.

    It takes each event after the clocks and the components have taken it.
    """

    @abstractmethod
    def finish(self) -> list[Finding]:
        """What has been found, after the last event."""


@dataclass(slots=True)
class Evidence:
    """How often something was seen, where, and the first events that show it."""

    count: int = 0
    places: Counter[str] = field(default_factory=Counter)
    events: list[int] = field(default_factory=list)

    def add(self, event: Event, *others: int, place: str | None = None) -> None:
        """Counts one sighting, at the place of `event`; `others` show it too, by number.

        Args:
            place: Where it was, if the event does not say.
        """
        count = event.occurrences
        self.count += count
        place = place if event.place is None else event.place
        if place is not None:
            self.places[place] += count
        if len(self.events) < MOST_EVENTS:
            fresh = (n for n in sorted((*others, event.event)) if n not in self.events)
            self.events.extend(fresh)
            del self.events[MOST_EVENTS:]

    def merge(self, other: Evidence) -> None:
        """Counts all that another one has counted."""
        self.count += other.count
        self.places.update(other.places)
        self.events.extend(other.events[: MOST_EVENTS - len(self.events)])

    def most_places(self) -> tuple[tuple[str, int], ...]:
        """The places where it was seen most often, most first."""
        return most(self.places)


def most(places: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """The places with the highest counts, the highest first; equal ones by name."""
    return tuple(sorted(places.items(), key=lambda one: (-one[1], one[0]))[:MOST_PLACES])


def times(count: int, thing: str) -> str:
    """So many things in words: "1 read", "1,200 reads"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def milliseconds(value_s: float) -> str:
    """A time as findings tell it."""
    value_ms = value_s * 1e3
    return f"{value_ms:,.0f} ms" if value_ms >= 10 else f"{value_ms:.2g} ms"
