"""Handle the writes of a replica's program: a write is local, or a contribution to a merge."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np

from varsim.protocol.buckets import PACK_LIMIT_BYTES
from varsim.protocol.messages import (
    BoundedWrite,
    CopyRequest,
    FreshCopy,
    Granted,
    HostResult,
    Joined,
    Merged,
    Passed,
    Reduced,
    Scatter,
    Write,
)
from varsim.spec import Array, Context, Operation, Rows, VariableAggregation
from varsim.sync import fixes, reduce, scatter
from varsim.sync.actions import (
    Abandon,
    Await,
    Proceed,
    ReplicaAction,
    ShowValue,
    Supply,
)
from varsim.sync.clock import Clock
from varsim.sync.components import (
    ReplicaVariable,
    WriteRule,
    check_operand,
    check_shape,
)
from varsim.sync.event_log import InvalidTransition
from varsim.sync.policies.cell import Cell
from varsim.sync.policies.legality import check_arithmetic
from varsim.sync.replica_bounded import check_copy, check_renewal
from varsim.sync.replica_call import ReplicaCall
from varsim.sync.replica_events import (
    BufferRequest,
    ComponentWrite,
    ReplicaRead,
    ReplicaScatter,
    ReplicaWrite,
    RowsRead,
)
from varsim.sync.replica_operations import NOT_RUNNING, ReplicaOperations

AFTER_OTHERS: Final = (Reduced, Merged, Joined, HostResult, Granted, Passed)
"""The answers to operations with other replicas or the program. What these have written to a copy
before must be in the next read."""

_UNTIL_RENEWED: Final = 2**62
"""In place of the index of a contribution: no commit makes a cache fresh, but only a renewal."""

_NOTHING: Final[tuple[ReplicaAction, ...]] = ()


class ReplicaWrites(ReplicaOperations):
    """Decides, for one replica, the effect of every write of its program.

    The base class has the operations that the cells of policies use.
    """

    # ------------------------------------------------------------ writes

    def _write(
        self,
        write: ReplicaWrite,
        contributes: bool = False,  # noqa: FBT001, FBT002  # a keyword makes every write 2 % slower
    ) -> Sequence[ReplicaAction]:
        """Write a variable in replica context: locally, or as a contribution to a merge.

        Args:
            contributes: True to contribute to a merge, even if `rule.own` is not None.
        """
        call = self._going_on
        if call is None:
            return self._refuse_to_go_on()
        variable = self._variables.get(write.variable_id) or self.components.find(write.variable_id)
        value = write.value
        rule = variable.rules[write.operation]
        key: Hashable = write.location
        if value.shape != variable.shape or variable.is_limited:
            self._check(variable, rule, value)
            key = write.location, value.shape
        if rule.is_sent or contributes:
            own: bytes | Array | None = None
            if variable.is_needed:
                small = variable.is_small or value.nbytes <= PACK_LIMIT_BYTES
                own = value.tobytes() if small else self._buffers.to_send(value)
            self._outbox.add((rule.known.get(key) or rule.learn(key, write), own))
            variable.owed_to = call.call_id
            variable.owed_index = call.next_index
            call.next_index += 1
            if variable.is_open and write.operation is Operation.ASSIGN:
                variable.coming = value
            return _NOTHING
        if rule.refused is not None:
            raise fixes.refusal_of_replica_write(
                variable.spec, rule.refused, write.operation, value, self.num_replicas
            )
        if rule.own is not None:
            actions = rule.own.write(self, variable, write.operation, value, write.location)
            return self._continued(rule.own, variable, actions)
        if not variable.writes:
            self._touched[write.variable_id] = variable
        variable.writes += 1
        if rule.is_deferred:
            kept = self._buffers.to_keep(value) if variable.is_needed else None
            is_full = self._deferred.write(write.variable_id, write.operation, kept)
            return self._wait_for(variable, reads=False) if is_full else _NOTHING
        if not variable.block.is_single:
            self.components.separate(variable)
        variable.write_locally(write.operation, value)
        if rule.diverges:
            self._diverge(variable, write)
        return _NOTHING

    def contribute(self, variable: ReplicaVariable, value: Array, location: str) -> None:
        """Contribute an assign of this value to a merge of all replicas."""
        write = ReplicaWrite(variable.spec.variable_id, Operation.ASSIGN, value, location)
        self._write(write, True)

    def _continued(
        self, cell: Cell, variable: ReplicaVariable, actions: Sequence[ReplicaAction]
    ) -> Sequence[ReplicaAction]:
        """Return the actions of a cell for a write, after which the program can continue.

        If the last action is a wait for an answer, the cell gets this answer.
        """
        if not actions:
            return actions
        if not isinstance(actions[-1], Await | Proceed):
            return [*actions, Proceed()]
        call = self._innermost()
        if call.awaits_answer is not None:
            call.obtains = cell, variable
        return actions

    def _read_by(
        self, cell: Cell, variable: ReplicaVariable, read: ReplicaRead | RowsRead
    ) -> Sequence[ReplicaAction]:
        """Let the cell of a policy prepare a read; then show what the program reads."""
        actions = cell.read(self, variable)
        if actions and isinstance(actions[-1], Await):
            call = self._innermost()
            call.obtains, call.shows = (cell, variable), read
            return actions
        return [*actions, self._shown_by(read, variable)]

    def _obtain(
        self, call: ReplicaCall, cell: Cell, variable: ReplicaVariable, value: Array
    ) -> Sequence[ReplicaAction]:
        """Give a cell the answer for which it waits; then let the program continue."""
        call.awaits_answer, call.obtains = None, None
        actions = cell.obtained(self, variable, value)
        if actions and isinstance(actions[-1], Await):
            call.obtains = cell, variable
            return actions
        read, call.shows = call.shows, None
        return [*actions, Proceed() if read is None else self._shown_by(read, variable)]

    def _refuse_to_go_on(self) -> Sequence[ReplicaAction]:
        if self.aborted is None:
            raise InvalidTransition(NOT_RUNNING)
        return [Abandon(self.aborted)]

    def _check(self, variable: ReplicaVariable, rule: WriteRule, value: Array) -> None:
        """Raise an error if the dtype or the shape of a value does not fit the variable."""
        check_arithmetic(variable.spec, rule.operation, self.num_replicas if rule.combines else 1)
        check_shape(variable.spec, rule.operation, self._coming_shape(variable), value)

    def _coming_shape(self, variable: ReplicaVariable) -> tuple[int, ...]:
        """Return the shape of the component after all expected commits."""
        if not self.owes_merge(variable):
            variable.coming = None
        if variable.coming is not None:
            return variable.coming.shape
        return variable.block.shape(variable.slot)

    def _diverge(self, variable: ReplicaVariable, write: ReplicaWrite | ReplicaScatter) -> None:
        """Warn once per variable that the components of a mirrored variable now differ."""
        spec = variable.spec
        if spec.variable_id in self._warned or self.num_replicas == 1:
            return
        self._warned.add(spec.variable_id)
        value = write.value if isinstance(write, ReplicaWrite) else None
        text = fixes.warning_of_divergence(spec, write.operation, value, self.num_replicas)
        self._report.warn(text, write.location)

    def _supply(self, request: BufferRequest) -> Sequence[ReplicaAction]:
        variable = self.components.find(request.variable_id)
        return [Supply(self._buffers.supply(variable.component().shape, variable.spec.dtype))]

    def _write_component(self, write: ComponentWrite) -> Sequence[ReplicaAction]:
        """Write this replica's component directly, without applying the policy."""
        variable = self.components.find(write.variable_id)
        check_arithmetic(variable.spec, write.operation, 1)
        shape = variable.block.shape(variable.slot)
        check_operand(variable.spec, write.operation, shape, write.operand)
        self.write_locally(variable, write.operation, write.operand)
        return _NOTHING

    # ------------------------------------------------------------ sparse writes

    def _scatter(self, event: ReplicaScatter) -> Sequence[ReplicaAction]:
        """Write rows of a variable: locally, or as a contribution to a merge."""
        call = self._going_on
        if call is None:
            return self._refuse_to_go_on()
        variable = self.components.find(event.variable_id)
        operation, rows = event.operation, event.rows
        rule = variable.rule(operation)
        if rule.refused is not None:
            raise fixes.refusal_of_rows(variable.spec, rule.refused, Context.REPLICA, operation)
        shape = self._coming_shape(variable)
        scatter.check_rows(variable.spec, operation, shape, rows)
        if rule.own is not None:
            actions = rule.own.write(self, variable, operation, rows, event.location)
            return self._continued(rule.own, variable, actions)
        if rule.is_deferred:
            variable.writes += 1
            self._touched[event.variable_id] = variable
            kept = rows if variable.is_needed else None
            is_full = self._deferred.write(event.variable_id, operation, kept)
            return self._wait_for(variable, reads=False) if is_full else _NOTHING
        if not rule.is_sent:
            self.write_locally(variable, operation, rows)
            if rule.diverges:
                self._diverge(variable, event)
            return _NOTHING
        if self.replica_id and rule.joins_by is VariableAggregation.ONLY_FIRST_REPLICA:
            rows = Rows(rows.indices[:0], rows.values[:0])
        write = Write(event.variable_id, operation, shape, event.location)
        self._outbox.add_alone(
            call.call_id,
            call.left,
            lambda at: Scatter(call_id=call.call_id, position=at, write=write, rows=rows),
        )
        call.owe(variable)
        return _NOTHING

    # ------------------------------------------------------------ writes to a copy

    def write_to_copy(
        self,
        variable: ReplicaVariable,
        operation: Operation,
        operand: Array,
        bound: int,
        location: str,
    ) -> Sequence[ReplicaAction]:
        """Send a write of the coordinator's copy; wait if this replica is too far ahead.

        Args:
            bound: The number of writes by which this replica may be ahead of the slowest one.
        Raises:
            VariableError: The dtype or the shape of the variable does not allow the write; nothing
                has changed.
        """
        spec = variable.spec
        check_copy(spec, operation, self.num_replicas)
        call = self._innermost()
        clock = call.clocks.setdefault(spec.variable_id, Clock())
        clock.writes += 1
        variable.writes += 1
        self._touched[spec.variable_id] = variable
        operand = self._buffers.to_send(operand)
        waits = clock.writes - bound > clock.slowest
        sent = self._flush(
            BoundedWrite(
                call_id=call.call_id,
                variable_id=spec.variable_id,
                operation=operation,
                clock=clock.writes,
                waits=waits,
                operand=operand,
                location=location,
            )
        )
        if waits:
            self._distrust(variable, call)
            call.awaits, call.reads = variable, False
            return [*sent, Await(may_block=False)]
        if not self.owes_merge(variable):
            part = reduce.part_of(operand, spec.aggregation, self.num_replicas)
            variable.write_locally(operation, part)
            variable.diverged = False  # the coordinator has the write, too
        return [*sent, Proceed()]

    def _distrust_caches(self, call: ReplicaCall) -> None:
        """Let the next read of each cache renew it, because the copy may have changed."""
        for variable in self._caches.values():
            self._distrust(variable, call)

    def _distrust(self, variable: ReplicaVariable, call: ReplicaCall) -> None:
        variable.owed_to, variable.owed_index = call.call_id, _UNTIL_RENEWED

    def _request_copy(
        self, call: ReplicaCall, variable_id: int, location: str
    ) -> list[ReplicaAction]:
        """Send the outbox, and request the copy for the variable's cache."""
        return self._flush(
            CopyRequest(call_id=call.call_id, variable_id=variable_id, location=location)
        )

    def _renew(self, copy: FreshCopy) -> Sequence[ReplicaAction]:
        """Replace a cache; the program, which waits for it, continues."""
        call = self._calls[-1] if self._calls else None
        if call is None or call.call_id != copy.call_id or self.aborted is not None:
            return _NOTHING  # the copy was sent before the call failed
        variable = self.components.find(copy.variable_id)
        check_renewal(copy, variable, call)
        variable.block.install(copy.value, np.array([copy.version], np.int64))
        variable.owed_to = 0
        call.clocks.setdefault(copy.variable_id, Clock()).slowest = copy.slowest
        return self._resume()

    # ------------------------------------------------------------ waits

    def _shown(self, variable: ReplicaVariable) -> ShowValue:
        variable.reads += 1
        self._touched[variable.spec.variable_id] = variable
        return ShowValue(variable.block.show(variable.slot))

    def _shown_rows(self, variable: ReplicaVariable, key: tuple[Array, ...]) -> ShowValue:
        """Show a copy of some rows. A view would keep the whole component in memory."""
        variable.reads += 1
        self._touched[variable.spec.variable_id] = variable
        rows = np.array(variable.component()[key])
        rows.setflags(write=False)
        return ShowValue(rows)

    def _shown_by(self, read: ReplicaRead | RowsRead, variable: ReplicaVariable) -> ShowValue:
        """Show what a read wants, whose cell has prepared it."""
        if isinstance(read, RowsRead):
            return self._shown_rows(variable, read.key)
        return self._shown(variable)

    def _resume(self) -> Sequence[ReplicaAction]:
        """Let the program continue if its wait is over."""
        if not self._calls:
            return _NOTHING
        call = self._calls[-1]
        variable = call.awaits
        if self.aborted is not None and (variable is not None or call.awaits_answer):
            call.awaits, call.awaits_answer, call.obtains = None, None, None
            return [Abandon(self.aborted)]
        if variable is None or self._owes(variable):
            return _NOTHING
        call.awaits = None
        return [self._shown(variable) if call.reads else Proceed()]

    def _wait_for(self, variable: ReplicaVariable, *, reads: bool) -> Sequence[ReplicaAction]:
        call = self._innermost()
        call.awaits, call.reads = variable, reads
        return [Await(may_block=True)]

    def owes(self, variable_id: int) -> bool:
        """Return whether this replica has uncommitted writes, for which a read must wait."""
        return self._owes(self.components.find(variable_id))

    def _owes(self, variable: ReplicaVariable) -> bool:
        return self.owes_merge(variable) or self._deferred.owes(variable.spec.variable_id)

    OF_WRITES: ClassVar[Mapping[type, Callable[[Any, Any], Sequence[ReplicaAction]]]] = {
        ReplicaWrite: _write,
        ReplicaScatter: _scatter,
        ComponentWrite: _write_component,
        BufferRequest: _supply,
        FreshCopy: _renew,
    }
    """Class of an event that concerns writes → the method that handles it."""
