"""BoundedStaleness promises one copy, to which replicas add at most s writes apart."""

from __future__ import annotations

from varsim.analysis.checkers.bounded import Bounded
from varsim.analysis.synchronization_promise import SynchronizationPromise


def promise(parameters: list[str]) -> SynchronizationPromise:
    """Return the promises of bounded_staleness:s.

    Raises:
        ValueError: The number of parameters is not 1, or the parameter is negative.
    """
    (bound,) = map(int, parameters)
    if bound < 0:
        raise ValueError(f"{bound} is not a number of writes")
    return SynchronizationPromise(bound=bound, checkers=(Bounded,))
