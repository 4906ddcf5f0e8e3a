"""Which differences from a single device follow from which finding.

A difference of a variable follows from a finding if the writers of the first value that differs had
read a variable before, and the finding says that its components differ. A difference of a returned
value follows from a finding if it is the value of the variable that the program has read last (in a
list, any value that it has read), or if it has the same factor.

A merged write is recorded when it is sent. If its replica has read the variable between the write
and this point, the variable is named, too; so reports say "probably".
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import value_of
from varsim.analysis.causes import APART
from varsim.analysis.findings.compared import Access, Compared, ValueDifference
from varsim.analysis.findings.model import Finding
from varsim.analysis.returned import ReturnedValue
from varsim.analysis.rounding import close
from varsim.extension_dtypes import named
from varsim.tracing import notices
from varsim.tracing.history import PROGRAM, History

_MOST_READS: Final = 1000
"""Largest number of a variable's last reads that are compared with the numbers of a list."""


def with_sources(history: History, compared: Compared, findings: Sequence[Finding]) -> Compared:
    """Return a comparison whose differences name the variable with a finding they follow from."""
    apart = [one for one in findings if one.kind in APART and one.variable]
    differences = (
        replace(one, follows=_source_of(history, one.began, apart))
        if one.unexplained and apart
        else one
        for one in compared.differences
    )
    sources = _Sources.of(history, compared, findings)
    returned = (
        replace(one, follows=sources.of_returned(one)) if one.differs else one
        for one in compared.returned
    )
    return replace(compared, differences=tuple(differences), returned=tuple(returned))


@dataclass(frozen=True, slots=True)
class _Sources:
    """What the program can have returned of variables with findings about values."""

    read: Mapping[str, Sequence[np.ndarray]]  # variable → what the program has read, latest first
    factors: Mapping[str, float]  # variable → by how much its values are too large

    @classmethod
    def of(cls, history: History, compared: Compared, findings: Sequence[Finding]) -> _Sources:
        """Return what the record shows."""
        told = {
            one.variable_id: one.variable
            for one in findings
            if one.kind.about_values and one.variable_id is not None
        }
        read = {name: list(_reads(history, number)) for number, name in told.items()}
        factors = {
            one.variable: one.got / one.wanted
            for one in compared.differences
            if one.variable_id in told
            and not one.unexplained
            and one.got is not None
            and one.wanted
        }
        return cls(read, factors)

    def of_returned(self, one: ReturnedValue) -> str:
        """Return the variable whose finding explains a returned value; "" if there is none."""
        for name in sorted(self.read, key=lambda name: name != one.name):
            if _is_one_of(one, self.read[name]):
                return name
        for name, factor in self.factors.items():
            if one.ratio is not None and close(np.array([one.ratio]), np.array([factor])):
                return name
        return ""


def _is_one_of(one: ReturnedValue, read: Sequence[np.ndarray]) -> bool:
    """Return whether a returned value is the last read value, or a list has such a read number."""
    if not isinstance(one.got, int | float):
        return False
    at, got = () if one.element is None else one.element, np.array([float(one.got)])
    for value in read if at and read and not read[0].ndim else read[:1]:
        index = at if value.ndim else ()
        known = len(index) == value.ndim and all(map(int.__lt__, index, value.shape))
        if known and close(np.ravel(value[index]), got):
            return True
    return False


def _source_of(history: History, began: ValueDifference, apart: Sequence[Finding]) -> str:
    """Return the variable of the first finding on whose variable a written value can depend."""
    if any(one.variable_id == began.variable_id for one in apart):
        return began.variable
    if began.access is Access.READ:
        return ""
    read = set(
        _read_by_program(history, began)
        if began.access is Access.WRITTEN
        else _read_by_replicas(history, began)
    )
    of_read = (one for one in apart if {one.variable_id, one.variable} & read)
    first = min(of_read, key=lambda one: min(one.events, default=0), default=None)
    return "" if first is None else first.variable


def _read_by_program(history: History, began: ValueDifference) -> Iterator[int | str]:
    """Yield the variables that the program had read before a write."""
    rows = history.connection.execute(
        "SELECT DISTINCT variable FROM events WHERE process = ? AND kind = 'read' AND event < ? "
        "AND variable IS NOT NULL AND variable != ?",
        (PROGRAM, began.event, began.variable_id),
    )
    return (variable for (variable,) in rows)


def _read_by_replicas(history: History, began: ValueDifference) -> Iterator[int | str]:
    """Yield the variables that replicas had read in a call before they wrote another one together.

    Variables outside the scope are given by their names.
    """
    reads: defaultdict[int, set[int | str]] = defaultdict(set)
    rows = history.connection.execute(
        "SELECT process, kind, variable, replica, operation, note FROM events WHERE call = "
        "(SELECT call FROM events WHERE event = ?) AND event <= ? "
        "AND kind IN ('read', 'write', 'notice') ORDER BY event",
        (began.event, began.event),
    )
    for process, kind, variable, replica, operation, note in rows:
        if kind == "write" and variable == began.variable_id:
            yield from reads[process]
        elif kind == "read" and variable != began.variable_id:
            reads[process].add(variable)
        elif operation == notices.PLAIN and replica is not None:
            told = notices.details(note)
            if told.get("operation") == notices.READ:
                reads[replica].add(told.get("variable", ""))


def _reads(history: History, number: int) -> Iterator[np.ndarray]:
    """Yield what the program has read of a variable and was recorded, the latest value first."""
    found = history.events(
        "event IN (SELECT event FROM events WHERE process = ? AND kind = 'read' AND variable = ? "
        "ORDER BY event DESC LIMIT ?)",
        (PROGRAM, number, _MOST_READS),
    )
    for event in reversed(list(found)):
        value = None if event.dtype is None else value_of(event, named(event.dtype))
        if value is not None:
            yield value.reshape(json.loads(event.shape or "[]"))
