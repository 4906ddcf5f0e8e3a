"""Every result of a collective equals its recomputed combination."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from varsim.analysis import arithmetic, combination
from varsim.analysis.checker import Checker
from varsim.analysis.replay import Replay
from varsim.analysis.sampled import alike, is_part, like, sample_of
from varsim.extension_dtypes import named
from varsim.tracing.history import Event

_Key = tuple[int, str | None, int]
"""The call, the members and the position of a collective."""

_WITHOUT_VALUES: Final = frozenset({"merge_call", "cross_replica", "join"})

_REDUCING: Final = frozenset({"all_reduce", "scan"})
_BY_ELEMENT: Final = _REDUCING | {"broadcast", "all_to_all"}
"""Collectives whose results can be recomputed in a sample."""

_ONE_RESULT: Final = frozenset({"all_reduce", "all_gather", "broadcast"})
"""Collectives that give all replicas the same result."""

_MISSING: Final = "not all values of a collective were recorded"
_OLD: Final = (
    "an earlier version of varsim recorded this run, without the values of collectives: record it "
    "again"
)


class _Open:
    """A collective that the replicas of a running call have entered."""

    def __init__(self, operation: str) -> None:
        self.operation = operation
        self.given: defaultdict[int, list[Event]] = defaultdict(list)  # replica → its arrays
        self.expected: dict[int, list[Any]] | None = None
        self.answered = False
        self.shown: defaultdict[int, int] = defaultdict(int)  # replica → its number of results
        self.first: dict[int, Event] = {}  # index of a result → the first replica's


class Collectives(Checker):
    """Checks the results of collectives that combine values, such as all_reduce.

    Replicas that have joined during the call give zeros.

    The result of a merge_call is not recorded.
    """

    name = "collectives"
    compares = "result"
    promise = "every result of a collective equals its recomputed combination"

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        self._open: dict[_Key, _Open] = {}
        self._failed: set[int] = set()  # failed calls since the last begin of a call

    def concerns(self, variable: int | None) -> bool:
        """Return whether an event belongs to no variable."""
        return variable is None

    def on_arrive(self, event: Event) -> None:
        """Record that a replica enters a collective."""
        if event.position is not None and event.operation not in _WITHOUT_VALUES:
            self._open.setdefault(_key(event), _Open(event.operation or ""))

    def on_give(self, event: Event) -> None:
        """Record an array that a replica gives."""
        found = self._open.get(_key(event))
        if found is not None:
            found.given[event.process].append(event)

    def on_answer(self, event: Event) -> None:
        """Report a record that has no values."""
        found = self._open.get(_key(event))
        if found is not None and not found.given:
            self.undecided(None, _OLD, event.event)

    def on_result(self, event: Event) -> None:
        """Compare an array of a result with the recomputed one."""
        found = self._open.get(_key(event))
        if found is None or event.replica is None:
            if self.replay.from_start:
                self.wrong(None, "a result belongs to no collective", (event.event,))
            return
        present, joined = self.replay.givers(event), self.replay.joined(event)
        if not found.given.keys() >= set(present):
            return  # an arrival is missing, which another checker reports
        joins = [one.event for one in joined.values()]
        proof = (*joins, *(one.event for i in present for one in found.given[i]), event.event)
        if not found.answered:
            found.answered = True
            count = len(event.group) or self.replay.num_replicas
            found.expected = self._expected(found, present, joined, count, proof)
        if found.expected is None:
            self._compare_replicas(found, event, proof)
            return
        mine, index = found.expected.get(event.replica, []), found.shown[event.replica]
        found.shown[event.replica] += 1
        if index >= len(mine):
            self.wrong(None, f"a {found.operation} has too many results", proof)
            return
        self._compare(found, mine[index], event, proof)
        if all(found.shown[i] == len(own) for i, own in found.expected.items()):
            del self._open[_key(event)]

    def _compare_replicas(self, found: _Open, event: Event, proof: tuple[int, ...]) -> None:
        """Compare a result that is not recomputed with those of other replicas."""
        assert event.replica is not None
        index = found.shown[event.replica]
        found.shown[event.replica] += 1
        first = found.first.setdefault(index, event)
        digests = arithmetic.digest_of(first), arithmetic.digest_of(event)
        if found.operation in _ONE_RESULT and None not in digests and digests[0] != digests[1]:
            replicas = f"replicas {first.replica} and {event.replica}"
            self.wrong(None, f"{replicas} have different results of {found.operation}", proof)

    def _compare(self, found: _Open, expected: Any, event: Event, proof: tuple[int, ...]) -> None:
        form = json.loads(event.shape or "[]"), named(event.dtype or "bool")
        held: bool | None = False
        if form == (list(expected.shape), expected.dtype) or is_part(expected):
            held = self.matches(expected.reshape(-1), event)
        if held is None:
            self.unrecorded(None, _MISSING, *proof)
        elif not held:
            reason = f"the result of {found.operation} on replica {event.replica} is wrong"
            self.wrong(None, reason, proof)

    def _expected(
        self,
        found: _Open,
        present: Sequence[int],
        joined: Collection[int],
        count: int,
        proof: tuple[int, ...],
    ) -> dict[int, list[Any]] | None:
        """Return the arrays of each replica's result; report why they are not known."""
        given = {i: [_array_of(one) for one in found.given[i]] for i in present}
        every = [one for own in given.values() for one in own]
        needs_whole = found.operation not in _BY_ELEMENT and any(map(is_part, every))
        if needs_whole or any(one is None for one in every):
            self.unrecorded(None, _MISSING, *proof)
            return None
        arguments = {i: combination.arguments_in(found.given[i][0].note) or {} for i in present}
        known = {i: [one for one in own if one is not None] for i, own in given.items()}
        expected = _combined(found.operation, known, arguments, count, joined)
        if expected is None:
            reason = f"the values of a {found.operation} cannot be combined, but it was answered"
            self.wrong(None, reason, proof)
        return expected

    def on_call(self, event: Event) -> None:  # noqa: ARG002  # the kind is enough
        """Drop the collectives of failed calls, after which some results may have been sent."""
        if self._failed:
            self._open = {key: one for key, one in self._open.items() if key[0] not in self._failed}
            self._failed.clear()

    def on_finish(self, event: Event) -> None:
        """Drop the collectives of a call."""
        if event.note is not None:
            self._failed.add(event.call or 0)
        else:
            self._open = {key: one for key, one in self._open.items() if key[0] != event.call}


def _key(event: Event) -> _Key:
    return event.call or 0, event.members, -1 if event.position is None else event.position


def _combined(
    operation: str,
    given: Mapping[int, Sequence[Any]],
    arguments: Mapping[int, combination.Arguments],
    count: int,
    joined: Collection[int],
) -> dict[int, list[Any]] | None:
    """Return the arrays of each replica's result, as samples where those of the replicas are."""
    sampled = any(is_part(one) for own in given.values() for one in own)
    even = len({len(own) for own in given.values()}) == 1
    if not sampled or not even or operation not in _REDUCING:  # others pass arrays on unchanged
        return combination.expected(operation, given, arguments, count, joined)
    columns = [_alike(every) for every in zip(*given.values(), strict=True)]
    parts = [column for column in columns if column is not None]
    if len(parts) < len(columns):
        return None
    own = dict(zip(given, map(list, zip(*parts, strict=True)), strict=True))
    found = combination.expected(operation, own, arguments, count, joined)
    if found is None:
        return None
    return {
        i: [like(one, part[0]) for one, part in zip(results, parts, strict=True)]
        for i, results in found.items()
    }


def _alike(values: Sequence[Any]) -> Sequence[Any] | None:
    """Return arrays, as samples if any of them is a sample; None if their sizes then differ."""
    if not any(map(is_part, values)):
        return values
    return alike([one.reshape(-1) for one in values])


def _array_of(event: Event) -> Any:
    """Return the array of a `give` event, or its sample; None if neither was recorded."""
    dtype = named(event.dtype or "bool")
    if event.value is None:
        return sample_of(event, dtype)
    return arithmetic.flat(event.value, dtype).reshape(json.loads(event.shape or "[]"))
