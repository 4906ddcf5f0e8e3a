"""Every commit equals its recomputed reduction."""

from __future__ import annotations

from typing import Final

from varsim.analysis import arithmetic, sparse
from varsim.analysis.arithmetic import FlatOperand
from varsim.analysis.checker import Checker
from varsim.analysis.components import ComponentState, ReplayedVariable
from varsim.analysis.open_writes import Change, ReplayedMerge
from varsim.tracing.history import Event

_MISSING: Final = "not all values of a commit were recorded"
_OLD: Final = (
    "an earlier version of varsim recorded this run, without the rows of sparse writes: record it "
    "again"
)
_ANOTHER: Final = "the commit differs from the reduction of the writes"


class Reduction(Checker):
    """Checks that a merge commits the reduction of its contributions.

    The commit of a write by the program must have the written value. Adaptive variables are not
    checked: their commits sum several writes of each replica, and the history does not record the
    order of these writes.
    """

    name = "reduction"
    compares = "commit"
    promise = "every commit equals its recomputed reduction"

    def concerns(self, variable: int | None) -> bool:
        """Return whether the variable is not adaptive, and its promise is known."""
        promise = self.promise_about(variable)
        return promise is not None and promise.is_known and not promise.deferred

    def on_commit(self, event: Event) -> None:
        """Recompute the committed value."""
        change = self.replay.change
        variable = self.variable_of(event)
        if change is None:
            return
        if change.write is not None:
            self._check_write(variable, event, change, change.write.event)
        elif variable.promise.exchanged:
            return  # a checker of the policy's package recomputes the exchange
        elif change.merge is not None:
            self._check_merge(variable, event, change, change.merge)
        elif self.replay.from_start:
            self.wrong(variable, "a commit belongs to no write", (event.event,))

    def _check_write(
        self, variable: ReplayedVariable, event: Event, change: Change, write: Event
    ) -> None:
        shown = write, event
        operand = variable.promise.operand_of(write)
        if operand is None and write.operation == event.operation:
            held = None if event.digest is None else event.digest == write.digest
            self._note(variable, held, shown, _ANOTHER)
            return
        self._check_commit(variable, change, write.operation, operand, shown)

    def _check_merge(
        self, variable: ReplayedVariable, event: Event, change: Change, merge: ReplayedMerge
    ) -> None:
        present = self.replay.givers(event)
        if not merge.writes.keys() >= set(present):
            return  # a contribution is missing, which another checker reports
        writes = [merge.writes[replica] for replica in present]
        operation, promise = writes[0].operation, variable.promise
        in_turn = promise.one_copy and operation in sparse.OPERATIONS
        if promise.aggregation == "ONLY_FIRST_REPLICA" and not in_turn:
            del writes[1:]
        shown = (*writes, event)
        values = [variable.promise.operand_of(one) for one in writes]
        known = [value for value in values if value is not None]
        operand = None
        if len(known) == len(values):
            operand = arithmetic.committed(
                known, operation, promise.aggregation, in_turn=promise.one_copy
            )
            if operand is None:
                reason = "the writes cannot be combined, but were committed"
                self._note(variable, False, shown, reason)
                return
        self._check_commit(variable, change, operation, operand, shown)

    def _check_commit(
        self,
        variable: ReplayedVariable,
        change: Change,
        operation: str | None,
        operand: FlatOperand | None,
        shown: tuple[Event, ...],
    ) -> None:
        event = change.event
        if event.operation == operation:
            held = self.matches(operand, event)
            self._note(variable, held, shown, _ANOTHER)
            if held:
                self._check_fit(variable, change, shown)
        elif event.operation == "assign":
            self._check_result(variable, change, operation, operand, shown)
        else:
            reason = f"{operation} was committed as {event.operation}"
            self._note(variable, False, shown, reason)

    def _check_fit(
        self, variable: ReplayedVariable, change: Change, shown: tuple[Event, ...]
    ) -> None:
        """Check that the operand of a commit fits the value that it changes."""
        if arithmetic.operand_of(change.event, variable.promise.dtype) is None:
            return
        for before, after in dict.fromkeys(change.components.values()):
            if before.value is not None and after.value is None:
                reason = "a commit does not fit the value that it changes"
                self._note(variable, False, shown, reason, before)

    def _check_result(
        self,
        variable: ReplayedVariable,
        change: Change,
        operation: str | None,
        operand: FlatOperand | None,
        shown: tuple[Event, ...],
    ) -> None:
        """Check a commit that has the resulting value in place of the combined operands."""
        for before, _ in dict.fromkeys(change.components.values()):
            after = None
            if operand is not None and before.value is not None:
                after = arithmetic.updated(before.value, operation, operand)
            held = self.matches(after, change.event)
            reason = "the commit differs from the previous value after the writes are applied"
            self._note(variable, held, shown, reason, before)

    def _note(
        self,
        variable: ReplayedVariable,
        held: object,
        shown: tuple[Event, ...],
        reason: str,
        before: ComponentState | None = None,
    ) -> None:
        if held:
            return
        proof = (*(one.event for one in shown), *(before.because() if before is not None else ()))
        if held is None:
            old = any(one.operation in sparse.OPERATIONS and one.dtype is None for one in shown)
            self.unrecorded(variable, _OLD if old else _MISSING, *proof)
        else:
            self.wrong(variable, reason, proof)
