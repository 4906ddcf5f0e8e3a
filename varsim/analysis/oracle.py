"""The single-device oracle: what the same program did on one replica, beside what it did on many.

Variables are the same if they have the same name; of several with one name, the k-th of both runs.
What was done at one place (file:line) is compared in order: the k-th there with the k-th there, if
both runs did it equally often. Otherwise the program went another way, and nothing corresponds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from varsim.analysis.arithmetic import Flat, value_of
from varsim.tracing.history import PROGRAM, Event, History, VariableRow

FIRST_REPLICA = 0
"""The only one that an oracle has; and the one of a run whose deeds are counted."""


Place = tuple[int, str, int, str]
"""Of what can be counted: the variable, the kind of event, the process, file:line."""


class Oracle:
    """The record of the run on one replica, which is asked in the order of the other run."""

    def __init__(self, history: History, oracle: History) -> None:
        self._history = history
        self._oracle = oracle
        self._twins = twins(history, oracle)
        self._deeds: dict[Place, Iterator[Flat | None]] = {}
        self.uneven: dict[Place, tuple[int, int]] = {}
        """How often the run did something, and how often the oracle, where that is not the same."""

    def knows(self, variable: int) -> bool:
        """Whether both runs have a variable, alike and with the same value when it was created."""
        return not self.why_unknown(variable)

    def why_unknown(self, variable: int) -> str:
        """Why a variable of the run can be compared with none, in a clause; "" if it can."""
        twin = self._twins.get(variable)
        if twin is None:
            return "a single device has no variable of that name, shape and dtype"
        one, other = self.created(variable), _created(self._oracle, twin)
        if one is None or other is None:
            return "its initial value was not recorded"
        if one.tobytes() == other.tobytes():
            return ""
        return f"it begins with {_shown(one)}, and on a single device with {_shown(other)}"

    def created(self, variable: int) -> Flat | None:
        """The value with which a variable of this run began."""
        return _created(self._history, self._history.variables[variable])

    def next_wrote(self, variable: int, process: int, place: str) -> Flat | None:
        """What is written next at a place: by the program, or else by the one replica."""
        return self._next(variable, "write", process, place)

    def next_read(self, variable: int, place: str) -> Flat | None:
        """What the program reads next of a variable at a place."""
        return self._next(variable, "read", PROGRAM, place)

    def _next(self, variable: int, kind: str, process: int, place: str) -> Flat | None:
        key = variable, kind, process, place
        deeds = self._deeds.get(key)
        if deeds is None:
            deeds = self._deeds[key] = self._same_deeds(*key)
        return next(deeds, None)

    def _same_deeds(
        self, variable: int, kind: str, process: int, place: str
    ) -> Iterator[Flat | None]:
        twin = self._twins.get(variable)
        if twin is None:
            return
        here = _deeds(self._history, variable, kind, process, place)
        there = _deeds(self._oracle, twin.variable, kind, process, place)
        often = sum(one.occurrences for one in here), sum(one.occurrences for one in there)
        if often[0] != often[1]:
            self.uneven[variable, kind, process, place] = often
            return
        dtype = np.dtype(twin.dtype)
        for event in _deeds(self._oracle, twin.variable, kind, process, place):
            for _ in range(event.occurrences):
                yield value_of(event, dtype)


def twins(history: History, oracle: History) -> dict[int, VariableRow]:
    """For each variable of a run, the oracle's that is the same."""
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
    return next((value_of(event, np.dtype(row.dtype)) for event in events), None)


def _deeds(history: History, variable: int, kind: str, process: int, place: str) -> Iterator[Event]:
    """Those of a replica; or of the program, to all components."""
    whole = "AND replica IS NULL" if process == PROGRAM else ""
    where = f"variable = ? AND kind = ? AND process = ? AND location = ? {whole}"
    return history.events(where, (variable, kind, process, place))


def _shown(value: Flat) -> str:
    """A value in a sentence: a scalar, or the first elements."""
    few = [f"{one:.6g}" if isinstance(one, float) else str(one) for one in value[:3].tolist()]
    return few[0] if len(value) == 1 else f"[{' '.join(few)}{' …' if len(value) > 3 else ''}]"
