"""The state of one replica, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from varsim.errors import ProtocolError
from varsim.protocol.messages import (
    BY_PROGRAM,
    Abort,
    Commit,
    ComponentCommit,
    Create,
    DeltaReply,
    Fetch,
    FetchPolicyState,
    Forget,
    Granted,
    HostResult,
    Joined,
    Left,
    Merged,
    Passed,
    Printed,
    PullDeltas,
    Reduced,
    ScatterCommit,
    SetPolicyState,
    SharedValue,
    Shutdown,
    Start,
    SyncRequest,
    Waiting,
)
from varsim.spec import Operation
from varsim.sync import replica_one_sided
from varsim.sync.actions import (
    COORDINATOR,
    Abandon,
    Await,
    Deliver,
    ReplicaAction,
    Run,
    Send,
    Stop,
)
from varsim.sync.event_log import InvalidTransition
from varsim.sync.manual import check_manual, check_op, operation_of
from varsim.sync.replica_call import (
    ANSWERS,
    Answer,
    ReplicaCall,
    check_answer,
    check_settled,
    check_start,
)
from varsim.sync.replica_events import (
    CallHost,
    EnterBarrier,
    EnterCombine,
    EnterJoin,
    EnterLock,
    EnterMerge,
    EnterReceive,
    EnterSend,
    EnterSync,
    FunctionBegins,
    FunctionPrints,
    FunctionRaises,
    FunctionReturns,
    FunctionUnwinds,
    LeaveLock,
    MessagesHandled,
    ProgramBlocks,
    ReplicaEvent,
    ReplicaOneSided,
    ReplicaPublish,
    ReplicaPush,
    ReplicaRead,
    ReplicaWrite,
    RowsRead,
)
from varsim.sync.replica_one_sided import check_synced
from varsim.sync.replica_writes import AFTER_OTHERS, ReplicaWrites

SHUT_DOWN: Final = "the cluster is shut down"
"""The reason in the error of a call that runs when the coordinator ends the cluster."""

_NOTHING: Final[tuple[ReplicaAction, ...]] = ()


class ReplicaState(ReplicaWrites):
    """Decides, for one replica, the effect of every message and every program operation.

    The shell calls `handle` with each event, and performs the returned actions in order. `handle`
    never waits. If the program must wait, `handle` returns an `Await`. The action that lets the
    program continue is returned for a later event.

    The base class handles the writes.
    """

    def handle(self, event: ReplicaEvent) -> Sequence[ReplicaAction]:
        """Handle one event, and return the actions that the shell must perform, in order.

        Raises:
            VariableError: The policy, the dtype or the shape does not allow a write; nothing has
                changed.
            ProtocolError: The coordinator sent a message that is not valid for this replica.
            InvalidTransition: The event is not valid now, which is a bug of the shell.
        """
        if event.__class__ is ReplicaWrite:  # there may be thousands in a step
            return self._write(event)
        decide = self._DECISIONS.get(event.__class__)
        if decide is None:
            raise ProtocolError(f"a replica does not accept {type(event).__name__} messages")
        return decide(self, event)

    @property
    def is_behind(self) -> bool:
        """Return whether `MessagesHandled` has an effect."""
        return self.components.is_behind

    def _catch_up(self, _: MessagesHandled) -> Sequence[ReplicaAction]:
        self.components.catch_up()
        return _NOTHING

    # ------------------------------------------------------------ messages

    def _create(self, create: Create) -> Sequence[ReplicaAction]:
        self.components.create(create)
        variable = self.components.find(create.spec.variable_id)
        if variable.bound is not None:
            self._caches[create.spec.variable_id] = variable
        return _NOTHING

    def _show_component(self, fetch: Fetch) -> Sequence[ReplicaAction]:
        return [Send(COORDINATOR, self.components.show(fetch))]

    def _show_state(self, fetch: FetchPolicyState) -> Sequence[ReplicaAction]:
        return [Send(COORDINATOR, self.components.show_state(fetch))]

    def _set_state(self, message: SetPolicyState) -> Sequence[ReplicaAction]:
        self.components.set_state(message)
        return _NOTHING

    def _show_deltas(self, pull: PullDeltas) -> Sequence[ReplicaAction]:
        delta = self._deferred.delta(pull.variable_id, pull.count)
        return [Send(COORDINATOR, DeltaReply(request_id=pull.request_id, delta=delta))]

    def _start(self, start: Start) -> Sequence[ReplicaAction]:
        check_start(self._calls, start, self.replica_id, self.num_replicas)
        return [Run(start)]

    def _shut_down(self, _: Shutdown) -> Sequence[ReplicaAction]:
        for call in self._calls:
            call.aborted = call.aborted or SHUT_DOWN
        self._see_whether_aborted()
        return [Stop(), *self._resume()]

    def _commit(self, commit: Commit) -> Sequence[ReplicaAction]:
        self._check_settled(commit)
        self.components.commit(commit)
        if commit.call_id <= BY_PROGRAM:
            self._commit_of_no_call(commit, commit.variable_ids, commit.versions)
        return self._settle(commit)

    def _commit_component(self, commit: ComponentCommit) -> Sequence[ReplicaAction]:
        self._check_settled(commit)
        self.components.commit_component(commit)
        return self._settle(commit)

    def _commit_rows(self, commit: ScatterCommit) -> Sequence[ReplicaAction]:
        self._check_settled(commit)
        self.components.commit_rows(commit)
        if commit.call_id <= BY_PROGRAM:
            self._commit_of_no_call(commit, [commit.variable_id], [commit.version])
        return self._settle(commit)

    def _check_settled(self, commit: Commit | ScatterCommit | ComponentCommit) -> None:
        for call in self._calls:
            if call.call_id == commit.call_id:
                check_settled(call, commit.settled)

    def _settle(self, commit: Commit | ScatterCommit | ComponentCommit) -> Sequence[ReplicaAction]:
        for call in self._calls:
            if call.call_id == commit.call_id:
                call.settled = max(call.settled, commit.settled)
        return self._resume()

    def _forget(self, forget: Forget) -> Sequence[ReplicaAction]:
        for variable_id in forget.variable_ids:
            self.components.forget(variable_id)
            self._report.forget(variable_id)
            self._deferred.forget(variable_id)
            self._caches.pop(variable_id, None)
        return _NOTHING

    def _answer(self, answer: Answer) -> Sequence[ReplicaAction]:
        if not self._calls or self._calls[-1].call_id != answer.call_id:
            return _NOTHING
        call = self._calls[-1]
        if call.aborted is not None and call.awaits_answer is None:
            return _NOTHING  # the answer was sent before the call failed
        check_answer(call, answer)
        if isinstance(answer, SharedValue):
            replica_one_sided.check_answer(answer, self.components.find(answer.variable_id))
            if call.obtains is not None:
                return self._obtain(call, *call.obtains, answer.value)
        if isinstance(answer, Reduced):
            self._store(call, answer)
        elif isinstance(answer, Joined):
            call.rejoin(answer)
        call.awaits_answer = None
        if self._caches and isinstance(answer, AFTER_OTHERS):
            self._distrust_caches(call)
        return [Deliver(answer)]

    def _abort(self, abort: Abort) -> Sequence[ReplicaAction]:
        self._deferred.fail(abort.call_id)
        self.components.call_failed()
        inside = [call for call in self._calls if call.call_id == abort.call_id]
        for call in inside:
            call.aborted = abort.reason
        self._see_whether_aborted()
        return [*([] if inside else self._leave(abort.call_id)), *self._resume()]

    def _see_whether_aborted(self) -> None:
        self.aborted, self._going_on = None, None
        for call in self._calls:
            if call.aborted is not None:
                self.aborted = call.aborted
                return
        if self._calls:
            self._going_on = self._calls[-1]

    def _leave(self, call_id: int) -> list[ReplicaAction]:
        return [Send(COORDINATOR, Left(call_id=call_id))]

    # ------------------------------------------------------------ reads and waits

    def _read(self, read: ReplicaRead) -> Sequence[ReplicaAction]:
        """Show the component, or let the program wait until this replica's writes are committed."""
        if self.aborted is not None:
            return [Abandon(self.aborted)]
        variable = self._variables.get(read.variable_id) or self.components.find(read.variable_id)
        if self._owes(variable):
            return self._wait_for(variable, reads=True)
        if variable.own_read is not None:
            return self._read_by(variable.own_read, variable, read)
        return [self._shown(variable)]

    def _read_rows(self, read: RowsRead) -> Sequence[ReplicaAction]:
        """Show a copy of some rows, or let the program wait as in `_read`."""
        if self.aborted is not None:
            return [Abandon(self.aborted)]
        variable = self.components.find(read.variable_id)
        if self._owes(variable):
            return self.wait_and_repeat(variable)
        if variable.own_read is not None:
            return self._read_by(variable.own_read, variable, read)
        return [self._shown_rows(variable, read.key)]

    def _block(self, event: ProgramBlocks) -> Sequence[ReplicaAction]:
        """Send the outbox, and tell the coordinator which variable the program waits for."""
        call = self._innermost()
        if call.awaits is None:
            raise InvalidTransition("the program does not wait for a variable")
        variable_id = call.awaits.spec.variable_id
        if call.awaits.bound is not None:
            return self._request_copy(call, variable_id, event.location)
        if self._deferred.owes(variable_id):
            delta = self._deferred.delta(variable_id)
            return self._flush(
                SyncRequest(call_id=call.call_id, delta=delta, location=event.location)
            )
        return self._flush(
            Waiting(
                call_id=call.call_id,
                variable_id=variable_id,
                position=call.awaits.owed_index,
                location=event.location,
            )
        )

    # ------------------------------------------------------------ collectives

    def _enter(self, event: EnterCombine | EnterMerge | EnterJoin) -> Sequence[ReplicaAction]:
        """Send the outbox, and then the message of the program's collective."""
        if self.aborted is not None:
            return [Abandon(self.aborted)]
        call = self._innermost()
        call.awaits_answer = ANSWERS[type(event)]
        group: tuple[int, ...] = ()
        call.syncs = event.how.variable_id if isinstance(event, EnterCombine) else None
        if isinstance(event, EnterCombine):
            call.leaves, group = len(event.leaves), event.how.group
        index = call.enter(group)
        sent = self._flush(event.message(call.call_id, index))
        if isinstance(event, EnterJoin):
            call.leave()
        return [*sent, Await(may_block=False)]

    def _sync(self, event: EnterSync) -> Sequence[ReplicaAction]:
        """Let this replica's component take part in a collective, which then replaces it.

        Raises:
            VariableError: The variable does not support the operation; nothing has changed.
        """
        assert event.how.variable_id is not None, "the program synchronises a variable"
        variable = self.components.find(event.how.variable_id)
        check_manual(variable.spec, operation_of(event.how))
        check_op(variable.spec, event.how)
        return self._enter(event.combine(variable.block.show(variable.slot)))

    def _store(self, call: ReplicaCall, answer: Reduced) -> None:
        """Store the result of a sync in this replica's component."""
        if call.syncs is not None:
            variable, (value,) = self.components.find(call.syncs), answer.leaves
            check_synced(value, variable)
            self.write_locally(variable, Operation.ASSIGN, value)

    def _act(self, event: ReplicaOneSided) -> Sequence[ReplicaAction]:
        """Send the outbox, and then the message of a one-sided operation.

        Only a fetch and a pull wait for an answer.
        """
        if self.aborted is not None:
            return [Abandon(self.aborted)]
        call = self._innermost()
        variable = self.components.find(event.variable_id)
        message = replica_one_sided.message_of(event, call.call_id, variable, self.num_replicas)
        if isinstance(event, ReplicaPublish | ReplicaPush):
            return self._flush(message)
        call.awaits_answer = SharedValue
        return [*self._flush(message), Await(may_block=False)]

    def _request(
        self, event: CallHost | EnterLock | EnterBarrier | EnterSend | EnterReceive
    ) -> Sequence[ReplicaAction]:
        """Send the outbox, and then the program's request, which has no position.

        Raises:
            ContextError: The replica cannot take this lock; nothing was sent.
        """
        if self.aborted is not None:
            return [Abandon(self.aborted)]
        call = self._innermost()
        if isinstance(event, EnterLock):
            call.take_lock(event.lock, event.location)
        call.awaits_answer = ANSWERS[type(event)]
        return [*self._flush(event.message(call.call_id)), Await(may_block=False)]

    def _print(self, event: FunctionPrints) -> Sequence[ReplicaAction]:
        """Send printed text. The outbox stays, because it does not depend on the text."""
        if self.aborted is not None:
            return [Abandon(self.aborted)]
        call = self._innermost()
        call.awaits_answer = ANSWERS[FunctionPrints]
        return [Send(COORDINATOR, event.message(call.call_id)), Await(may_block=False)]

    def _leave_lock(self, event: LeaveLock) -> Sequence[ReplicaAction]:
        """Send the outbox, and release a lock; the program continues.

        Raises:
            ContextError: The replica does not hold this lock; nothing was sent.
        """
        if self.aborted is not None:
            return _NOTHING  # the end of the call has released all locks
        call = self._innermost()
        call.leave_lock(event.lock)
        return self._flush(event.message(call.call_id))

    # ------------------------------------------------------------ calls

    @property
    def is_running(self) -> bool:
        """Return whether the function of a call runs on this replica."""
        return bool(self._calls)

    def _begin(self, event: FunctionBegins) -> Sequence[ReplicaAction]:
        self._calls.append(ReplicaCall(event.call_id))
        self._deferred.begin(event.call_id)
        self._see_whether_aborted()
        if self._caches:
            self._distrust_caches(self._calls[-1])
        return _NOTHING

    def _end(
        self, event: FunctionReturns | FunctionRaises | FunctionUnwinds
    ) -> Sequence[ReplicaAction]:
        """Tell the coordinator how the function of the innermost call has ended.

        The coordinator also waits for the end of an aborted call. Commits of the call can still
        arrive, but only before the messages of later calls.
        """
        call = self._innermost()
        if isinstance(event, FunctionUnwinds) and self.aborted is None:
            raise InvalidTransition("the function unwinds, although no call has failed")
        self._buffers.clear()
        if not isinstance(event, FunctionUnwinds):
            self._report.add(event.output, event.warnings)
        if isinstance(event, FunctionUnwinds) or self.aborted is not None:
            self._outbox.clear()
            actions = self._leave(call.call_id)
        else:
            actions = self._flush(event.message(call.call_id, self._report.take()))
        self._calls.pop()
        self._deferred.end()
        self._see_whether_aborted()
        return [*actions, *self._resume()]

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        self.components.validate()
        self._deferred.validate()
        if self._calls:
            assert len(self._outbox) <= self._calls[-1].next_index - self._calls[-1].left
            assert all(call.settled <= call.next_index for call in self._calls)
        else:
            assert not self._outbox
        reasons = [call.aborted for call in self._calls if call.aborted is not None]
        assert self.aborted == (reasons[0] if reasons else None)
        going_on = self._calls[-1] if self._calls and self.aborted is None else None
        assert self._going_on is going_on
        for call in self._calls[:-1]:
            assert call.awaits_answer, "a call that contains another call waits for an answer"
        for call in self._calls:
            assert call.awaits is None or self._owes(call.awaits), "the program need not wait"

    # ------------------------------------------------------------ the table

    _DECISIONS: ClassVar[Mapping[type, Callable[[Any, Any], Sequence[ReplicaAction]]]] = {
        **ReplicaWrites.OF_WRITES,
        ReplicaRead: _read,
        RowsRead: _read_rows,
        EnterCombine: _enter,
        EnterSync: _sync,
        EnterMerge: _enter,
        EnterJoin: _enter,
        CallHost: _request,
        EnterLock: _request,
        LeaveLock: _leave_lock,
        EnterBarrier: _request,
        EnterSend: _request,
        EnterReceive: _request,
        **dict.fromkeys(replica_one_sided.OPERATIONS, _act),
        ProgramBlocks: _block,
        MessagesHandled: _catch_up,
        FunctionPrints: _print,
        FunctionBegins: _begin,
        FunctionReturns: _end,
        FunctionRaises: _end,
        FunctionUnwinds: _end,
        Commit: _commit,
        ScatterCommit: _commit_rows,
        ComponentCommit: _commit_component,
        Create: _create,
        Forget: _forget,
        Fetch: _show_component,
        FetchPolicyState: _show_state,
        SetPolicyState: _set_state,
        PullDeltas: _show_deltas,
        Start: _start,
        Reduced: _answer,
        Merged: _answer,
        Joined: _answer,
        HostResult: _answer,
        Granted: _answer,
        Passed: _answer,
        Printed: _answer,
        SharedValue: _answer,
        Abort: _abort,
        Shutdown: _shut_down,
    }
    """Class of an event → method. A look-up is faster than a `match` with many cases."""
