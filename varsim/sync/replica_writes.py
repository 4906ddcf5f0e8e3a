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
    Merged,
    Message,
    Passed,
    Reduced,
    Write,
)
from varsim.spec import Array, Context, Operand, Operation, Rows, VariableAggregation
from varsim.sync import fixes, reduce, scatter
from varsim.sync.actions import (
    COORDINATOR,
    WAIT_AND_REPEAT,
    Abandon,
    Await,
    Proceed,
    ReplicaAction,
    Send,
    ShowValue,
    Supply,
)
from varsim.sync.clock import Clock
from varsim.sync.components import (
    Components,
    ReplicaVariable,
    WriteRule,
    check_operand,
    check_shape,
)
from varsim.sync.deferred import DeferredWrites
from varsim.sync.event_log import InvalidTransition
from varsim.sync.outbox import Outbox
from varsim.sync.pending_report import PendingReport
from varsim.sync.policies.legality import check_arithmetic
from varsim.sync.replica_bounded import check_copy, check_renewal
from varsim.sync.replica_call import ReplicaCall
from varsim.sync.replica_events import (
    BufferRequest,
    ComponentWrite,
    ReplicaScatter,
    ReplicaWrite,
)
from varsim.sync.update_buffers import Allocate, UpdateBuffers

NOT_RUNNING: Final = "no function runs on this replica"

AFTER_OTHERS: Final = (Reduced, Merged, HostResult, Granted, Passed)
"""The answers to operations with other replicas or the program. What these have written to a copy
before must be in the next read."""

_UNTIL_RENEWED: Final = 2**62
"""In place of the index of a contribution: no commit makes a cache fresh, but only a renewal."""

_NOTHING: Final[tuple[ReplicaAction, ...]] = ()


class ReplicaWrites:
    """Decides, for one replica, the effect of every write of its program.

    Args:
        allocate: Returns a new array, to which a large contribution is copied.
    """

    def __init__(
        self,
        replica_id: int,
        num_replicas: int,
        allocate: Allocate = np.empty,
    ) -> None:
        self.replica_id = replica_id
        self.num_replicas = num_replicas
        self.components = Components(replica_id)
        self.aborted: str | None = None  # why the innermost call or an outer call has failed
        self._variables = self.components.variables
        self._buffers = UpdateBuffers(allocate)
        self._outbox = Outbox(self.components)
        self._deferred = DeferredWrites(allocate)
        self._calls: list[ReplicaCall] = []  # innermost last
        self._going_on: ReplicaCall | None = None  # the innermost call, unless `aborted` is set
        self._report = PendingReport()
        self._warned: set[int] = set()
        self._touched = self._report.touched
        self._caches: dict[int, ReplicaVariable] = {}  # variables with a copy at the coordinator

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
            return rule.own.write(self, variable, write.operation, value, write.location)
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

    def write_locally(
        self, variable: ReplicaVariable, operation: Operation, operand: Operand
    ) -> None:
        """Write only this replica's component, and count the write."""
        variable.writes += 1
        self._touched[variable.spec.variable_id] = variable
        self.components.separate(variable)
        if isinstance(operand, Rows):
            variable.diverged = True
            variable.block.scatter_now(operation, operand)
        else:
            variable.write_locally(operation, operand)

    def contribute(self, variable: ReplicaVariable, value: Array, location: str) -> None:
        """Contribute an assign of this value to a merge of all replicas."""
        write = ReplicaWrite(variable.spec.variable_id, Operation.ASSIGN, value, location)
        self._write(write, True)

    def wait_and_repeat(self, variable: ReplicaVariable) -> Sequence[ReplicaAction]:
        """Let the program wait for the commit of the last contribution; then repeat the write."""
        call = self._innermost()
        call.awaits, call.reads = variable, False
        return [WAIT_AND_REPEAT]

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
            return rule.own.write(self, variable, operation, rows, event.location)
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
        self._outbox.add_rows(call.call_id, call.left, write, rows)
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

    def _resume(self) -> Sequence[ReplicaAction]:
        """Let the program continue if its wait is over."""
        if not self._calls:
            return _NOTHING
        call = self._calls[-1]
        variable = call.awaits
        if self.aborted is not None and (variable is not None or call.awaits_answer):
            call.awaits, call.awaits_answer = None, None
            return [Abandon(self.aborted)]
        if variable is None or self._owes(variable):
            return _NOTHING
        call.awaits = None
        return [self._shown(variable) if call.reads else Proceed()]

    def _flush(self, last: Message) -> list[ReplicaAction]:
        """Send the outbox, followed by the message `last`."""
        call = self._calls[-1]
        writes = self._outbox.leave(call.call_id, call.left)
        call.left = call.next_index
        write_counts = self._deferred.write_counts()
        return [Send(COORDINATOR, message) for message in (*writes, *write_counts, last)]

    def _wait_for(self, variable: ReplicaVariable, *, reads: bool) -> Sequence[ReplicaAction]:
        call = self._innermost()
        call.awaits, call.reads = variable, reads
        return [Await(may_block=True)]

    def owes(self, variable_id: int) -> bool:
        """Return whether this replica has uncommitted writes, for which a read must wait."""
        return self._owes(self.components.find(variable_id))

    def _owes(self, variable: ReplicaVariable) -> bool:
        return self.owes_merge(variable) or self._deferred.owes(variable.spec.variable_id)

    def owes_merge(self, variable: ReplicaVariable) -> bool:
        """Return whether the commit of this replica's last contribution has not arrived yet."""
        for call in self._calls:
            if call.call_id == variable.owed_to:
                return variable.owed_index >= call.settled
        return False

    def _innermost(self) -> ReplicaCall:
        if not self._calls:
            raise InvalidTransition(NOT_RUNNING)
        return self._calls[-1]

    OF_WRITES: ClassVar[Mapping[type, Callable[[Any, Any], Sequence[ReplicaAction]]]] = {
        ReplicaWrite: _write,
        ReplicaScatter: _scatter,
        ComponentWrite: _write_component,
        BufferRequest: _supply,
        FreshCopy: _renew,
    }
    """Class of an event that concerns writes → the method that handles it."""
