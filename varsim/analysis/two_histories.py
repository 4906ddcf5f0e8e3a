"""Compare the histories of two runs: where the operations of each process first differ.

Each process executes its program in order, so the k-th operation of a process on a variable in a
call of one run corresponds to the k-th one in the same call of the other run. Messages have no such
order: they arrive as the network delivers them. So only operations of the program are compared, and
what messages bring is compared when it is read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby, zip_longest
from typing import Any, Final, NamedTuple

import numpy as np

from varsim.analysis.component_distance import largest, ranges
from varsim.analysis.sampled import Sample, sample_of
from varsim.extension_dtypes import named
from varsim.protocol.messages import is_own_call
from varsim.tracing.history import PROGRAM, Event, History
from varsim.tracing.samples import positions

_WRITES: Final = frozenset({"write", "advance", "compress"})
"""The kinds of events with the value that a program writes; they depend on the policy."""

_COMPARED: Final = _WRITES | {
    "create", "read", "give", "take", "sync", "publish", "push", "obtain", "raise",
}  # fmt: skip

Label = tuple[str, int]
"""The name of a variable, and its number among the variables with this name, from 0."""


class _Operation(NamedTuple):
    """One operation of a process, without its value. The names are those of the columns."""

    event: int
    kind: str
    call: int | None
    variable: int | None
    operation: str | None
    replica: int | None
    dtype: str | None
    shape: str | None
    digest: int | None
    times: int | None
    error: str | None
    note: str | None
    step: int = 0  # the number of the call, or of the last call before it
    label: Label | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """Return what must be equal before values are compared."""
        kind = "write" if self.kind in _WRITES else self.kind
        note = self.note if self.kind in {"give", "take"} else None
        return kind, self.label, self.operation, self.replica, self.error, note

    @property
    def value(self) -> tuple[Any, ...]:
        """Return what is known of the value: it differs if this differs."""
        return self.dtype, self.shape, self.digest


_COLUMNS: Final = ", ".join(_Operation._fields[:-2])


class DifferenceKind(Enum):
    """How two operations differ."""

    VALUE = "value"
    OPERATION = "operation"  # the processes do something else
    TIMES = "times"  # the number of equal reads in a row
    MISSING = "missing"  # only one of the processes does a further operation in this call


@dataclass(frozen=True, slots=True)
class Difference:
    """Two operations of the same process that correspond to each other, and differ."""

    kind: DifferenceKind
    process: int  # replica_id; PROGRAM is the program itself
    call: int  # the call of strategy.run, or the last call before it; 0 before the first call
    label: Label | None  # the variable; None for a collective without a variable
    ours: Event | None  # None if this process does no further operation in this call
    theirs: Event | None
    at: int  # the number of an event of the first history, for the causal order
    times: tuple[int, int] = (1, 1)  # how often the operations were done in a row

    @property
    def both(self) -> tuple[Event, ...]:
        """Return the operations that exist."""
        return tuple(one for one in (self.ours, self.theirs) if one is not None)

    @property
    def is_real(self) -> bool:
        """Return whether values differ, and not only the bits of equal values.

        NaN equals NaN, and the two zeros are equal.
        """
        assert self.ours is not None
        assert self.theirs is not None
        return not _is_equal(self.ours, self.theirs)

    @property
    def element(self) -> tuple[tuple[int, ...], Any, Any] | None:
        """Return the index and the two values of the element in which two values differ most.

        None if no such element is known: the dtypes or shapes differ, or the elements that were
        recorded are equal, or the values are rows of a sparse write.
        """
        if self.ours is None or self.theirs is None:
            return None
        one, other = _elements(self.ours), _elements(self.theirs)
        if one is None or other is None or one.dtype != other.dtype or one.shape != other.shape:
            return None
        at = next(iter(largest(ranges([one, other]), 1)), None)
        if at is None:
            return None
        shape = tuple(json.loads(self.ours.shape or "[]"))
        flat = positions(one.count)[at] if isinstance(one, Sample) else at
        return tuple(map(int, np.unravel_index(flat, shape))), one[at], other[at]


@dataclass(slots=True)
class TwoHistories:
    """The result of a comparison of two histories."""

    differences: list[Difference] = field(default_factory=list)
    """The first difference of each variable, and of collectives; in causal order."""
    compared: int = 0  # the number of operations whose values were compared
    steps: tuple[int, int] = (0, 0)  # the last call of each history
    only: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    """The names of the variables that only one of the histories has."""
    replicas: tuple[int, int] = (0, 0)
    unknown: Counter[str] = field(default_factory=Counter)
    """Variable, or "" → the number of values of which nothing was recorded."""
    whole: tuple[bool, bool] = (True, True)  # whether the records are complete
    has_plain: bool = False  # whether replicas used variables that were created outside the scope


def compare_histories(ours: History, theirs: History) -> TwoHistories:
    """Find where two runs of a program first differ.

    The processes that both histories have are compared. Values are compared bit for bit, by their
    digests, so the size of a value does not matter.
    """
    sides = _Side(ours), _Side(theirs)
    found = TwoHistories(
        steps=(_last_call(ours), _last_call(theirs)),
        only=(_missing(sides[0], sides[1]), _missing(sides[1], sides[0])),
        replicas=(ours.num_replicas, theirs.num_replicas),
        whole=(bool(ours.run.get("complete")), bool(theirs.run.get("complete"))),
        has_plain=any(map(_has_plain, (ours, theirs))),
    )
    common = frozenset(sides[0].labels.values()) & frozenset(sides[1].labels.values())
    first: dict[Label | None, Difference] = {}
    for process in range(PROGRAM, min(found.replicas)):
        for one in _Process(process, sides, common, found).differences():
            before = first.get(one.label)
            if before is None or one.at < before.at:
                first[one.label] = one
    found.differences = sorted(first.values(), key=lambda one: one.at)
    return found


class _Side:
    """One of the histories, with the labels of its variables."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.labels: dict[int, Label] = {}
        seen: Counter[str] = Counter()
        for number, row in history.variables.items():
            self.labels[number] = row.name, seen[row.name]
            seen[row.name] += 1

    def operations(self, process: int, common: frozenset[Label]) -> Iterator[_Operation]:
        """Yield the operations of a process that are compared, in the order of its program."""
        kinds = ", ".join(f"'{kind}'" for kind in sorted(_COMPARED | {"call"}))
        rows = self.history.connection.execute(
            f"SELECT {_COLUMNS} FROM events WHERE process = ? AND kind IN ({kinds}) "  # noqa: S608  # our own
            "ORDER BY event",
            (process,),
        )
        step = 0
        sent: set[int | None] = set()  # the variables whose next write repeats a `compress`
        for row in rows:
            one = _Operation(*row)
            if is_own_call(one.call):
                continue
            step = step if one.call is None else one.call
            if one.kind == "compress":
                sent.add(one.variable)
            elif one.kind == "call":
                continue
            elif one.kind == "write" and one.variable in sent:
                sent.discard(one.variable)  # the written value was compared, not what is sent
                continue
            label = None if one.variable is None else self.labels[one.variable]
            if label is None or label in common:
                owner = None if one.replica == process else one.replica  # a merge has no owner
                yield one._replace(step=step, label=label, replica=owner)

    def event(self, number: int) -> Event:
        """Return an event with all columns.

        If only a digest was recorded, as of a large read, the value is that of another event of the
        variable with the same digest, if there is one.
        """
        found = next(self.history.events("event = ?", (number,)))
        if found.value is not None or found.elements is not None or found.digest is None:
            return found
        same = "variable = ? AND digest = ? AND dtype = ? AND shape = ? AND value IS NOT NULL"
        wanted = (found.variable, found.digest, found.dtype, found.shape)
        twin = next(self.history.events(same, wanted), None)
        return found if twin is None else found._replace(value=twin.value)


class _Process:
    """The comparison of one process."""

    def __init__(
        self,
        process: int,
        sides: tuple[_Side, _Side],
        common: frozenset[Label],
        found: TwoHistories,
    ) -> None:
        self._process, self._sides, self._common, self._found = process, sides, common, found
        self._differ: set[Label | None] = set()  # the labels with a difference
        self._at = 0  # the last event of the first history

    def differences(self) -> Iterator[Difference]:
        """Yield the first difference of each variable, call by call."""
        last = min(self._found.steps)
        mine, other = (
            groupby(side.operations(self._process, self._common), lambda one: one.step)
            for side in self._sides
        )
        for step, ours, theirs in _by_step(mine, other):
            if step <= last:
                yield from self._of_call(step, ours, theirs)

    def _of_call(
        self, step: int, ours: Sequence[_Operation], theirs: Sequence[_Operation]
    ) -> Iterator[Difference]:
        """Compare the operations on each variable, and those without a variable.

        The order of operations on different variables depends on the policies: a write that is
        merged is recorded when it is sent.
        """
        mine, other = _by_label(ours), _by_label(theirs)
        self._at = ours[0].event if ours else self._at
        for label in dict.fromkeys([*mine, *other]):
            for one, two in zip_longest(mine.get(label, ()), other.get(label, ())):
                self._at = self._at if one is None else one.event
                if label in self._differ:
                    break
                yield from self._of_pair(step, label, one, two)

    def _of_pair(
        self, step: int, label: Label | None, one: _Operation | None, other: _Operation | None
    ) -> Iterator[Difference]:
        if one is None or other is None:
            yield self._difference(DifferenceKind.MISSING, step, label, one, other)
        elif one.key != other.key:
            yield self._difference(DifferenceKind.OPERATION, step, label, one, other)
        elif one.kind != "raise":
            yield from self._of_values(step, one, other)

    def _of_values(self, step: int, one: _Operation, other: _Operation) -> Iterator[Difference]:
        if None in (one.digest, other.digest):
            self._found.unknown["" if one.label is None else one.label[0]] += 1
            return
        self._found.compared += 1
        if one.value != other.value:
            found = self._difference(DifferenceKind.VALUE, step, one.label, one, other)
            if found.is_real:
                self._differ.add(one.label)
                yield found
        elif one.times != other.times:
            yield self._difference(DifferenceKind.TIMES, step, one.label, one, other)

    def _difference(
        self,
        kind: DifferenceKind,
        step: int,
        label: Label | None,
        one: _Operation | None,
        other: _Operation | None,
    ) -> Difference:
        if kind is not DifferenceKind.VALUE:
            self._differ.add(label)
        ours, theirs = (
            None if found is None else side.event(found.event)
            for side, found in zip(self._sides, (one, other), strict=True)
        )
        first, second = (1 if found is None else found.times or 1 for found in (one, other))
        times = first, second
        return Difference(kind, self._process, step, label, ours, theirs, self._at, times)


def _joined(operations: Sequence[_Operation]) -> list[_Operation]:
    """Join equal reads in a row: other events can be between them in one of the runs only."""
    joined: list[_Operation] = []
    for one in operations:
        before = joined[-1] if joined else None
        if (
            before is not None
            and one.kind == "read"
            and (one.key, one.value) == (before.key, before.value)
        ):
            joined[-1] = before._replace(times=(before.times or 1) + (one.times or 1))
        else:
            joined.append(one._replace(times=one.times or 1))
    return joined


_Steps = Iterator[tuple[int, Iterator[_Operation]]]


def _by_step(
    mine: _Steps, other: _Steps
) -> Iterator[tuple[int, list[_Operation], list[_Operation]]]:
    """Yield each call with the operations of both runs."""
    ours, theirs = next(mine, None), next(other, None)
    while ours is not None or theirs is not None:
        step = min(one[0] for one in (ours, theirs) if one is not None)
        here: list[_Operation] = []
        there: list[_Operation] = []
        if ours is not None and ours[0] == step:
            here, ours = list(ours[1]), next(mine, None)
        if theirs is not None and theirs[0] == step:
            there, theirs = list(theirs[1]), next(other, None)
        yield step, here, there


def _by_label(operations: Sequence[_Operation]) -> dict[Label | None, list[_Operation]]:
    found: dict[Label | None, list[_Operation]] = {}
    for one in operations:
        found.setdefault(one.label, []).append(one)
    return {label: _joined(several) for label, several in found.items()}


def _elements(event: Event) -> np.ndarray | None:
    """Return the recorded elements of a value, flat; None if there are none, or if it has rows."""
    if event.indices is not None or event.dtype is None:
        return None
    if event.value is not None:
        return np.frombuffer(event.value, named(event.dtype))
    return sample_of(event, named(event.dtype))


def _is_equal(one: Event, other: Event) -> bool:
    """Return whether two values with different digests are known to be equal."""
    if (one.dtype, one.shape, one.indices) != (other.dtype, other.shape, other.indices):
        return False
    if one.value is None or other.value is None or one.dtype is None:
        return False
    arrays = [np.frombuffer(event.value or b"", named(one.dtype)) for event in (one, other)]
    return not ranges(arrays).any()


def _last_call(history: History) -> int:
    rows = history.connection.execute("SELECT DISTINCT call FROM events WHERE kind = 'call'")
    return max((call for (call,) in rows if not is_own_call(call)), default=0)


def _missing(one: _Side, other: _Side) -> list[str]:
    """Return the names of the variables that only the first history has."""
    others = set(other.labels.values())
    return list(dict.fromkeys(label[0] for label in one.labels.values() if label not in others))


def _has_plain(history: History) -> bool:
    found = history.connection.execute(
        "SELECT EXISTS (SELECT 1 FROM events WHERE kind = 'notice' AND operation = 'plain')"
    )
    return bool(found.fetchone()[0])
