"""The values that replicas give to collectives without a variable, such as all_reduce.

A collective of a variable's `sync` is such a collective, too; it names the variable.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from varsim.analysis import combination
from varsim.analysis.arithmetic import digest_of, flat, is_finite
from varsim.analysis.observer import EventObserver
from varsim.analysis.presence import Presence
from varsim.analysis.sampled import sample_of, statistics_of
from varsim.extension_dtypes import kind_of, max_of, named
from varsim.tracing.history import Event

Leaf = np.ndarray[Any, Any]

SUMS: Final = frozenset({"SUM", "MEAN"})
"""The ops of a collective that add the replicas' values."""

_REDUCED: Final = "reduced"
_WITHOUT_VALUES: Final = frozenset({"merge_call", "join", "host_call"})

_Key = tuple[int | None, str | None, int | None]
"""The call, the members and the position of a collective."""


@dataclass(frozen=True, slots=True)
class Overflow:
    """A result of a collective whose sum exceeds the range of the dtype."""

    dtype: np.dtype[Any]  # of the values that are added
    exact: float  # the result without the limit of the dtype
    got: float  # the result of the collective


@dataclass(slots=True)
class Given:
    """What replicas give to one collective."""

    operation: str  # the method of the program, such as all_reduce
    variable: int | None  # the variable of a sync; None for a collective without a variable
    arrivals: dict[int, Event] = field(default_factory=dict)  # by replica, with the location
    arrays: dict[int, list[Event]] = field(default_factory=dict)  # by replica, in order

    @property
    def first(self) -> Event:
        """Return the arrival of the lowest replica."""
        return self.arrivals[min(self.arrivals)]

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Return the arguments of the collective, such as op; empty if they are not known."""
        arrays = next(iter(self.arrays.values()), [])
        return (arrays and combination.arguments_in(arrays[0].note)) or {}

    @property
    def sums(self) -> bool:
        """Return whether the collective adds the replicas' values."""
        return self.arguments.get("op") in SUMS

    @property
    def is_finite(self) -> bool:
        """Return whether no recorded array of a replica has NaN or an infinity."""
        arrays = (array_of(event) for own in self.arrays.values() for event in own)
        return all(one is None or only_finite(one) for one in arrays)

    def of_one_form(self, givers: Sequence[int]) -> bool:
        """Return whether all these replicas gave the same number of arrays, at least one."""
        return len({len(self.arrays.get(one, ())) for one in givers} - {0}) == 1 and all(
            one in self.arrays for one in givers
        )

    def differ(self, givers: Sequence[int]) -> bool:
        """Return whether these replicas certainly gave different values."""
        digests = {tuple(map(digest_of, self.arrays.get(one, ()))) for one in givers}
        return len(digests) > 1 and not any(None in one for one in digests)

    def overflow(self, givers: Sequence[int], num_members: int) -> Overflow | None:
        """Return the first result whose sum its dtype cannot hold.

        Args:
            givers: The replicas that gave values, in replica order.
            num_members: The number of replicas of the run, or of members of the process group.
        Returns:
            None if all sums fit, or if a value was not recorded.
        """
        if not self.sums or not self.of_one_form(givers):
            return None
        if not any(_may_overflow(column) for column in self._columns(givers)):
            return None
        leaves = {one: [array_of(event) for event in self.arrays[one]] for one in givers}
        known = {i: [one for one in own if one is not None] for i, own in leaves.items()}
        if any(len(known[i]) < len(own) for i, own in leaves.items()):
            return None
        wide = {i: [one.astype(np.float64) for one in own] for i, own in known.items()}
        arguments = {i: combination.arguments_in(self.arrays[i][0].note) or {} for i in givers}
        got = combination.expected(self.operation, known, arguments, num_members)
        exact = combination.expected(self.operation, wide, arguments, num_members)
        if got is None or exact is None:
            return None
        results = (
            _first_over(whole, held, one.dtype)
            for i in givers
            for whole, held, one in zip(exact[i], got[i], known[i], strict=True)
        )
        return next(filter(None, results), None)

    def _columns(self, givers: Sequence[int]) -> list[tuple[Event, ...]]:
        return list(zip(*(self.arrays[one] for one in givers), strict=True))


class CollectiveValues(EventObserver):
    """The values of all collectives that have not ended, and of the one that ends now."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._open: dict[_Key, Given] = {}
        self._syncs: dict[int, int | None] = {}  # replica → the variable that it synchronises
        self.answered: Given | None = None
        """The collective that the current event answers; None if the event answers none."""
        self._answered: dict[_Key, Given] = {}  # of the running calls
        self._results: defaultdict[int, dict[int, tuple[Given, Event]]] = defaultdict(dict)

    def result_of(self, event: Event) -> tuple[str, Event] | None:
        """Return the all_reduce of the same call that gave a replica the value of its write.

        Returns:
            The op, and the arrival of the replica; None if the value is no such result. Only an
            all_reduce of all replicas of the call counts.
        """
        digest = digest_of(event)
        found = None if digest is None else self._results[event.process].get(digest)
        return None if found is None else (str(found[0].arguments.get("op", "")), found[1])

    def on_begin(self, event: Event) -> None:
        """Record that a replica begins a call, in which it has got no result."""
        self._results.pop(event.process, None)

    def on_sync_by_replica(self, event: Event) -> None:
        """Record that the replica's next collective synchronises a variable."""
        self._syncs[event.process] = event.variable

    def on_arrive(self, event: Event) -> None:
        """Record that a replica enters a collective."""
        variable = self._syncs.pop(event.process, None)
        if event.position is None or event.operation in _WITHOUT_VALUES:
            return
        given = self._open.get(_key(event))
        if given is None:
            given = self._open[_key(event)] = Given(event.operation or "", variable)
        given.arrivals[event.process] = event

    def on_give(self, event: Event) -> None:
        """Record an array that a replica gives."""
        if (given := self._open.get(_key(event))) is not None:
            given.arrays.setdefault(event.process, []).append(event)

    def on_answer(self, event: Event) -> None:
        """Find the collective that the program answers."""
        found = self._open.pop(_key(event), None) if event.operation == _REDUCED else None
        self.answered = found if found is not None and found.arrays else None
        if self.answered is not None and self.answered.operation == "all_reduce":
            everyone = len(self.answered.arrivals) == len(self._presence.of(event.call)) > 1
            if everyone and self.answered.variable is None:
                self._answered[_key(event)] = self.answered

    def on_result(self, event: Event) -> None:
        """Record the result that a replica gets."""
        given = self._answered.get(_key(event))
        if given is None or event.replica is None or event.digest is None:
            return
        if (arrival := given.arrivals.get(event.replica)) is not None:
            self._results[event.replica][event.digest] = given, arrival

    def on_abort(self, event: Event) -> None:
        """Drop the collectives of a call, which are never answered."""
        self.on_finish(event)

    def on_finish(self, event: Event) -> None:
        """Drop the collectives of a call."""
        for kept in (self._open, self._answered):
            for key in [key for key in kept if key[0] == event.call]:
                del kept[key]

    def givers(self, event: Event) -> Sequence[int]:
        """Return the replicas that give values to the collective of an event."""
        return self._presence.givers(event)


def array_of(event: Event) -> Leaf | None:
    """Return the array of a `give` event, or its sample; None if neither was recorded."""
    dtype = named(event.dtype or "bool")
    if event.value is None:
        return sample_of(event, dtype)
    value: Leaf = flat(event.value, dtype)
    return value.reshape(json.loads(event.shape or "[]"))


def only_finite(array: Leaf) -> bool:
    """Return whether no element of an array, or of the array of a sample, is NaN or an infinity."""
    elements = array if array.ndim == 1 else array.reshape(-1)
    return kind_of(array.dtype) not in "fc" or is_finite(elements)


def _key(event: Event) -> _Key:
    return event.call, event.members, event.position


def _may_overflow(column: Sequence[Event]) -> bool:
    """Return whether the sum of one array of all replicas can exceed the range of its dtype."""
    dtype = named(column[0].dtype or "bool")
    kind = kind_of(dtype)
    if kind not in "iuf":
        return False
    most = max_of(dtype) if kind == "f" else float(np.iinfo(dtype).max)
    largest = 0.0
    for event in column:
        array, statistics = array_of(event), statistics_of(event)
        if array is None:
            return False
        if statistics is not None:
            largest += max(abs(statistics.largest or 0.0), abs(statistics.smallest or 0.0))
        elif array.size:
            # the largest absolute value; of the smallest integer, this value does not fit
            largest += max(abs(float(array.max())), abs(float(array.min())))
    return most < largest < np.inf


def _first_over(exact: Leaf, got: Leaf, dtype: np.dtype[Any]) -> Overflow | None:
    if kind_of(dtype) == "f":
        over = np.isfinite(exact) & ~np.isfinite(got)
    else:  # integers wrap: the result is another number, and not only rounded
        over = ~np.isclose(exact, got.astype(np.float64), rtol=1e-9, atol=0.0)
    if not over.any():
        return None
    index = np.unravel_index(int(over.argmax()), over.shape)
    return Overflow(dtype, float(exact[index]), float(got[index]))
