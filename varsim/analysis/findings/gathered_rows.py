"""Rows that an all_gather has brought to each replica: an all_reduce of sparse values is one.

The all_reduce of `tf.IndexedSlices` gathers the values and the indices. Their sum is not in the
record; this file computes it, to recognise it in what a replica writes.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from varsim.analysis import sparse
from varsim.analysis.arithmetic import Flat, value_of
from varsim.analysis.findings.collectives import Given
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.rounding import close
from varsim.extension_dtypes import named
from varsim.spec import Rows
from varsim.tracing.history import Event


class _Gathered(NamedTuple):
    """Rows that a replica got."""

    rows: Rows
    arrival: Event  # of the replica at the all_gather


class GatheredRows:
    """The rows that each replica got in its running call."""

    def __init__(self) -> None:
        self._open: Given | None = None
        self._values: dict[int, Event] = {}  # replica → the first array of its result
        self._rows: defaultdict[int, list[_Gathered]] = defaultdict(list)

    def begin(self, replica_id: int) -> None:
        """Forget the rows of a replica, which begins a call."""
        self._rows.pop(replica_id, None)

    def answer(self, given: Given | None) -> None:
        """Look at the results that follow, if they can be rows: two arrays for each replica."""
        self._values.clear()
        self._open = None
        if given is not None and given.operation == "all_gather" and given.variable is None:
            pairs = all(len(events) == 2 for events in given.arrays.values())
            self._open = given if pairs and len(given.arrivals) > 1 else None

    def result(self, event: Event) -> None:
        """Keep the rows of a replica when both arrays, the values and the indices, are known."""
        replica_id, given = event.replica, self._open
        if given is None or replica_id is None or replica_id not in given.arrivals:
            return
        values = self._values.pop(replica_id, None)
        if values is None:
            self._values[replica_id] = event
            return
        rows = _rows(values, event)
        if rows is not None:
            self._rows[replica_id].append(_Gathered(rows, given.arrivals[replica_id]))

    def sum_in(self, event: Event, facts: VariableFacts) -> Event | None:
        """Return the arrival at the collective whose rows a replica writes; None if there is none.

        Args:
            facts: About the variable of the write.
        """
        if event.process not in self._rows:
            return None
        written = facts.operand_of(event)
        found = self._rows[event.process]
        return next((one.arrival for one in found if _is_sum(one.rows, written)), None)


def _rows(values: Event, indices: Event) -> Rows | None:
    if values.dtype is None or indices.dtype != sparse.INDEX.name:
        return None
    where, flat = value_of(indices, sparse.INDEX), value_of(values, named(values.dtype))
    if where is None or flat is None or not len(where) or len(flat) % len(where):
        return None
    return Rows(where, flat.reshape(len(where), -1))


def _is_sum(rows: Rows, written: Flat | Rows | None) -> bool:
    if isinstance(written, Rows):
        same = np.array_equal(rows.indices, written.indices)
        return same and np.array_equal(rows.values, written.values)
    if written is None or written.dtype != rows.values.dtype:
        return False
    total = sparse.changed(np.zeros_like(written), "scatter_add", rows)
    return total is not None and close(total, written)
