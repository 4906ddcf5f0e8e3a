"""Check policies in which all replicas exchange components: how often, and with which result."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from varsim.analysis import arithmetic
from varsim.analysis.arithmetic import Flat
from varsim.analysis.checker import Checker, seen_by
from varsim.analysis.components import ReplayedVariable
from varsim.analysis.open_writes import ReplayedMerge
from varsim.analysis.promises import Promise
from varsim.analysis.replay import Replay
from varsim.tracing.history import Event

_MISSING: Final = "not all values of a component were recorded"


class EveryKthWrite(Checker):
    """Checks that a replica exchanges the value of its component at every k-th write.

    It checks no values of exchanges. A subclass has a name, and says which variables it concerns.
    """

    keyword: ClassVar[str]
    """The keyword of the policy."""

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        self._counts: dict[tuple[int, int], int] = {}  # (variable, replica) → local writes
        self._failed: set[int] = set()
        self._aborted: set[tuple[int, int]] = set()  # written by no call since an abort
        self._due: dict[tuple[int, int], int] = {}  # (variable, replica) → its k-th local write

    def concerns(self, variable: int | None) -> bool:
        """Return True for the variables of the policy and for events without a variable."""
        promise = self.promise_about(variable)
        return promise is None or promise.keyword == self.keyword

    def on_create(self, event: Event) -> None:
        """Begin to count the writes of every replica."""
        if event.variable is not None and self.replay.from_start:
            for replica in self.replay.replicas:
                self._counts[event.variable, replica] = 0

    def on_state(self, event: Event) -> None:
        """Go on counting from the number that the replica gets, as after a restart."""
        if event.variable is not None and event.replica is not None:
            mine = event.variable, event.replica
            self._counts.pop(mine, None)
            self._due.pop(mine, None)
            self._aborted.discard(mine)
            count = _recorded_count(event.note or "")
            if count is not None:
                self._counts[mine] = count

    def on_abort(self, event: Event) -> None:
        """Stop counting until the next call.

        An abort resets the replicas' counts, at a time that is not recorded.
        """
        if event.call is not None:
            self._failed.add(event.call)
        self._aborted.update(self._counts)
        self._counts.clear()
        self._due.clear()

    def on_begin(self, event: Event) -> None:
        """Count from 0 after an abort, unless a call that is still running has written since."""
        if event.call not in self._failed:
            again = [mine for mine in self._aborted if mine[1] == event.process]
            self._counts.update(dict.fromkeys(again, 0))
            self._aborted.difference_update(again)

    def on_write_by_replica(self, event: Event) -> None:
        """Count a local write; check that a contribution comes after the k-th local write."""
        variable = self.variable_of(event)
        mine = variable.number, event.process
        if event.call not in self._failed:
            self._aborted.discard(mine)
        if event.position is not None:
            self._contributed(event)
        elif mine in self._counts:
            self._counts[mine] += 1
            if self._counts[mine] == variable.promise.every:
                self._due[mine] = event.event
            elif self._counts[mine] > variable.promise.every:
                reason = f"{seen_by(event)} writes again before its last write was exchanged"
                self.wrong(variable, reason, (event.event,))
                del self._counts[mine]
                self._due.pop(mine, None)

    def on_return(self, event: Event) -> None:
        """Check that the k-th write of a replica was exchanged before its function returns."""
        for mine in [one for one in self._due if one[1] == event.process]:
            write, variable = self._due.pop(mine), self.variables.get(mine[0])
            if variable is not None:
                reason = f"{seen_by(event)} returns before its last write was exchanged"
                self.wrong(variable, reason, (write, event.event))

    def _contributed(self, event: Event) -> None:
        variable = self.variable_of(event)
        mine = variable.number, event.process
        count = self._counts.get(mine)
        self._due.pop(mine, None)
        if event.call not in self._failed:
            self._counts[mine] = 0
        if count is not None and count != variable.promise.every:
            reason = (
                f"{seen_by(event)} exchanges after write {count} instead of write "
                f"{variable.promise.every}"
            )
            self.wrong(variable, reason, (event.event,))
        self.check_value(variable, event)

    def check_value(self, variable: ReplayedVariable, event: Event) -> None:
        """Check that a contribution is the component of its replica."""
        held = variable.at_replica[event.process].value
        same = self.matches(held, event)
        if same is None:
            self.unrecorded(variable, _MISSING, event.event)
        elif not same:
            reason = f"{seen_by(event)} exchanges a value that its component does not have"
            self.wrong(variable, reason, (event.event,))


@dataclass(slots=True, eq=False)
class _Exchange:
    """One exchange: what the record shows, and what the policy promises."""

    merge: ReplayedMerge
    before: Sequence[Flat] = ()
    expected: Sequence[Flat] | None = None  # in replica order; None if it is not known
    copies: tuple[Flat, Flat] | None = None  # the copy before and after; None without a copy
    after: dict[int, Flat] = field(default_factory=dict)  # replica → the recorded component


class Exchanges(EveryKthWrite):
    """Also recomputes every exchange, and the authoritative copy if the policy keeps one.

    A subclass has the method `expected`, and can check further promises in `examine`.
    """

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        self._copies: dict[int, Flat | None] = {}  # variable → its authoritative copy
        self._open: dict[int, _Exchange] = {}  # variable → its last exchange

    @abstractmethod
    def expected(
        self, promise: Promise, components: Sequence[Flat], copy: Flat | None
    ) -> tuple[Sequence[Flat], Flat | None]:
        """Return the components after an exchange, and the authoritative copy.

        Args:
            promise: It has the parameters of the policy as texts.
            components: The component of each replica before the exchange, in replica order.
            copy: The copy before the exchange. The result need not contain a copy if there is none.
        """

    def examine(
        self,
        promise: Promise,  # noqa: ARG002  # by default, nothing is wrong
        before: Sequence[Flat],  # noqa: ARG002
        after: Sequence[Flat],  # noqa: ARG002
        copies: tuple[Flat, Flat] | None,  # noqa: ARG002
    ) -> str:
        """Return what is wrong with the result of an exchange, in words; "" if nothing is.

        Args:
            before: The component of each replica before the exchange, in replica order.
            after: The recorded component of each replica after the exchange.
            copies: The authoritative copy before and after it; None if there is no copy.
        """
        return ""

    def on_create(self, event: Event) -> None:
        """Begin with the initial value as the authoritative copy."""
        super().on_create(event)
        self.on_carry(event)

    def on_carry(self, event: Event) -> None:
        """Begin with the copy of an earlier incarnation."""
        assert event.variable is not None
        if event.replica is None:
            dtype = self.replay.promises[event.variable].dtype
            self._copies[event.variable] = arithmetic.value_of(event, dtype)

    def on_write_by_program(self, event: Event) -> None:
        """Apply a write of the program to all components to the copy, too."""
        assert event.variable is not None
        promise = self.replay.promises[event.variable]
        if event.replica is not None or not promise.copy:
            return
        before = self._copies.get(event.variable)
        operand = arithmetic.operand_of(event, promise.dtype)
        after = None
        if before is not None and operand is not None:
            after = arithmetic.updated(before, event.operation, operand)
        self._copies[event.variable] = after

    def on_read_by_program(self, event: Event) -> None:
        """Check that the program reads the authoritative copy, if the policy keeps one."""
        variable = self.variable_of(event)
        if event.replica is not None or not variable.promise.copy:
            return
        copy = self._copies.get(variable.number)
        held = self.matches(copy, event)
        if held is None:
            self.unrecorded(variable, "the authoritative copy was not recorded", event.event)
        elif not held:
            reason = "the value that the program read is not the authoritative copy"
            self.wrong(variable, reason, (event.event,))

    def on_commit(self, event: Event) -> None:
        """Compare the new component of one replica with the recomputed exchange."""
        change, variable = self.replay.change, self.variable_of(event)
        if change is None or change.merge is None:
            return
        exchange = self._open.get(variable.number)
        if exchange is None or exchange.merge is not change.merge:
            exchange = self._open[variable.number] = self._recomputed(variable, change.merge)
        proof = (*(one.event for one in change.merge.writes.values()), event.event)
        if event.replica is None:
            self.wrong(variable, "an exchange gives all replicas one component", proof)
            return
        expected = exchange.expected
        held = self.matches(None if expected is None else expected[event.replica], event)
        if held is None:
            self.unrecorded(variable, "not all values of an exchange were recorded", *proof)
        elif not held:
            reason = f"replica {event.replica} gets another component than the exchange gives"
            self.wrong(variable, reason, proof)
        after = arithmetic.value_of(event, variable.promise.dtype)
        if after is not None and expected is not None:
            exchange.after[event.replica] = after
            self._examine(variable, exchange, proof)

    def _examine(
        self, variable: ReplayedVariable, exchange: _Exchange, proof: tuple[int, ...]
    ) -> None:
        after = [exchange.after.get(replica) for replica in self.replay.replicas]
        known = [value for value in after if value is not None]
        if len(known) == len(after):
            wrong = self.examine(variable.promise, exchange.before, known, exchange.copies)
            if wrong:
                self.wrong(variable, wrong, proof)

    def _recomputed(self, variable: ReplayedVariable, merge: ReplayedMerge) -> _Exchange:
        """Return an exchange with the expected components; update the copy."""
        promise, number = variable.promise, variable.number
        dtype = promise.dtype
        writes = [merge.writes.get(replica) for replica in self.replay.replicas]
        values = [None if one is None else arithmetic.value_of(one, dtype) for one in writes]
        known = [value for value in values if value is not None]
        copy = self._copies.get(number) if promise.copy else None
        if len(known) < len(values) or (promise.copy and copy is None):
            self._copies[number] = None
            return _Exchange(merge)
        expected, new_copy = self.expected(promise, known, copy)
        copies = None if copy is None or new_copy is None else (copy, new_copy)
        if copies is not None:
            self._copies[number] = new_copy
        return _Exchange(merge, known, expected, copies)


def _recorded_count(note: str) -> int | None:
    """Return the recorded number of writes since the last exchange; None if it makes no sense."""
    try:
        count = json.loads(note).get("writes", 0)
    except (ValueError, AttributeError, RecursionError):
        return None
    return count if type(count) is int else None
