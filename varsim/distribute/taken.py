"""Record the numbers that a program gets outside variables: results of `run` and `reduce`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np

from varsim.distribute.discarded import dropped
from varsim.distribute.structure_walks import leaves_of
from varsim.distribute.values import DistributedValues
from varsim.location import user_location
from varsim.spec import Array, ReduceOp
from varsim.tracing import notices
from varsim.tracing.recorded_values import READ_LIMIT_BYTES
from varsim.tracing.trace import Trace

_MOST_LEAVES: Final = 64
"""Largest number of values of one result that are recorded."""

_COMPUTES: Final = frozenset({ReduceOp.SUM, ReduceOp.MEAN, ReduceOp.PROD})

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


def record_combined(
    cluster: RecordingCluster,
    operation: str,
    given: Any,
    result: Any,
    op: ReduceOp | None = None,
) -> Any:
    """Record the result of a method of the strategy, reduce or gather, and return it.

    If the program drops the result of different values, record this, too, and if the result is not
    finite, or the sum exceeds the range of the dtype.

    Args:
        op: How the values were combined; None if they were gathered.
    """
    if cluster.has_workers and not cluster.is_over and cluster.recorder is not None:
        unused = dropped(f"strategy.{operation}", 3)
        if unused is not None and any(map(_differs, leaves_of(given))):
            notices.discarded(cluster.recorder, None, *unused[:3])
        values = [(leaf, None, value) for leaf, value in _numbers_of(result)]
        if values:
            _note_trouble(cluster.recorder, op, given, result)
            cluster.recorder.taken(operation, user_location(), values)
    return result


def _differs(value: Any) -> bool:
    """Return whether a value is a per-replica value with different components."""
    first, *others = _arrays_of(value) or [np.empty(0)]
    return any(not np.array_equal(first, one) for one in others)


def _arrays_of(value: Any) -> list[Array]:
    """Return the arrays of a per-replica value; none for a variable, which would be read."""
    if not isinstance(value, DistributedValues):
        return []
    parts = value.values
    return [np.asarray(one) for one in parts] if all(isinstance(p, _NUMBERS) for p in parts) else []


def _note_trouble(trace: Trace, op: ReduceOp | None, given: Any, result: Any) -> None:
    """Record which replicas gave NaN or infinity, or that a sum exceeds the range of its dtype."""
    if op not in _COMPUTES:
        return
    for value, leaf in zip(leaves_of(given), leaves_of(result), strict=False):
        parts, combined = _arrays_of(value), np.asarray(leaf)
        if not parts or any(one.dtype.kind not in "iuf" for one in (combined, *parts)):
            continue
        bad = [i for i, one in enumerate(parts) if not np.isfinite(one).all()]
        if bad and not np.isfinite(combined).all():
            is_nan = any(bool(np.isnan(parts[i]).any()) for i in bad)
            notices.not_finite(
                trace, bad, f"the {op.name} of strategy.reduce", user_location(), is_nan=is_nan
            )
        elif not bad and (over := _overflow(op, parts, combined)) is not None:
            notices.overflow(trace, op.name, user_location(), parts[0].dtype.name, *over)


def _overflow(op: ReduceOp, parts: Sequence[Array], combined: Array) -> tuple[float, float] | None:
    """Return the exact result, and the result that the dtype holds instead, if they differ."""
    if op is ReduceOp.PROD or any(one.shape != combined.shape for one in parts):
        return None
    exact = np.sum([one.astype(np.float64) for one in parts], axis=0)
    exact = exact / len(parts) if op is ReduceOp.MEAN else exact
    if combined.dtype.kind == "f":
        over = np.isfinite(exact) & ~np.isfinite(combined)
    else:
        over = ~np.isclose(exact, combined.astype(np.float64), rtol=1e-9, atol=0.0)
    if not over.any():
        return None
    index = np.unravel_index(int(over.argmax()), over.shape)
    return float(exact[index]), float(combined[index])


def _numbers_of(result: Any) -> Iterator[tuple[int, Array]]:
    """Yield the leaves of a structure that are small numbers, each with its number."""
    for number, leaf in enumerate(leaves_of(result)[:_MOST_LEAVES]):
        if isinstance(leaf, _NUMBERS) and not isinstance(leaf, bool | np.bool_):
            value = np.asarray(leaf)
            if value.dtype.kind in "iufc" and value.nbytes <= READ_LIMIT_BYTES:
                yield number, value
