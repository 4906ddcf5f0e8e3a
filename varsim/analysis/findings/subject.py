"""What findings ask of a variable's two settings: the only place here that knows them by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from varsim.tracing.history import VariableRow

_MIRRORED: Final = frozenset({"ON_WRITE", "AUTO"})
_DEFERRED: Final = frozenset({"AUTO"})
_GATHERED: Final = frozenset({"ON_READ"})
_FIRST: Final = frozenset({"ONLY_FIRST_REPLICA"})
_SUMMED: Final = frozenset({"SUM"})
_WITHOUT: Final = frozenset({"NONE"})


@dataclass(frozen=True, slots=True)
class Subject:
    """A variable, and what its settings promise."""

    variable_id: int
    name: str
    dtype: str
    synchronization: str
    mirrored: bool  # all components are meant to hold one value
    merged: bool  # mirrored, and every write in a replica is a meeting
    deferred: bool  # mirrored; writes stay on a replica until somebody is about to read
    gathered: bool  # a read by the program aggregates the components
    own: bool  # every component is its replica's own: nothing ever aggregates them
    summed: bool  # gathered, and a component is only a part of the value
    first: bool  # of values that replicas wrote, the first replica's counts


def subjects(rows: Mapping[int, VariableRow]) -> dict[int, Subject]:
    """A subject for each variable of a history."""
    return {number: _subject(row) for number, row in rows.items()}


def _subject(row: VariableRow) -> Subject:
    aggregated = row.aggregation not in _WITHOUT
    mirrored = row.synchronization in _MIRRORED
    gathered = row.synchronization in _GATHERED and aggregated
    deferred = row.synchronization in _DEFERRED and aggregated
    return Subject(
        variable_id=row.variable,
        name=row.name,
        dtype=row.dtype,
        synchronization=row.synchronization,
        mirrored=mirrored,
        merged=mirrored and aggregated and not deferred,
        deferred=deferred,
        gathered=gathered,
        own=not mirrored and not gathered,
        summed=gathered and row.aggregation in _SUMMED,
        first=row.aggregation in _FIRST,
    )
