"""The promise of elastic averaging, for the judge of recorded runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from varsim.analysis import rounding
from varsim.analysis.arithmetic import Flat
from varsim.analysis.exchanges import Exchanges
from varsim.analysis.promises import Promise
from varsim.analysis.synchronization_promise import SynchronizationPromise


class Elastic(Exchanges):
    """Recomputes components and centre, and checks that an exchange preserves their sum."""

    name = "elastic-averaging"
    promise = "every exchange moves components and centre together, and preserves their sum"
    keyword = "elastic_averaging"

    def expected(
        self, promise: Promise, components: Sequence[Flat], copy: Flat | None
    ) -> tuple[Sequence[Flat], Flat | None]:
        """Return each component and the centre after one step towards each other."""
        assert copy is not None, "the promise has a copy"
        rate = np.asarray(float(promise.parameters[0])).astype(promise.dtype)
        after, centre = [], copy
        for component in components:
            step = np.multiply(rate, np.subtract(component, copy))
            after.append(np.subtract(component, step))
            centre = np.add(centre, step)
        return after, centre

    def examine(
        self,
        promise: Promise,
        before: Sequence[Flat],
        after: Sequence[Flat],
        copies: tuple[Flat, Flat] | None,
    ) -> str:
        """Check that the sum of all components and the centre stays, up to rounding."""
        assert copies is not None, "the promise has a copy"
        old, new = (
            np.stack([*each, copy]).astype(np.float64)
            for each, copy in zip((before, after), copies, strict=True)
        )
        if not (np.isfinite(old).all() and np.isfinite(new).all()):
            return ""
        largest = float(np.abs(old).max(initial=0.0)) * len(old)
        apart = float(np.abs(new.sum(axis=0) - old.sum(axis=0)).max(initial=0.0))
        if apart > rounding.rounding(promise.dtype) * largest:
            return "an exchange changes the sum of the components and the centre"
        return ""


def promise(parameters: list[str]) -> SynchronizationPromise:
    """Return the promise of elastic_averaging:rho:k.

    Raises:
        ValueError: The parameters are not a rate between 0 and 1 and a positive integer.
    """
    rho, every = float(parameters[0]), int(parameters[1])
    if len(parameters) > 2 or not 0 < rho < 1 or every < 1:
        raise ValueError(f"{parameters} are not a rate and a number of writes")
    return SynchronizationPromise(
        copy=True, local_reads=True, every=every, exchanged=True, checkers=(Elastic,)
    )
