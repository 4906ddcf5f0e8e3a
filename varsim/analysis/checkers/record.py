"""The record itself: its rows are valid, and they are in a possible order."""

from __future__ import annotations

from varsim.analysis.checker import Checker, seen_by
from varsim.analysis.integrity import RowIntegrity
from varsim.analysis.replay import Replay
from varsim.texts.facts import name_replicas
from varsim.tracing.history import PROGRAM, Event

_ENDS = frozenset({"return", "raise"})
_ENTERS_OR_ENDS = _ENDS | {"begin"}


class WellFormedRecord(Checker):
    """Checks that every row is valid, and that the events of each process are in order.

    The pass ends at the first event that is invalid or out of order, because later events would
    prove nothing.
    """

    name = "record"
    promise = "the record is whole, and in causal order"

    def __init__(self, replay: Replay, rows: RowIntegrity) -> None:
        super().__init__(replay)
        self._rows = rows
        processes = range(replay.num_replicas + 1)  # the program is process -1: the last one
        first = 0 if replay.from_start else None  # None: unknown until the first event
        self._next: list[int | None] = [first for _ in processes]  # next number of each process
        self._at = [0 for _ in processes]  # last event of each process
        self._calls: list[list[int]] = [[] for _ in processes]  # running calls, innermost last
        self._knows_calls = replay.from_start
        if replay.cut_short:
            whose = name_replicas(list(replay.cut_short))
            self.promise = f"the record is in causal order; that of {whose} ends with the worker"

    def accepts(self, event: Event) -> bool:
        """Return whether the event is valid; the pass ends at the first invalid event."""
        flaw = self._rows.flaw(event)
        if flaw is not None:
            at = event.event if type(event.event) is int else 0
            self.wrong(None, f"event {event.event} is invalid: {flaw}", (at,))
            return False
        process, number = event[1], event[2]  # by index: twice as fast as by name
        expected = self._next[process]
        if number != expected and expected is not None:
            reason = f"{seen_by(event)} has event {number} instead of {expected}"
            self.wrong(None, reason, (self._at[process], event.event))
            return False
        self._next[process] = number + 1
        self._at[process] = event[0]
        if process == PROGRAM or not self._knows_calls:
            return True
        call, calls = event[5], self._calls[process]
        if call is not None and calls and calls[-1] == call and event[4] not in _ENTERS_OR_ENDS:
            return True  # the usual case
        if not self._runs(event):
            reason = f"{seen_by(event)} acts in call {event.call}, which is not running there"
            self.wrong(None, reason, (event.event,))
            return False
        return True

    def _runs(self, event: Event) -> bool:
        """Return whether a replica is in the call of an event.

        A call that was aborted may have no end in the record.
        """
        call = event.call
        calls = self._calls[event.process]
        if event.kind == "begin":
            assert call is not None, "a begin without a call makes no sense"
            calls.append(call)
            return True
        if call is None:
            return True
        while calls and calls[-1] != call:
            calls.pop()
        if not calls:
            return False
        if event.kind in _ENDS:
            calls.pop()
        return True
