"""Uses of the program's objects in replicas that do not do what they seem to do.

The events `notice` show them: the result of a collective that is not used, an object of the program
of which a replica changed its own copy, and a plain variable, which was created outside the scope.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from varsim.analysis.findings.collectives import Given
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Certainty,
    Evidence,
    Finder,
    Finding,
    FindingKind,
    finding_of,
)
from varsim.analysis.outcome import Note
from varsim.texts.facts import name_replicas, times
from varsim.tracing import notices
from varsim.tracing.history import Event

DISCARDED: Final = FindingKind(name="discarded result", certainty=Certainty.PATTERN)
CHANGED: Final = FindingKind(name="object changed on a replica", about_values=True)
PLAIN: Final = FindingKind(name="variable outside the scope", about_values=True)

_MOST_NAMED: Final = 3
_COMBINES: Final = frozenset({"all_reduce", "reduce_scatter", "scan"})
"""Collectives that compute a value of all replicas' values."""


@dataclass(slots=True)
class _Collectives:
    """The collectives at one line."""

    evidence: Evidence = field(default_factory=Evidence)
    op: str = ""
    differing: int = 0  # how often the replicas gave different values


@dataclass(slots=True)
class _Plain:
    """The operations of replicas on one plain variable."""

    created_at: str
    evidence: Evidence = field(default_factory=Evidence)  # of the writes
    writes: int = 0
    reads: int = 0
    assigners: set[int] = field(default_factory=set)  # replicas that assign a value
    writers: set[int] = field(default_factory=set)
    readers: set[int] = field(default_factory=set)
    read_at: str = ""  # the line of the first read


class OutsideVariables(Finder):
    """Finds discarded results, lost changes of objects, and plain variables that replicas write."""

    kinds = (PLAIN, CHANGED, DISCARDED)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._collectives: defaultdict[str | None, _Collectives] = defaultdict(_Collectives)
        self._discarded: dict[str, tuple[Event, str]] = {}  # location → notice, method
        self._changed: dict[str, Event] = {}  # name → notice
        self._plain: dict[tuple[str, str], _Plain] = {}  # (name, line of the creation)

    def on_answer(self, event: Event) -> None:
        """Compare what replicas gave to a collective that combines values."""
        given = self.context.collectives.answered
        if given is not None and given.variable is None and given.operation in _COMBINES:
            self._collect(given, event)

    def _collect(self, given: Given, event: Event) -> None:
        one = self._collectives[given.first.location]
        one.op = one.op or str(given.arguments.get("op", ""))
        if given.differ(self.givers(event)):
            one.differing += 1
            one.evidence.add(given.first, *(arrival.event for arrival in given.arrivals.values()))

    def on_notice(self, event: Event) -> None:
        """Store a notice."""
        told, location = notices.details(event.note), event.location or ""
        match event.operation:
            case notices.DISCARDED:
                self._discarded.setdefault(location, (event, told.get("method", "")))
            case notices.CHANGED:
                self._changed.setdefault(told.get("name", ""), event)
            case notices.PLAIN:
                key = told.get("variable", ""), told.get("created_at", "")
                one = self._plain.setdefault(key, _Plain(key[1]))
                _use(one, event, told.get("operation", ""))

    def notes(self) -> list[Note]:
        """Return the note that values of plain variables are not recorded."""
        used = [f"{name!r} ({created_at})" for name, created_at in self._plain]
        if not used:
            return []
        more = f" and {len(used) - _MOST_NAMED} more" if len(used) > _MOST_NAMED else ""
        names = f"{', '.join(used[:_MOST_NAMED])}{more}"
        text = "values of variables outside the scope, which replicas used: they are not recorded"
        return [Note(text=f"{text}: {names}")]

    def finish(self) -> list[Finding]:
        """Return the findings, one for each object, variable or line."""
        plain = [_plain(name, one) for (name, _), one in self._plain.items() if _is_contended(one)]
        changed = [_changed(name, event) for name, event in self._changed.items()]
        discarded = [
            self._unused(notice, method, self._collectives[location])
            for location, (notice, method) in self._discarded.items()
            if self._collectives[location].differing
        ]
        return [*plain, *changed, *discarded]

    def _unused(self, notice: Event, method: str, one: _Collectives) -> Finding:
        name = f"{one.op} of {method}" if one.op else method
        said = (
            f"The result of the {name} at {notice.location} is not used, although the replicas "
            f"gave different values {times(one.differing, 'time')}. A collective returns the "
            "combined value, and changes none of its arguments."
        )
        parted = [
            f"{facts.name}{_first_parting(copies.diverged)}"
            for number, facts in self.context.variables.items()
            if not facts.aggregation or facts.first
            if (copies := self.context.components[number]).differ
        ]
        if parted:
            more = f" and {len(parted) - _MOST_NAMED} more" if len(parted) > _MOST_NAMED else ""
            said += f" Components part: {', '.join(parted[:_MOST_NAMED])}{more}."
        return finding_of(
            DISCARDED,
            None,
            one.evidence,
            said,
            "Use the result: assign it to the name that the next lines use, and return it. To wait "
            "for the other replicas, call barrier().",
            paste=(f'value = context.{method}("{one.op}", value)',) if one.op else (),
        )


def _use(one: _Plain, event: Event, operation: str) -> None:
    """Count an operation on a plain variable, in the order in which the program did it."""
    replica_id = -1 if event.replica is None else event.replica
    if operation == notices.READ:
        one.reads += 1
        one.readers.add(replica_id)
        one.read_at = one.read_at or event.location or ""
        return
    one.writes += 1
    one.writers.add(replica_id)
    if operation not in {"assign_add", "assign_sub", "scatter_add", "scatter_sub"}:
        one.assigners.add(replica_id)
    one.evidence.add(event)


def _is_contended(one: _Plain) -> bool:
    """Return whether the order in which replicas use the variable decides values.

    Replicas that only add to a counter, which the program reads afterwards, get the same sum in
    every order.
    """
    several = len(one.writers) > 1
    read = len(one.readers | one.writers) > 1 and bool(one.readers)
    return several and (len(one.assigners) > 1 or read)


def _plain(name: str, one: _Plain) -> Finding:
    who = name_replicas(sorted(one.writers))
    said = (
        f"{name!r} was created at {one.created_at}, outside the scope of the strategy: it is not "
        f"distributed, but one variable in the program's process. In strategy.run, {who} wrote it "
        f"{times(one.writes, 'time')}"
    )
    if one.reads:
        said += f", and replicas read it {times(one.reads, 'time')} (first at {one.read_at})"
    said += (
        ". The writes take effect in the order of arrival, so a replica can read the value before "
        "or after another replica's write, and an assign overwrites another replica's value."
    )
    remedy = (
        f"Create the variable under strategy.scope(), at {one.created_at}, with an aggregation for "
        "the writes of the replicas. If only one value is needed, write it outside strategy.run, "
        "or in a merge_call."
    )
    paste = (
        "with strategy.scope():",
        f'    {name} = tf.Variable(…, name="{name}", aggregation=tf.VariableAggregation.MEAN)',
    )
    found = finding_of(PLAIN, None, one.evidence, said, remedy, paste=paste)
    where = (one.created_at, one.writes), *found.locations
    return replace(found, variable=name, locations=where)


def _changed(name: str, event: Event) -> Finding:
    evidence = Evidence()
    evidence.add(event)
    kind = _word(notices.details(event.note))
    return finding_of(
        CHANGED,
        None,
        evidence,
        f"Replica {event.replica} changed its own copy of the {kind} {name!r} at {event.location}. "
        f"A replica is another process, so the program's {kind} did not change.",
        "Return the new value from the function of strategy.run, and change the object in the "
        "program; or write the value to a variable.",
        paste=(
            "results = strategy.run(step, args=…)",
            "for value in strategy.experimental_local_results(results): …",
        ),
    )


def _word(told: Mapping[str, str]) -> str:
    return told.get("kind", "object")


def _first_parting(event: Event | None) -> str:
    if event is None or event.location is None:
        return ""
    call = f" in call {event.call}" if event.call is not None else ""
    return f" since the write at {event.location}{call}"
