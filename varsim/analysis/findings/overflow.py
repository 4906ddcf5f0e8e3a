"""Overflow of a sum: what replicas wrote adds up to more than the variable's dtype can hold.

That is certain without an oracle: the sum is made again, of numbers that do not overflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from varsim.analysis.arithmetic import Flat, is_infinite, value_of
from varsim.analysis.findings.found import Evidence, Finder, Finding, Kind, times
from varsim.analysis.findings.subject import Subject
from varsim.tracing.history import PROGRAM, Event

Exact = np.ndarray[tuple[int], np.dtype[np.float64]]
"""Sums that no dtype of a variable can hold are no trouble here."""

_SIGN: Final = {"assign_add": 1, "assign_sub": -1}


@dataclass(slots=True)
class _Seen:
    """The sums of one variable that did not fit."""

    evidence: Evidence = field(default_factory=Evidence)
    exact: float = 0.0  # of the first that did not fit
    got: float = 0.0


class Overflow(Finder):
    """Finds sums that do not fit."""

    def __init__(self, num_replicas: int, variables: Mapping[int, Subject]) -> None:
        self._num_replicas = num_replicas
        self._variables = {
            number: one
            for number, one in variables.items()
            if (one.merged or one.gathered)
            and one.aggregation in {"SUM", "MEAN"}
            and one.kind.kind in "iuf"
        }
        self._meetings: dict[tuple[int | None, int, int], dict[int, Event]] = {}
        self._exact: dict[int, list[Exact | None]] = {}  # of gathered ones, by replica
        self._wrote: dict[int, dict[int, int]] = {}  # of gathered ones, by replica: the last event
        self._mirrors: dict[int, Flat | None] = {}
        self._seen: dict[int, _Seen] = {}

    def concerns(self, variable: int | None) -> bool:
        """Variables of which replicas' values are added up."""
        return variable is None or variable in self._variables

    def on_abort(self, event: Event) -> None:
        """What was written in the call is not merged any more."""
        self._meetings = {k: v for k, v in self._meetings.items() if k[0] != event.call}

    def on_write(self, event: Event) -> None:
        """Keeps what is to be added up."""
        if event.variable is None:
            return
        subject = self._variables[event.variable]
        if subject.gathered:
            if event.process != PROGRAM:  # whose commits tell of it
                self._wrote.setdefault(event.variable, {})[event.process] = event.event
                self._change(event, subject, (event.process,))
        elif event.meeting is not None:
            key = event.call, event.variable, event.meeting
            met = self._meetings.get(key)
            if met is None:
                self._meetings[key] = {event.process: event}
            else:
                met[event.process] = event

    def on_create(self, event: Event) -> None:
        """Keeps what there is in the beginning."""
        self.on_commit(event)

    def on_commit(self, event: Event) -> None:
        """Adds up again what a merge has added up."""
        if event.variable is None:
            return
        subject = self._variables[event.variable]
        if subject.gathered:
            whose = range(self._num_replicas) if event.replica is None else (event.replica,)
            self._change(event, subject, whose)
            return
        value = value_of(event, subject.kind)
        if event.meeting is not None and value is not None:
            self._merge(event, event.meeting, subject, value)
        whole = event.operation in {None, "assign"} and event.replica is None
        self._mirrors[subject.variable_id] = value if whole else None

    def on_read_by_program(self, event: Event) -> None:
        """Adds up again what a read has added up."""
        subject = None if event.variable is None else self._variables[event.variable]
        if subject is not None and subject.gathered and event.replica is None:
            self._gather(event, subject)

    def finish(self) -> list[Finding]:
        """One finding for each variable with a sum that did not fit."""
        return [_finding(self._variables[n], one) for n, one in sorted(self._seen.items())]

    def _merge(self, event: Event, meeting: int, subject: Subject, value: Flat) -> None:
        met = self._meetings.pop((event.call, subject.variable_id, meeting), {})
        if value.dtype.kind == "f" and not is_infinite(value):
            return
        parts = [_exact(one, subject) for one in met.values()]
        known = [part for part in parts if part is not None and len(part) == len(value)]
        if len(known) < self._num_replicas:
            return
        first = next(iter(met.values()))
        together: Exact = np.sum(known, axis=0)
        if subject.aggregation == "MEAN":
            together = together / self._num_replicas
        if first.operation != "assign":
            before = self._mirrors.get(subject.variable_id)
            if before is None or len(before) != len(value):
                return
            together = before.astype(np.float64) + _SIGN[first.operation or ""] * together
        shown = event._replace(place=first.place)
        self._compare(shown, tuple(one.event for one in met.values()), subject, together, value)

    def _gather(self, event: Event, subject: Subject) -> None:
        value = value_of(event, subject.kind)
        held = self._held(subject)
        known = [part for part in held if part is not None]
        if value is None or len(known) < len(held):
            return
        if all(len(part) == len(value) for part in known):
            share = 1 if subject.aggregation == "SUM" else 1 / self._num_replicas
            wrote = tuple(self._wrote.get(subject.variable_id, {}).values())
            self._compare(event, wrote, subject, np.sum(known, axis=0) * share, value)

    def _change(self, event: Event, subject: Subject, whose: Iterable[int]) -> None:
        operand, held = _exact(event, subject), self._held(subject)
        for replica_id in whose:
            held[replica_id] = _updated(held[replica_id], event.operation, operand)

    def _held(self, subject: Subject) -> list[Exact | None]:
        held = self._exact.get(subject.variable_id)
        if held is None:
            held = self._exact[subject.variable_id] = [None] * self._num_replicas
        return held

    def _compare(
        self, event: Event, others: tuple[int, ...], subject: Subject, exact: Exact, value: Flat
    ) -> None:
        dtype = subject.kind
        if dtype.kind == "f":
            over = np.isfinite(exact) & np.isinf(value)
        else:
            most: Any = np.iinfo(dtype)
            over = (exact > float(most.max)) | (exact < float(most.min))
        if not over.any():
            return
        seen = self._seen.get(subject.variable_id)
        if seen is None:
            place = int(over.argmax())
            seen = _Seen(exact=float(exact[place]), got=float(value[place]))
            self._seen[subject.variable_id] = seen
        seen.evidence.add(event, *others)


def _exact(event: Event, subject: Subject) -> Exact | None:
    value = value_of(event, subject.kind)
    return None if value is None else value.astype(np.float64)


def _updated(before: Exact | None, operation: str | None, operand: Exact | None) -> Exact | None:
    if operation not in _SIGN:
        return operand
    if before is None or operand is None or len(before) != len(operand):
        return None
    return before + operand if _SIGN[operation] > 0 else before - operand


def _finding(subject: Subject, seen: _Seen) -> Finding:
    evidence = seen.evidence
    wider = "float32" if subject.dtype == "float16" else "float64"
    if not subject.dtype.startswith("float"):
        wider = "int64" if subject.dtype != "int64" else "float64"
    return Finding(
        kind=Kind.OVERFLOW,
        variable_id=subject.variable_id,
        variable=subject.name,
        places=evidence.most_places(),
        count=evidence.count,
        what=f"What the replicas wrote adds up to {seen.exact:,.6g}, which {subject.dtype} cannot "
        f"hold: it became {seen.got:,.6g}; {times(evidence.count, 'sum')} did not fit.",
        remedy=f"Give the variable a wider dtype, such as {wider}, or reset it before it is full.",
        events=tuple(evidence.events),
    )
