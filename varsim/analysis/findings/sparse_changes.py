"""Express the rows of sparse adds as changes of elements, so that two runs can be compared.

A single device and the replicas write different rows, in a different order. But for each index, the
sum of the written rows must agree. So only these sums are compared, for the rows that either run
changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from varsim.analysis.arithmetic import Flat
from varsim.analysis.sampled import SampledRows, rows_alike
from varsim.spec import Rows
from varsim.tracing.samples import positions

SUMMED: Final = frozenset({"scatter_add", "scatter_sub"})
"""The sparse writes that can be compared."""


class Changes(NamedTuple):
    """The changes by both runs, for the same elements."""

    by_replica: tuple[Flat | None, ...]  # each replica's changes; None if not recorded
    wanted: Flat  # the single device's changes
    elements: Flat  # the index of each element in the variable's flat value


def changes_of(parts: Sequence[Rows | None], wanted: Rows) -> Changes | None:
    """Return the changes by rows of replicas and of a single device; None if the sizes differ."""
    alike = rows_alike([wanted, *(part for part in parts if part is not None)])
    if alike is None:
        return None
    wanted, *others = alike
    theirs = iter(others)
    parts = [None if part is None else next(theirs) for part in parts]
    known = [wanted, *(part for part in parts if part is not None)]
    width = wanted.values.shape[1]
    if any(part.values.shape[1] != width for part in known):
        return None
    touched = np.unique(np.concatenate([part.indices for part in known]))
    elements = touched[:, np.newaxis] * width + np.arange(width)
    if isinstance(wanted, SampledRows):
        elements = positions(wanted.count)[elements]
    return Changes(
        tuple(None if part is None else _summed(part, touched) for part in parts),
        _summed(wanted, touched),
        elements.reshape(-1),
    )


def _summed(rows: Rows, touched: np.ndarray) -> Flat:
    """Return the sum of the rows of each index, and zeros for an index without rows."""
    result = np.zeros((len(touched), rows.values.shape[1]), rows.values.dtype)
    np.add.at(result, np.searchsorted(touched, rows.indices), rows.values)
    return result.reshape(-1)
