"""The shares of all variables: what replicas contributed, beside what a single device had.

Of a variable that is aggregated when replicas write it, a share is one write by all of them; of
one that is aggregated when it is read, a read by the program; of any, a write by the program. The
k-th at a place is compared with the oracle's k-th there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat, combined, flat, value_of
from varsim.analysis.findings.account import Account, Compared, spot_of
from varsim.analysis.findings.components import Components
from varsim.analysis.findings.share import Share
from varsim.analysis.findings.subject import Subject
from varsim.analysis.oracle import FIRST_REPLICA, Oracle
from varsim.tracing.history import PROGRAM, Event

_MOST_PENDING: Final = 1000
"""Writes by which one replica may be ahead of another at one place."""


@dataclass(slots=True)
class _Writes:
    """Those by all replicas at one place."""

    counts: list[int]
    open: dict[int, dict[int, Event]] = field(default_factory=dict)  # the k-th, by replica
    lost: bool = False  # replicas do not write there alike


class Shares:
    """Takes the events of a history, and makes shares of them."""

    kinds = frozenset({"call", "finish", "write", "component", "read", "meet"})

    def __init__(
        self,
        num_replicas: int,
        variables: Mapping[int, Subject],
        components: Components,
        oracle: Oracle,
    ) -> None:
        self._num_replicas = num_replicas
        self._variables = variables
        self._components = components
        self._oracle = oracle
        self._known: dict[int, bool] = {}
        self._writes: dict[tuple[int, str], _Writes] = {}
        self._sent: defaultdict[int, dict[int, Event]] = defaultdict(dict)  # components
        self._wrote: defaultdict[int, dict[int, Event]] = defaultdict(dict)  # last, by replica
        self._met: dict[int, int | None] = {}  # by replica, the call of its last all_reduce
        self._first: dict[int, tuple[str, int]] = {}  # where a variable was written first
        self._in_call = False
        self.account = Account(variables)
        self.read_in_replicas: set[int] = set()
        self.merged: set[int] = set()  # written by the program in a merge_call
        self.reduced_before: set[int] = set()  # written after an all_reduce in the same call
        self.added_to: set[int] = set()  # by replicas

    def of(self, event: Event) -> Iterator[Share]:
        """The shares that an event completes."""
        for share in self._of(event):
            self.account.add(share)
            yield share

    def _of(self, event: Event) -> Iterator[Share]:
        if event.kind in {"call", "finish"}:
            self._in_call = event.kind == "call"
            self.account.step += self._in_call
        elif event.kind == "meet" and event.operation == "all_reduce":
            self._met[event.process] = event.call
        variable = event.variable
        if variable is None or variable not in self._variables or not self._is_known(variable):
            return
        subject, place = self._variables[variable], event.place
        if event.kind == "component":
            self._sent[variable][event.process] = event
        elif event.kind == "read":
            if event.process != PROGRAM:
                self.read_in_replicas.add(variable)
            elif subject.gathered and event.replica is None and place is not None:
                yield from self._read(event, subject, place)
        elif place is not None:
            yield from self._written(event, subject, place)

    def _is_known(self, variable: int) -> bool:
        if variable not in self._known:
            self._known[variable] = self._oracle.knows(variable)
        return self._known[variable]

    def _written(self, event: Event, subject: Subject, place: str) -> Iterator[Share]:
        variable = subject.variable_id
        fresh = variable not in self._first
        self._first.setdefault(variable, (place, event.process))
        if event.process != PROGRAM:
            if event.operation != "assign":
                self.added_to.add(variable)
            if subject.gathered:
                self._wrote[variable][event.process] = event
            else:
                yield from self._write(event, subject, place)
        elif event.replica is None:
            if self._in_call:
                self.merged.add(variable)
            wanted = self._oracle.next_wrote(variable, PROGRAM, place)
            got = value_of(event, np.dtype(subject.dtype))
            if wanted is not None and got is not None:
                before = self._before(event) if fresh else None
                yield Share(event, (), (None,) * self._num_replicas, got, wanted, before)
            else:
                self.account.lacks(event)

    def _before(self, event: Event) -> Flat | None:
        """What a variable was before the first write of all, if that replaces it."""
        if event.variable is None or event.operation != "assign":
            return None
        return self._oracle.created(event.variable)

    def _write(self, event: Event, subject: Subject, place: str) -> Iterator[Share]:
        """One of a write by all replicas, which the last of them completes."""
        key, replica_id = (subject.variable_id, place), event.process
        writes = self._writes.get(key)
        if writes is None:
            writes = self._writes[key] = _Writes([0] * self._num_replicas)
        if writes.lost:
            return
        number = writes.counts[replica_id]
        writes.counts[replica_id] += 1
        if self._met.get(replica_id, -1) == event.call:
            self.reduced_before.add(subject.variable_id)
        together = writes.open.setdefault(number, {})
        together[replica_id] = event
        if len(together) == self._num_replicas:
            del writes.open[number]
            wanted = self._oracle.next_wrote(subject.variable_id, FIRST_REPLICA, place)
            fresh = not number and self._first[subject.variable_id][0] == place
            before = self._before(event) if fresh else None
            share = None
            if wanted is not None:
                share = _merged(event, together, subject, wanted, before)
            if share is not None:
                yield share
            else:
                self.account.lacks(event)
        elif len(writes.open) > _MOST_PENDING:
            writes.lost = True
            writes.open.clear()
            self.account.unlike.add(spot_of(event))

    def compared(self) -> Compared:
        """What all comparisons came to, after the last event."""
        for writes in self._writes.values():
            left = [event for together in writes.open.values() for event in together.values()]
            self.account.unlike.update(map(spot_of, left[:1]))
        return self.account.compared(self._oracle)

    def _read(self, event: Event, subject: Subject, place: str) -> Iterator[Share]:
        variable, dtype = subject.variable_id, np.dtype(subject.dtype)
        sent = self._sent.pop(variable, {})
        got = value_of(event, dtype)
        held = self._components[variable].values
        parts: list[Flat | None] = []
        for replica_id, content in enumerate(held):
            shown = sent.get(replica_id)
            part = None if shown is None else value_of(shown, dtype)
            parts.append(flat(content, dtype) if part is None and content is not None else part)
        others = tuple(one.event for one in self._wrote[variable].values())
        for _ in range(event.occurrences):
            wanted = self._oracle.next_read(variable, place)
            if wanted is not None and got is not None:
                yield Share(event, others, tuple(parts), got, wanted)
            else:
                self.account.lacks(event)


def _merged(
    event: Event,
    together: Mapping[int, Event],
    subject: Subject,
    wanted: Flat,
    before: Flat | None,
) -> Share | None:
    """What a write by all replicas came to; None if that is not known."""
    dtype = np.dtype(subject.dtype)
    parts = tuple(value_of(together[i], dtype) for i in sorted(together))
    known = [part for part in parts if part is not None]
    got: Flat | None = None
    if subject.first or not subject.aggregation:
        got = parts[FIRST_REPLICA]
    elif len(known) == len(parts):
        got = combined(known, subject.aggregation)
    if got is None:
        return None
    others = tuple(one.event for one in together.values() if one is not event)
    return Share(event, others, parts, got, wanted, before)
