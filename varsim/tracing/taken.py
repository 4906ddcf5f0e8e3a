"""Decode recorded values outside variables into events of the history."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from varsim.tracing.rows import Form, HistoryRows, recorded

_TAKEN: Final = Form("operation", "replica", "location", "note", "value")

_Recorded = tuple[str, list[int], int | None, bytes | None]
"""A value as in a trace: dtype, shape, digest and bytes."""


def add_taken(
    rows: HistoryRows,
    process: int,  # noqa: ARG001
    operation: str,
    location: str,
    values: Iterable[tuple[int, int | None, _Recorded]],
) -> None:
    """Add an event for each value that the program gets from a method of the strategy."""
    for leaf, replica, value in values:
        columns = operation, replica, location, str(leaf), *recorded(*value)
        rows.add_one("take", _TAKEN, columns, call=None)
