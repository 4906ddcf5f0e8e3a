"""Number the passes over distributed datasets, and follow their positions for checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from varsim.distribute.structure_walks import leaves_of
from varsim.distribute.values import DistributedValues
from varsim.location import user_location


class Passes:
    """Numbers the passes over distributed datasets, and keeps where `uneven: drop` ended them.

    The oracle runs the same program on one replica, on which no batch is uneven. So it starts the
    same passes in the same order, and ends each of them where the run ended it.
    """

    def __init__(self) -> None:
        self.ends: dict[int, int] = {}
        """Number of a pass → the number of its batches, for passes that ended before a batch."""
        self.limits: Mapping[int, int] = {}
        """The `ends` of the run that this program repeats."""
        self.started = 0
        """The number of passes that have started. It is the number of the last pass."""
        self.followed: WeakValueDictionary[int, FollowedPass] = WeakValueDictionary()
        """Number of a pass → the pass, for passes that can still give batches to the program."""
        self.are_followed = False
        """Whether passes that start later are followed."""

    def start(self) -> int:
        """Return the number of a pass that starts, counted from 1."""
        self.started += 1
        return self.started

    def follow(self, number: int, source: object, batches: Iterator[Any]) -> Iterator[Any]:
        """Return the batches of a pass; follow the pass if `are_followed`.

        Args:
            source: The iterator of the dataset from which the batches are made.
        """
        if not self.are_followed:
            return batches
        self.followed[number] = followed = FollowedPass(source, batches)
        return followed


class FollowedPass:
    """The batches of a pass, with the position of the pass."""

    def __init__(self, source: object, batches: Iterator[Any]) -> None:
        self.source = source
        self.location = user_location()
        self.taken = 0  # the position: the number of batches that the program has taken
        self.has_ended = False
        self._batches = batches
        self._hash = sha256()

    def __iter__(self) -> FollowedPass:
        return self

    def __next__(self) -> Any:
        try:
            batch = next(self._batches)
        except StopIteration:
            self.has_ended = True
            raise
        self.taken += 1
        for leaf in leaves_of(batch):
            for part in leaf.values if isinstance(leaf, DistributedValues) else [leaf]:
                self._add(part)
        return batch

    def _add(self, part: Any) -> None:
        try:
            array = np.asarray(part)
        except (TypeError, ValueError, RuntimeError):  # a value that is not an array
            return
        self._hash.update(f"{array.dtype}{array.shape}".encode())
        if not array.dtype.hasobject:  # the bytes of objects are addresses
            self._hash.update(array.tobytes())

    @property
    def digest(self) -> str:
        """Return a hash of the batches that the program has taken."""
        return self._hash.hexdigest()

    def advance(self, position: int) -> None:
        """Take and drop batches until the pass is at a position or has ended."""
        while self.taken < position and not self.has_ended:
            next(self, None)
