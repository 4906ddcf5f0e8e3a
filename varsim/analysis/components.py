"""Keep the components of variables in a replay, and the events that have led to their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from varsim.analysis.arithmetic import Flat, elements_of
from varsim.analysis.promises import Promise
from varsim.tracing.history import Event

Why = tuple[int, "Why | None"]
"""The last event that led to a value, and the earlier events; None without earlier events."""


class ComponentState:
    """One state of one component; replicas with equal components share this object."""

    __slots__ = ("lineage", "made", "value", "version", "why")

    def __init__(
        self, version: int | None, value: Flat | None, lineage: int, made: int, why: Why
    ) -> None:
        self.version = version  # None if unknown
        self.value = value  # None if unknown
        self.lineage = lineage  # a number; equal for components with the same writes
        self.made = made  # the event that made the version
        self.why = why  # the events that produced the value

    def prove(self, event: int) -> None:
        """Record that an event showed the value, so that a proof needs no earlier event."""
        self.why = (event, None)

    def because(self) -> Iterator[int]:
        """Yield the events that led to the value, latest first."""
        why: Why | None = self.why
        while why is not None:
            event, why = why
            yield event


class ReplayedVariable:
    """All components of one variable."""

    __slots__ = ("answers", "at_program", "at_replica", "number", "promise")

    def __init__(self, number: int, promise: Promise, components: list[ComponentState]) -> None:
        self.number = number
        self.promise = promise
        self.at_replica = components
        self.at_program = [*components]
        self.answers: dict[int, Event] = {}  # components that the program has just fetched

    @property
    def version(self) -> int | None:
        """Return the version of a read of all components: the latest of their versions."""
        known = [one.version for one in self.at_program if one.version is not None]
        return max(known) if len(known) == len(self.at_program) else None

    def known_to_program(self, replica: int) -> Flat | None:
        """Return a component as the program knows it: fetched, or as it was before; or None."""
        answer = self.answers.get(replica)
        sent = None if answer is None else elements_of(answer, self.promise.dtype)
        return self.at_program[replica].value if sent is None else sent


class ReplayedVariables(dict[int | None, ReplayedVariable]):
    """The variables of a history, by number.

    A variable that was created before the record began is added at its first use.
    """

    def __init__(self, num_replicas: int, promises: Mapping[int, Promise]) -> None:
        super().__init__()
        self._num_replicas = num_replicas
        self._promises = promises

    def __missing__(self, number: int | None) -> ReplayedVariable:
        assert number is not None, "rows that make no sense are not replayed"
        lineages = range(-2, -2 - self._num_replicas, -1)  # hash(-1) == hash(-2), so skip -1
        everything = [ComponentState(None, None, one, 0, (0, None)) for one in lineages]
        found = self[number] = ReplayedVariable(number, self._promises[number], everything)
        return found
