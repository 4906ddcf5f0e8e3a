"""The promise of gossip, for the judge of recorded runs. It imports nothing of the policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from varsim.analysis import arithmetic, rounding
from varsim.analysis.arithmetic import Flat
from varsim.analysis.exchanges import Exchanges
from varsim.analysis.promises import Promise
from varsim.analysis.synchronization_promise import SynchronizationPromise
from varsim.extension_dtypes import smallest_of

_SMALLEST: Final = 2
"""What rounding explains of very small values, in units of the dtype's smallest number.

A division rounds a component by at most half a unit, so a distance grows by at most one. The other
unit is for the float64 means of this module.
"""


class Gossiping(Exchanges):
    """Recomputes every exchange, and checks that it preserves the mean and adds no distance."""

    name = "gossip"
    promise = "every exchange of a gossip variable averages neighbours, and preserves the mean"
    keyword = "gossip"

    def expected(
        self, promise: Promise, components: Sequence[Flat], copy: Flat | None
    ) -> tuple[Sequence[Flat], Flat | None]:
        """Return the mean of each component and those at most `reach` places away."""
        reach, count = int(promise.parameters[0]), len(components)
        means = []
        for here in range(count):
            near = [
                components[there]
                for there in range(count)
                if min((there - here) % count, (here - there) % count) <= reach
            ]
            mean = arithmetic.combined(near, "MEAN")
            assert mean is not None, "a mean of equal shapes of floats exists"
            means.append(mean)
        return means, None

    def examine(
        self,
        promise: Promise,
        before: Sequence[Flat],
        after: Sequence[Flat],
        copies: tuple[Flat, Flat] | None,
    ) -> str:
        """Check the two invariants of doubly stochastic weights, up to rounding."""
        old, new = (np.stack(each).astype(np.float64) for each in (before, after))
        if not (np.isfinite(old).all() and np.isfinite(new).all()):
            return ""
        allowed = rounding.rounding(promise.dtype) * float(np.abs(old).max(initial=0.0))
        allowed += _SMALLEST * smallest_of(promise.dtype)
        if np.abs(new.mean(axis=0) - old.mean(axis=0)).max(initial=0.0) > allowed:
            return "an exchange changes the mean of the components"
        if (np.ptp(new, axis=0) - np.ptp(old, axis=0)).max(initial=0.0) > allowed:
            return "an exchange makes the components more distant"
        return ""


def promise(parameters: list[str]) -> SynchronizationPromise:
    """Return the promise of gossip:n:k.

    Raises:
        ValueError: The parameters are not two positive integers.
    """
    neighbours, every = map(int, parameters)
    if neighbours < 1 or every < 1:
        raise ValueError(f"{parameters} are not two positive integers")
    return SynchronizationPromise(
        gathered=True, local_reads=True, every=every, exchanged=True, checkers=(Gossiping,)
    )
