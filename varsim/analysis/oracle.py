"""The single-device oracle: the same program's run on one replica.

Variables of the two runs correspond by name. If several variables have the same name, the k-th
variable of one run corresponds to the k-th variable of the other run. Accesses at one location
(file:line) correspond in order, if both runs have the same number of accesses there. If the numbers
differ, the program took another path, and these accesses do not correspond.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from varsim.analysis.arithmetic import (
    Flat,
    FlatOperand,
    elements_of,
    is_equal,
    known_operand_of,
)
from varsim.extension_dtypes import named
from varsim.spec import Rows
from varsim.tracing.history import PROGRAM, Event, History, VariableRow

FIRST_REPLICA = 0
"""The oracle's only replica. Its accesses are compared with those of replica 0 in the run."""


_Repeated = tuple[FlatOperand | None, int]
"""An operand or a value, and how often in a row it was written or read."""

AccessKey = tuple[int, str, int, str]
"""Key of the access counts: the variable, the kind of event, the process, file:line."""


class Uneven(NamedTuple):
    """Numbers of accesses at a location where the two runs differ in them."""

    here: int  # in the run
    there: int  # on a single device
    common: int  # before the paths of the two runs part


class Oracle:
    """The record of the run on one replica, read together with the record of the run itself."""

    def __init__(self, history: History, oracle: History) -> None:
        self._history = history
        self._oracle = oracle
        self.counts_replicas = history.counts_replicas
        self._twins = twins(history, oracle)
        self._accesses: dict[AccessKey, Iterator[_Repeated]] = {}
        self._left: dict[AccessKey, _Repeated] = {}  # the last access, and its unused repetitions
        self._prefixes: dict[int, Counter[tuple[int, str, str]]] = {}  # process → its accesses
        self.uneven: dict[AccessKey, Uneven] = {}
        """The keys with different numbers of accesses in the run and in the oracle."""

    def knows(self, variable: int) -> bool:
        """Return whether both runs have the variable, with equal shape, dtype and initial value."""
        return not self.why_unknown(variable)

    def why_unknown(self, variable: int) -> str:
        """Return, as a clause, why a variable has no counterpart; "" if it has a counterpart."""
        twin = self._twins.get(variable)
        if twin is None:
            return "a single device has no variable of that name, shape and dtype"
        one, other = self.created(variable), _created(self._oracle, twin)
        if one is None or other is None:
            return "its initial value was not recorded"
        if is_equal(one, other):
            return ""
        return f"it begins with {_shown(one)}, and on a single device with {_shown(other)}"

    def created(self, variable: int) -> Flat | None:
        """Return the initial value of a variable of this run."""
        return _created(self._history, self._history.variables[variable])

    def next_wrote(self, variable: int, process: int, location: str) -> FlatOperand | None:
        """Return the next operand that the oracle's program or replica writes at the location."""
        return self._next(variable, "write", process, location, 1)[0]

    def next_read(self, variable: int, location: str, most: int) -> tuple[Flat | None, int]:
        """Return the next value of a variable that the program reads at a location.

        Args:
            most: How many times in a row the run has read its value.
        Returns:
            The value, and how many of these reads it corresponds to. If there are fewer
            than `most`, the oracle has read another value after these reads.
        """
        value, times = self._next(variable, "read", PROGRAM, location, most)
        assert not isinstance(value, Rows), "only writes have rows"
        return value, times

    def _next(
        self, variable: int, kind: str, process: int, location: str, most: int
    ) -> tuple[FlatOperand | None, int]:
        key = variable, kind, process, location
        accesses = self._accesses.get(key)
        if accesses is None:
            accesses = self._accesses[key] = self._same_accesses(*key)
        kept = self._left.pop(key) if key in self._left else None
        value, left = kept or next(accesses, (None, most))
        if left > most:
            self._left[key] = value, left - most
        return value, min(left, most)

    def _same_accesses(
        self, variable: int, kind: str, process: int, location: str
    ) -> Iterator[_Repeated]:
        twin = self._twins.get(variable)
        if twin is None:
            return
        here = _accesses(self._history, variable, kind, process, location)
        there = _accesses(self._oracle, twin.variable, kind, process, location)
        often = sum(one.occurrences for one in here), sum(one.occurrences for one in there)
        left = often[1]
        if often[0] != often[1]:
            left = self._common(process).get((variable, kind, location), 0)
            self.uneven[variable, kind, process, location] = Uneven(*often, left)
        dtype, shape = named(twin.dtype), json.loads(twin.shape)
        for event in _accesses(self._oracle, twin.variable, kind, process, location):
            if left <= 0:
                return
            yield known_operand_of(event, dtype, shape), min(event.occurrences, left)
            left -= event.occurrences

    def _common(self, process: int) -> Counter[tuple[int, str, str]]:
        """Return how often each access occurs before the paths of the two runs part."""
        if process not in self._prefixes:
            names = {one.variable: number for number, one in self._twins.items()}
            here = _path(self._history, process, {number: number for number in self._twins})
            there = _path(self._oracle, process, names)
            self._prefixes[process] = _common_prefix(here, there)
        return self._prefixes[process]


def twins(history: History, oracle: History) -> dict[int, VariableRow]:
    """Return, for each variable of a run, the corresponding variable of the oracle."""
    theirs = _numbered(oracle)
    found = {}
    for key, row in _numbered(history).items():
        other = theirs.get(key)
        if other is not None and (row.shape, row.dtype) == (other.shape, other.dtype):
            found[row.variable] = other
    return found


def _numbered(history: History) -> dict[tuple[str, int], VariableRow]:
    seen: Counter[str] = Counter()
    rows = {}
    for row in history.variables.values():
        rows[row.name, seen[row.name]] = row
        seen[row.name] += 1
    return rows


def _created(history: History, row: VariableRow) -> Flat | None:
    events = history.events("variable = ? AND kind = 'create'", (row.variable,))
    return next((elements_of(event, named(row.dtype)) for event in events), None)


def _accesses(
    history: History, variable: int, kind: str, process: int, location: str
) -> Iterator[Event]:
    """Return the accesses of a replica, or the program's accesses to all components together."""
    whole = "AND replica IS NULL" if process == PROGRAM else ""
    where = f"variable = ? AND kind = ? AND process = ? AND location = ? {whole}"
    return history.events(where, (variable, kind, process, location))


_Step = tuple[tuple[int, str, str], int]
"""An access (the variable in the run, the kind, the location), and how often it is repeated."""


def _path(history: History, process: int, names: Mapping[int, int]) -> Iterator[_Step]:
    """Yield the reads and writes of a process, in order, as far as both runs have the variable.

    Args:
        names: The number of a variable in this history → its number in the run.
    """
    whole = "AND replica IS NULL" if process == PROGRAM else ""
    where = f"process = ? AND kind IN ('read', 'write') AND location IS NOT NULL {whole}"
    key, count = None, 0
    for event in history.events(where, (process,)):
        variable = names.get(event.variable or 0)
        if variable is None:
            continue
        this = variable, event.kind, event.location or ""
        if this != key:
            if key is not None:
                yield key, count
            key, count = this, 0
        count += event.occurrences
    if key is not None:
        yield key, count


def _common_prefix(here: Iterator[_Step], there: Iterator[_Step]) -> Counter[tuple[int, str, str]]:
    """Return how often each access occurs before two paths part."""
    common: Counter[tuple[int, str, str]] = Counter()
    for (key, count), (other, other_count) in zip(here, there, strict=False):
        if key != other:
            break
        common[key] += min(count, other_count)
        if count != other_count:
            break
    return common


def _shown(value: Flat) -> str:
    """Return a value as text: a scalar, or the first elements."""
    few = [f"{one:.6g}" if isinstance(one, float) else str(one) for one in value[:3].tolist()]
    return few[0] if len(value) == 1 else f"[{' '.join(few)}{' …' if len(value) > 3 else ''}]"
