"""Save and restore the positions of a workload's iterators of distributed datasets."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import zip_longest
from types import GeneratorType
from typing import Any, Final

from varsim.distribute.datasets import DistributedIterator
from varsim.distribute.passes import FollowedPass, Passes
from varsim.errors import CheckpointError
from varsim.texts import resuming as texts


class DatasetPositions:
    """The positions of the passes that a workload starts outside the steps of its loops.

    A resumed run starts these passes again before it reaches its loop, in the same order. So the
    place in this order identifies a pass. The resumed run does not execute the steps that are done,
    so it does not start the passes that were started inside them.
    """

    def __init__(self, passes: Passes) -> None:
        """Follow all passes that start from now on."""
        passes.are_followed = True
        self._passes = passes
        self._first = self._seen = passes.started
        self._outside: list[int] = []  # the numbers of the passes, in order
        self._unknown: list[str] = []  # the types of other iterators that `zip` reads in each step
        self._partly: list[str] = []  # … of those that read such a pass, and have other values

    def enter(self, loop: object) -> None:
        """Note that a loop over steps begins.

        Raises:
            CheckpointError: `zip` reads another iterator before the loop.
        """
        self._outside += range(self._seen + 1, self._passes.started + 1)
        before, after = _neighbours(loop)
        if before:
            raise CheckpointError(texts.STEPS_FIRST)
        others = [one for one in sources_of(after) if not self.restores(one)]
        partly = [one for one in others if self._reads_passes(one)]
        self._partly = sorted({type(one).__name__ for one in partly})
        self._unknown = sorted({type(one).__name__ for one in others if one not in partly})

    def leave(self) -> None:
        """Note that a loop over steps has ended."""
        self._seen = self._passes.started

    def restores(self, value: object) -> bool:
        """Return whether the value is the iterator of such a pass, or the source of its batches."""
        batches = value.batches if isinstance(value, DistributedIterator) else value
        return any(batches is one or batches is one.source for one in self._places().values())

    def continues(self, value: object) -> bool:
        """Return whether the value is such an iterator, or a `zip` or `map` of such iterators."""
        return all(map(self.restores, sources_of([value])))

    def _reads_passes(self, value: object) -> bool:
        """Return whether an `enumerate` or a generator reads such iterators, and no others."""
        inner = gc.get_referents(value) if isinstance(value, enumerate | GeneratorType) else []
        inner = [one for one in inner if hasattr(type(one), "__next__")]
        return bool(inner) and all(self.continues(one) or self._reads_passes(one) for one in inner)

    def state(self) -> dict[str, Any]:
        """Return the positions as plain values."""
        places = self._places()
        return {
            "passes": len(self._outside),
            "taken": {place: (one.taken, one.digest) for place, one in places.items()},
            "inside": sorted(
                {
                    one.location
                    for number, one in self._passes.followed.items()
                    if number > self._first and number not in self._outside
                    if one.taken and not one.has_ended
                }
            ),
        }

    def _places(self) -> dict[int, FollowedPass]:
        """Return the passes that can still give batches, by their places in the order."""
        followed = self._passes.followed
        each = {place: followed.get(number) for place, number in enumerate(self._outside)}
        return {place: one for place, one in each.items() if one is not None}

    def restore(
        self, state: Mapping[str, Any], *, compares: bool, warn: Callable[[str], None]
    ) -> None:
        """Advance each pass to its position in `state`.

        Args:
            compares: Whether the batches should equal those of the run that saved the state.
            warn: Receives a warning for each pass that has other batches, and for the passes and
                other iterators that start again.
        Raises:
            CheckpointError: The workload starts another number of passes.
        """
        saved, here = state["passes"], len(self._outside)
        if saved != here:
            raise CheckpointError(texts.OTHER_PASSES.format(saved=saved, here=here))
        places = self._places()
        for place, (taken, digest) in state["taken"].items():
            one = places.get(place)
            if one is None:
                continue
            one.advance(taken)
            if one.taken != taken:
                warn(texts.OTHER_END.format(place=one.location, taken=taken, here=one.taken))
            elif compares and one.digest != digest:
                warn(texts.OTHER_BATCHES.format(place=one.location, taken=taken))
        if state["inside"]:
            warn(texts.STARTS_AGAIN.format(places=", ".join(state["inside"])))
        if self._unknown:
            warn(texts.NOT_DISTRIBUTED.format(kinds=", ".join(self._unknown)))
        if self._partly:
            warn(texts.PARTLY_DISTRIBUTED.format(kinds=", ".join(self._partly)))


def sources_of(iterators: Iterable[object]) -> Iterator[object]:
    """Yield the iterators. A `zip` or `map` has no position of its own: yield what it reads."""
    for one in iterators:
        if isinstance(one, _ZIPS):
            yield from sources_of(gc.get_referents(one)[0])  # the first object is the tuple of them
        else:
            yield one


def _neighbours(loop: object) -> tuple[list[object], list[object]]:
    """Return the iterators that a `zip` reads before a loop, and after it, in each step."""
    for group in gc.get_referrers(loop):  # no other function shows what a zip contains
        if type(group) is tuple and any(isinstance(one, _ZIPS) for one in gc.get_referrers(group)):
            place = [one is loop for one in group].index(True)
            return [*group[:place]], [*group[place + 1 :]]
    return [], []


_ZIPS: Final = (zip, map, zip_longest)
