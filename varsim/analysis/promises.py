"""What each pair of settings promises, as a judge of histories understands it.

Written from docs/semantics.md, and not from the engine's table: the two can disagree.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import numpy as np

from varsim.tracing.history import VariableRow

AGGREGATIONS: Final = ("NONE", "SUM", "MEAN", "ONLY_FIRST_REPLICA")


@dataclass(frozen=True, slots=True)
class SynchronizationPromise:
    """What a synchronization promises of a variable's components."""

    mirrored: bool = False  # all hold one value, unless one is written alone
    late: bool = False  # what replicas write together is exchanged late
    gathered: bool = False  # a read by the program combines them


KINDS: Final = {
    "ON_WRITE": SynchronizationPromise(mirrored=True),
    "AUTO": SynchronizationPromise(mirrored=True, late=True),
    "ON_READ": SynchronizationPromise(gathered=True),
    "NONE": SynchronizationPromise(),
}


@dataclass(frozen=True, slots=True)
class Promise:
    """What one variable promises; made from its row, which may say anything."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[np.generic]
    aggregation: str
    mirrored: bool
    gathered: bool
    merges: bool  # replicas only write it together, and meet over every write
    deferred: bool  # replicas only write it together, and exchange what they wrote later

    apart: bool  # replicas write it, or what becomes of it is combined, without any meeting

    @property
    def stays_local(self) -> bool:
        """Whether nothing of it may travel unless the program asks."""
        return not (self.mirrored or self.gathered)


def promise_of(row: VariableRow) -> Promise:
    """What a variable promises.

    Raises:
        ValueError: The row makes no sense.
    """
    kind = KINDS.get(row.synchronization)
    if kind is None or row.aggregation not in AGGREGATIONS:
        raise ValueError(
            f"variable {row.variable} has settings that do not exist: "
            f"{row.synchronization}, {row.aggregation}"
        )
    try:
        shape = tuple(json.loads(row.shape))
        dtype = np.dtype(row.dtype)
    except (TypeError, ValueError):
        raise ValueError(f"variable {row.variable} has no readable shape or dtype") from None
    if not all(one is None or (type(one) is int and one >= 0) for one in shape):
        raise ValueError(f"variable {row.variable} has no readable shape")
    if dtype.kind not in "biufc" or type(row.name) is not str:
        raise ValueError(f"variable {row.variable} has no readable dtype or name")
    together = kind.mirrored and row.aggregation != "NONE"
    return Promise(
        name=row.name,
        shape=shape,
        dtype=dtype,
        aggregation=row.aggregation,
        mirrored=kind.mirrored,
        gathered=kind.gathered,
        merges=together and not kind.late,
        deferred=together and kind.late,
        apart=kind.gathered or (kind.mirrored and not together),
    )
