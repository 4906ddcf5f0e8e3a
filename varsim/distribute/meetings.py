"""Check the arguments of locks, barriers, sends and receives, and hold locks in `with` blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from varsim.distribute.conversion import as_tensor
from varsim.distribute.reduction import refuse_slices
from varsim.distribute.structure_walks import leaves_of, map_structure
from varsim.errors import ReplicaIndexError

_AS_THEY_ARE: Final = frozenset({bool, int, float, complex, str, bytes, type(None)})
"""Types whose values are sent without a conversion to an array; such values never change."""


class CriticalSection:
    """A context manager that holds a lock in its `with` block.

    It is not a generator: the garbage collector ends a generator, and would release the lock later.
    """

    def __init__(self, take: Callable[[], None], leave: Callable[[], None]) -> None:
        self._take = take
        self._leave = leave

    def __enter__(self) -> None:
        self._take()

    def __exit__(self, *raised: object) -> None:
        self._leave()


def other_replica(given: Any, argument: str, replica_id: int, present: int) -> int:
    """Return the replica with which this replica exchanges a value.

    Args:
        argument: The name of the argument, for errors.
        present: The number of replicas that take part in the call.
    Raises:
        TypeError: It is no integer.
        ReplicaIndexError: It is this replica, or it takes no part in the call.
    """
    if isinstance(given, bool) or not isinstance(given, int | np.integer):
        raise TypeError(f"{argument}={given!r}: it must be the id of a replica, such as 0")
    other = int(given)
    if other == replica_id:
        raise ReplicaIndexError(
            f"{argument}={other} is this replica itself: a replica exchanges values only with "
            "others. Use the value directly"
        )
    if not 0 <= other < present:
        raise ReplicaIndexError(
            f"{argument}={other}: no such replica takes part in this call; give an id from 0 to "
            f"{present - 1}"
        )
    return other


def isolated(value: Any) -> Any:
    """Return a copy of a structure that its receiver can change without an effect on the sender.

    Variables and other array-like values become arrays. Numbers of Python, texts, bytes and None
    stay as they are.

    Raises:
        TypeError: A value is none of these.
        SizeError: The structure contains itself, or is nested too deeply.
    """
    refuse_slices("send", leaves_of(value))
    return map_structure(
        lambda leaf: leaf if type(leaf) in _AS_THEY_ARE else np.array(as_tensor(leaf)), value
    )
