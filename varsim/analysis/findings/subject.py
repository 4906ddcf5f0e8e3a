"""What findings ask of a variable, beside what its settings promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from varsim.analysis.findings.found import Evidence, Finding, Kind
from varsim.analysis.promises import promise_of
from varsim.tracing.history import VariableRow


@dataclass(frozen=True, slots=True)
class Subject:
    """A variable, and what its settings promise."""

    variable_id: int
    name: str
    dtype: str
    kind: np.dtype[Any]  # the same, as NumPy has it
    synchronization: str
    aggregation: str  # "" if nothing aggregates what replicas write
    mirrored: bool  # all components are meant to hold one value
    merged: bool  # mirrored, and every write in a replica is a meeting
    deferred: bool  # mirrored; writes stay on a replica until somebody is about to read
    gathered: bool  # a read by the program aggregates the components
    own: bool  # every component is its replica's own: nothing ever aggregates them
    summed: bool  # gathered, and a component is only a part of the value
    first: bool  # of values that replicas wrote, the first replica's counts


def finding_of(kind: Kind, subject: Subject, evidence: Evidence, what: str, remedy: str) -> Finding:
    """What is said of a variable, with all that shows it."""
    return Finding(
        kind=kind,
        variable_id=subject.variable_id,
        variable=subject.name,
        places=evidence.most_places(),
        count=evidence.count,
        what=what[0].upper() + what[1:],
        remedy=remedy,
        events=tuple(evidence.events),
    )


def subjects(rows: Mapping[int, VariableRow]) -> dict[int, Subject]:
    """A subject for each variable of a history."""
    return {number: _subject(row) for number, row in rows.items()}


def _subject(row: VariableRow) -> Subject:
    promise = promise_of(row)
    gathered = promise.gathered and promise.aggregation != "NONE"
    together = gathered or (promise.mirrored and promise.aggregation != "NONE")
    return Subject(
        variable_id=row.variable,
        name=row.name,
        dtype=row.dtype,
        kind=promise.dtype,
        synchronization=row.synchronization,
        aggregation=promise.aggregation if together else "",
        mirrored=promise.mirrored,
        merged=promise.merges,
        deferred=promise.deferred,
        gathered=gathered,
        own=not promise.mirrored and not gathered,
        summed=gathered and promise.aggregation == "SUM",
        first=promise.aggregation == "ONLY_FIRST_REPLICA",
    )
