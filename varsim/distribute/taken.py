"""Record the numbers that a program gets outside variables: results of `run` and `reduce`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np

from varsim.distribute.discarded import dropped
from varsim.distribute.structure_walks import leaves_of
from varsim.distribute.values import DistributedValues
from varsim.location import user_location
from varsim.spec import Array
from varsim.tracing import notices
from varsim.tracing.recorded_values import READ_LIMIT_BYTES
from varsim.tracing.trace import Trace

_MOST_LEAVES: Final = 64
"""Largest number of values of one result that are recorded."""

_NUMBERS: Final = (int, float, complex, np.ndarray, np.generic)


def record_results(trace: Trace, location: str, results: Sequence[Any]) -> None:
    """Record what the function of `strategy.run` returned on each replica."""
    each = [dict(_numbers_of(result)) for result in results]
    values = [
        (leaf, replica_id, numbers[leaf])
        for leaf in each[0]
        for replica_id, numbers in enumerate(each)
        if all(leaf in one for one in each)
    ]
    if values:
        trace.taken("run", location, values)


class RecordingCluster(Protocol):
    """The workers of a strategy, whose trace records what the program gets."""

    @property
    def has_workers(self) -> bool:
        """Return whether workers have been started."""

    @property
    def is_over(self) -> bool:
        """Return whether the workers have ended."""

    @property
    def recorder(self) -> Trace | None:
        """Return the trace of the program; None if nothing is recorded."""


def record_combined(cluster: RecordingCluster, operation: str, given: Any, result: Any) -> Any:
    """Record the result of a method of the strategy, reduce or gather, and return it.

    If the program drops the result of different values, record this, too.
    """
    if cluster.has_workers and not cluster.is_over and cluster.recorder is not None:
        unused = dropped(f"strategy.{operation}", 3)
        if unused is not None and any(map(_differs, leaves_of(given))):
            notices.discarded(cluster.recorder, None, *unused[:3])
        values = [(leaf, None, value) for leaf, value in _numbers_of(result)]
        if values:
            cluster.recorder.taken(operation, user_location(), values)
    return result


def _differs(value: Any) -> bool:
    """Return whether a value is a per-replica value with different components."""
    if not isinstance(value, DistributedValues):
        return False
    first, *others = map(np.asarray, value.values)
    return any(not np.array_equal(first, one) for one in others)


def _numbers_of(result: Any) -> Iterator[tuple[int, Array]]:
    """Yield the leaves of a structure that are small numbers, each with its number."""
    for number, leaf in enumerate(leaves_of(result)[:_MOST_LEAVES]):
        if isinstance(leaf, _NUMBERS) and not isinstance(leaf, bool | np.bool_):
            value = np.asarray(leaf)
            if value.dtype.kind in "iufc" and value.nbytes <= READ_LIMIT_BYTES:
                yield number, value
