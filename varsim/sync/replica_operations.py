"""Store the components of one replica, and perform what cells of policies request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from varsim.protocol.messages import (
    OF_DEFERRED,
    Commit,
    CompressedContribution,
    FetchPublished,
    Message,
    Publish,
    Pull,
    Push,
    ScatterCommit,
    SharedValue,
    Write,
)
from varsim.spec import Array, Operand, Operation, Rows
from varsim.sync.actions import (
    COORDINATOR,
    WAIT_AND_REPEAT,
    Adopted,
    Await,
    ReplicaAction,
    Send,
)
from varsim.sync.components import Components, ReplicaVariable
from varsim.sync.deferred import DeferredWrites
from varsim.sync.event_log import InvalidTransition
from varsim.sync.outbox import Outbox
from varsim.sync.pending_report import PendingReport
from varsim.sync.policies.replica import Contributed
from varsim.sync.replica_call import ReplicaCall
from varsim.sync.update_buffers import Allocate, UpdateBuffers

NOT_RUNNING: Final = "no function runs on this replica"


class ReplicaOperations:
    """The components of one replica, and what cells do with them. See `policies.replica`.

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

    # ------------------------------------------------------------ one component

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

    def adopt(self, variable: ReplicaVariable, value: Array) -> Sequence[ReplicaAction]:
        """Replace this replica's component by a value that the program has not written."""
        self.write_locally(variable, Operation.ASSIGN, value)
        variable.writes -= 1
        return [Adopted(variable.spec.variable_id, variable.block.show(variable.slot))]

    # ------------------------------------------------------------ one-sided operations

    def push(
        self, variable: ReplicaVariable, delta: Array, location: str
    ) -> Sequence[ReplicaAction]:
        """Add to the authoritative copy. The program does not wait."""
        call_id, number = self._innermost().call_id, variable.spec.variable_id
        return self._flush(
            Push(call_id=call_id, variable_id=number, delta=delta, location=location)
        )

    def publish(self, variable: ReplicaVariable, location: str) -> Sequence[ReplicaAction]:
        """Publish this replica's component. The program does not wait."""
        call_id, number = self._innermost().call_id, variable.spec.variable_id
        value = variable.block.show(variable.slot)
        return self._flush(
            Publish(call_id=call_id, variable_id=number, value=value, location=location)
        )

    def pull(self, variable: ReplicaVariable, location: str) -> Sequence[ReplicaAction]:
        """Let the program wait for the authoritative copy."""
        call_id, number = self._innermost().call_id, variable.spec.variable_id
        return self._ask(Pull(call_id=call_id, variable_id=number, location=location))

    def fetch(
        self, variable: ReplicaVariable, replica_id: int, location: str
    ) -> Sequence[ReplicaAction]:
        """Let the program wait for a replica's published component."""
        return self._ask(
            FetchPublished(
                call_id=self._innermost().call_id,
                variable_id=variable.spec.variable_id,
                replica_id=replica_id,
                location=location,
            )
        )

    def _ask(self, request: Pull | FetchPublished) -> Sequence[ReplicaAction]:
        self._innermost().awaits_answer = SharedValue
        return [*self._flush(request), Await(may_block=False)]

    def _flush(self, last: Message) -> list[ReplicaAction]:
        """Send the outbox, followed by the message `last`."""
        call = self._calls[-1]
        writes = self._outbox.leave(call.call_id, call.left)
        call.left = call.next_index
        write_counts = self._deferred.write_counts()
        return [Send(COORDINATOR, message) for message in (*writes, *write_counts, last)]

    def contribute_compressed(
        self, variable: ReplicaVariable, operation: Operation, compressed: Contributed
    ) -> None:
        """Contribute a compressed value to a merge of all replicas."""
        call, spec = self._innermost(), variable.spec
        shape = variable.block.shape(variable.slot)
        self._outbox.add_alone(
            call.call_id,
            call.left,
            lambda at: CompressedContribution(
                call_id=call.call_id,
                position=at,
                write=Write(spec.variable_id, operation, shape, compressed.location),
                parts=compressed.parts,
                change_norm=compressed.change_norm,
                residual_norm=compressed.residual_norm,
            ),
        )
        call.owe(variable)

    # ------------------------------------------------------------ waits

    def wait_and_repeat(self, variable: ReplicaVariable) -> Sequence[ReplicaAction]:
        """Let the program wait for the commit of the last contribution; then repeat the write."""
        call = self._innermost()
        call.awaits, call.reads = variable, False
        return [WAIT_AND_REPEAT]

    def owes_merge(self, variable: ReplicaVariable) -> bool:
        """Return whether the commit of this replica's last contribution has not arrived yet."""
        for call in self._calls:
            if call.call_id == variable.owed_to:
                return variable.owed_index >= call.settled
        return False

    def _commit_of_no_call(
        self,
        commit: Commit | ScatterCommit,
        variable_ids: Iterable[int],
        versions: Iterable[int],
    ) -> None:
        """Record a commit, just applied, of deferred writes or of a write by the program."""
        for variable_id, version in zip(variable_ids, versions, strict=True):
            if commit.call_id == OF_DEFERRED:
                self._deferred.settle(int(variable_id), commit.settled)
                return
            self.components.overwritten(int(variable_id), int(version))

    def _innermost(self) -> ReplicaCall:
        if not self._calls:
            raise InvalidTransition(NOT_RUNNING)
        return self._calls[-1]
