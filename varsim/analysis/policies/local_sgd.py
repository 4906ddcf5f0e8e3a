"""LocalSGD promises that all components become their mean after every k-th write of a replica."""

from __future__ import annotations

from varsim.analysis.exchanges import EveryKthWrite
from varsim.analysis.synchronization_promise import SynchronizationPromise


class Averaging(EveryKthWrite):
    """Checks that a replica exchanges the value of its component at every k-th write.

    `Reduction` checks that the commit is the mean of the exchanged values.
    """

    name = "averaging"
    promise = "every k-th write of a LocalSGD variable is averaged, and no other write"
    keyword = "local_sgd"


def promise(parameters: list[str]) -> SynchronizationPromise:
    """Return the promises of local_sgd:k.

    Raises:
        ValueError: The number of parameters is not 1, or the parameter is no positive integer.
    """
    (every,) = map(int, parameters)
    if every < 1:
        raise ValueError(f"{every} is not a number of writes")
    return SynchronizationPromise(
        gathered=True, local_reads=True, every=every, checkers=(Averaging,)
    )
