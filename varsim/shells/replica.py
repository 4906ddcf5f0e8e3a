"""The I/O shell around `ReplicaState`: it owns the link, the inbox and the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, assert_never

import numpy as np

from varsim.errors import CallAborted, SizeError
from varsim.launch.link import Codec, WorkerLink
from varsim.protocol.limits import check_leaves
from varsim.protocol.messages import (
    Abort,
    Combination,
    Create,
    Define,
    Forget,
    HostResult,
    Joined,
    Merged,
    Message,
    Passed,
    Raised,
    Reduced,
    Report,
    SharedValue,
    Start,
    Structure,
)
from varsim.shells.event_logs import open_event_log
from varsim.shells.function_runner import FunctionRunner
from varsim.spec import Array, Operand, Operation
from varsim.sync.actions import (
    COORDINATOR,
    WAIT_AND_REPEAT,
    Abandon,
    Adopted,
    Await,
    Deliver,
    Proceed,
    ReplicaAction,
    Run,
    Send,
    ShowValue,
    Stop,
    Supply,
)
from varsim.sync.replica_call import Answer
from varsim.sync.replica_events import (
    BufferRequest,
    CallHost,
    ComponentWrite,
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
    LeaveLock,
    MessagesHandled,
    ProgramBlocks,
    ReplicaEvent,
    ReplicaFetch,
    ReplicaPublish,
    ReplicaPull,
    ReplicaPush,
    ReplicaRead,
    ReplicaScatter,
    ReplicaWrite,
    RowsRead,
)
from varsim.sync.replica_state import ReplicaState
from varsim.tracing.trace_format import PROGRAM

_NO_VALUE: Final = np.empty(0)

Outcome = Deliver | ShowValue | Proceed | Abandon | Supply
"""The actions that end a wait of the program."""


class Replica:
    """One replica, for the functions that run on it.

    A replica has one thread. It serves messages while no function runs, and while a function waits.
    """

    def __init__(self, link: WorkerLink, codec: Codec, runner: FunctionRunner) -> None:
        self.replica_id = link.replica_id
        self.exchange = link.exchange
        self.link_faults = link.channel.link_faults
        self.state = ReplicaState(link.replica_id, link.num_replicas, link.exchange.empty)
        self._log = open_event_log(
            "ReplicaState", replica_id=link.replica_id, num_replicas=link.num_replicas
        )
        handle = self.state.handle
        self._handle = handle if self._log is None else self._log.recording(handle)
        self._write = ReplicaWrite(0, Operation.ASSIGN, _NO_VALUE)
        """The event that all writes use again: creating an event takes a tenth of the time of a
        write. The state keeps no event."""
        self._channel = link.channel
        self._codec = codec
        self._runner = runner
        self._trace = link.recorder
        self._envelopes: deque[list[Message]] = deque()
        self._inbox: deque[Message] = deque()  # the rest of the envelope that is being handled
        self._outcome: Outcome | None = None
        self._may_block = False  # whether the state needs `ProgramBlocks` before the replica blocks
        self._stopped = False

    def serve(self) -> None:
        """Handle messages until a `Shutdown` arrives."""
        try:
            while not self._stopped:
                self._take(self._next())
        finally:
            if self._log is not None:
                self._log.close()

    # ------------------------------------------------------------ variables

    def read(self, variable_id: int, *noted: str) -> Array:
        """Wait until this replica's writes are committed; return its component, read-only.

        Args:
            noted: What the record says of the read besides; see `Trace.read`.
        """
        actions = self._handle(ReplicaRead(variable_id))
        first = actions[0]
        value = first.value if isinstance(first, ShowValue) else self._value_of(actions)
        if self._trace is not None:
            version = self.state.components.find(variable_id).version
            location = self._runner.location()
            self._trace.read(variable_id, self.replica_id, version, location, value, *noted)
        return value

    def _value_of(self, actions: Sequence[ReplicaAction]) -> Array:
        """Return the value of a read that must wait."""
        shown = self._await(actions)
        assert isinstance(shown, ShowValue)
        return shown.value

    def write(
        self, variable_id: int, operation: Operation, value: Array, location: str = ""
    ) -> None:
        """Write a variable in replica context.

        Args:
            value: An array of the variable's dtype; see `ReplicaWrite`.
        Raises:
            VariableError: The policy, the dtype or the shape does not allow the write; nothing has
                changed.
        """
        event = self._write
        event.variable_id, event.operation = variable_id, operation
        event.value, event.location = value, location
        try:
            actions = self._handle(event)
        finally:
            event.value = _NO_VALUE  # otherwise the event would keep the memory of the value in use
        if actions:
            actions = self._repeated(ReplicaWrite(variable_id, operation, value, location), actions)
        if self._trace is not None and self.state.aborted is None:
            self._note_write(variable_id, operation, value)
        if actions:
            self._await(actions)

    def write_component(self, variable_id: int, operation: Operation, operand: Operand) -> None:
        """Write this replica's component directly, without applying the policy."""
        self._perform(self._handle(ComponentWrite(variable_id, operation, operand)))
        if self._trace is not None:
            self._note_local(variable_id, operation, operand)

    def scatter(self, event: ReplicaScatter) -> None:
        """Write rows of a variable in replica context.

        Raises:
            VariableError: The policy does not allow the write, or the rows are not valid; nothing
                has changed.
            UnsupportedError: varsim does not support the write; nothing has changed.
        """
        actions = self._repeated(event, self._handle(event))
        if self._trace is not None and self.state.aborted is None:
            variable = self.state.components.find(event.variable_id)
            if not variable.rule(event.operation).travels:
                self._note_local(event.variable_id, event.operation, event.rows)
            elif not variable.is_needed:
                self._trace.withheld(event.variable_id, event.rows)
        if actions:
            self._await(actions)

    def _note_local(self, variable_id: int, operation: Operation, operand: Operand) -> None:
        """Record a write that no message contains."""
        assert self._trace is not None
        location = self._runner.location()
        self._trace.wrote(variable_id, self.replica_id, operation, location, operand)

    def read_rows(self, event: RowsRead) -> Array:
        """Wait until this replica's writes are committed; return some rows of its component.

        If reads are recorded, the whole component is read, because checkers compare whole values.
        """
        if self._trace is not None:
            return np.array(self.read(event.variable_id)[event.key])
        return self._value_of(self._repeated(event, self._handle(event)))

    def _repeated(
        self, event: ReplicaEvent, actions: Sequence[ReplicaAction]
    ) -> Sequence[ReplicaAction]:
        """Return the actions of an event.

        If the actions begin with a wait, wait and repeat the event.
        """
        if not actions or actions[0] != WAIT_AND_REPEAT:
            return actions
        self._await(actions)
        return self._handle(event)

    def buffer(self, variable_id: int) -> Array:
        """Return an array in which to build an update.

        If the array is large, a later write of it makes no copy.
        """
        supplied = self._operate(BufferRequest(variable_id))
        assert isinstance(supplied, Supply)
        return supplied.array

    def _note_write(self, variable_id: int, operation: Operation, value: Array) -> None:
        """Record a write if no message will contain its value."""
        assert self._trace is not None
        variable = self.state.components.find(variable_id)
        rule = variable.rules[operation]
        if not rule.travels:
            location = self._runner.location()
            record = self._trace.compressed if rule.is_compressed else self._trace.wrote
            record(variable_id, self.replica_id, operation, location, value)
        elif not variable.is_needed:
            self._trace.withheld(variable_id, value)

    # ------------------------------------------------------------ collectives

    def combine(
        self,
        how: Combination,
        structure: Structure,
        leaves: list[Array],
        label: str | None,
        weight: float | None = None,
        performs: str = "",
    ) -> tuple[Array, ...]:
        """Combine leaves with those of the other members; return those of this replica's result.

        Raises:
            SizeError: The leaves cannot be sent; the state has not changed.
        """
        check_leaves(structure, leaves)
        location = self._runner.location()
        answer = self._answer_to(
            EnterCombine(how, structure, tuple(leaves), label, location, weight, performs)
        )
        assert isinstance(answer, Reduced)
        return tuple(np.array(leaf) for leaf in answer.leaves)  # copies for this replica

    def sync(self, event: EnterSync) -> Array:
        """Synchronise a variable with the other replicas; return a copy of its new component.

        Raises:
            VariableError: The variable does not support the operation; nothing has changed.
        """
        answer = self._answer_to(event)
        assert isinstance(answer, Reduced)
        value = np.array(answer.leaves[0])
        if self._trace is not None:
            assert event.how.variable_id is not None, "the program synchronises a variable"
            self._note_local(event.how.variable_id, Operation.ASSIGN, value)
        return value

    def merge_call(
        self,
        function: Any,
        arguments: tuple[Any, Any],
        label: str | None = None,
        performs: str = "",
    ) -> Any:
        """Have the program's process run a function once for all replicas."""
        packed = self._codec.pack(function), self._codec.pack(arguments)
        answer = self._answer_to(EnterMerge(*packed, label, self._runner.location(), performs))
        assert isinstance(answer, Merged)
        return self._codec.unpack(answer.result)

    def join(self) -> int:
        """Take part in no more collectives until all replicas have joined; see `Joined.last`."""
        answer = self._answer_to(EnterJoin(self._runner.location()))
        assert isinstance(answer, Joined)
        return answer.last

    def call_host(self, request: Any) -> Any:
        """Have the program's process perform a request. Requests are performed in replica order.

        Raises:
            Exception: The exception that the request raised in the program's process.
        """
        answer = self._answer_to(CallHost(self._codec.pack(request), self._runner.location()))
        assert isinstance(answer, HostResult)
        result = self._codec.unpack(answer.result)
        if answer.failed:
            raise result
        return result

    def show(self, text: str, *, is_error: bool) -> None:
        """Have the program's process print text now, without a wait for other replicas."""
        self._answer_to(FunctionPrints(text, is_error))

    # ------------------------------------------------------------ locks, barriers and sends

    def take_lock(self, lock: str, *, is_shared: bool) -> None:
        """Wait until this replica holds a lock.

        Raises:
            ContextError: This replica holds the lock already; nothing has changed.
        """
        self._answer_to(EnterLock(lock, is_shared, self._runner.location()))

    def leave_lock(self, lock: str) -> None:
        """Release a lock; nothing happens if the call has failed, which releases all locks."""
        self._perform(self._handle(LeaveLock(lock, self._runner.location())))

    def barrier(self, barrier: str | None, group: tuple[int, ...]) -> None:
        """Wait until all replicas of the call, or all members, have arrived at a barrier."""
        self._answer_to(EnterBarrier(barrier, group, self._runner.location()))

    def pass_to(self, to: int, value: Any) -> None:
        """Send a value to another replica, and wait until that replica receives it."""
        packed = self._codec.pack(value)
        self._answer_to(EnterSend(to, packed, self._runner.location()))

    def receive_from(self, source: int) -> Any:
        """Wait for a value of another replica, and return it."""
        answer = self._answer_to(EnterReceive(source, self._runner.location()))
        assert isinstance(answer, Passed)
        return self._codec.unpack(answer.value)

    # ------------------------------------------------------------ one-sided operations

    def share(self, event: ReplicaPublish | ReplicaPush) -> None:
        """Publish a component, or push to an authoritative copy, without a wait.

        Raises:
            VariableError: The variable does not support the operation; nothing has changed.
            CallAborted: The call has failed.
        """
        actions = self._handle(event)
        if actions and isinstance(actions[0], Abandon):
            self._await(actions)
        self._perform(actions)

    def read_shared(self, event: ReplicaFetch | ReplicaPull) -> SharedValue:
        """Return a published component, or an authoritative copy; the value is read-only.

        Raises:
            VariableError: The variable does not support the operation.
        """
        answer = self._answer_to(event)
        assert isinstance(answer, SharedValue)
        return answer

    def _answer_to(self, event: ReplicaEvent) -> Answer:
        delivered = self._operate(event)
        assert isinstance(delivered, Deliver)
        return delivered.answer

    def _operate(self, event: ReplicaEvent) -> Outcome:
        """Give the state an operation; serve messages until the program can continue.

        Raises:
            CallAborted: The call has failed on another replica or in the program.
        """
        return self._await(self._handle(event))

    def _await(self, actions: Sequence[ReplicaAction]) -> Outcome:
        self._perform(actions)
        while self._outcome is None:
            if self._may_block and not self._inbox and not self._envelopes:
                self._may_block = False
                self._perform(self._handle(ProgramBlocks(self._runner.location())))
            self._take(self._next())
        outcome, self._outcome = self._outcome, None
        self._may_block = False  # an outer function may wait for something else
        if isinstance(outcome, Abandon):
            raise CallAborted(outcome.reason)
        return outcome

    def _next(self) -> Message:
        while not self._inbox:
            while not self._envelopes:
                if self.state.is_behind:
                    self._perform(self._handle(MessagesHandled()))
                self._envelopes.extend(self._channel.receive(None))
            # The envelope is recorded only now, after the answers to earlier envelopes.
            if self._trace is not None:
                self._trace.received(PROGRAM)
            self._inbox.extend(self._envelopes.popleft())
        return self._inbox.popleft()

    def _take(self, message: Message) -> None:
        if isinstance(message, Define):
            self._runner.define(message)
            return
        if isinstance(message, Create):
            self._runner.create(message)
            if self._trace is not None:
                self._trace.learn([message])
        elif isinstance(message, Forget):
            self._runner.forget(message)
        self._perform(self._handle(message))

    def _perform(self, actions: Sequence[ReplicaAction]) -> None:
        envelope = [action.message for action in actions if isinstance(action, Send)]
        if envelope:
            self._channel.send(envelope)
        for action in actions:
            match action:
                case Send():
                    pass
                case Run():
                    self._run(action.start)
                case Await():
                    self._may_block = action.may_block
                case Deliver() | ShowValue() | Proceed() | Abandon() | Supply():
                    self._outcome = action
                case Adopted():
                    if self._trace is not None:
                        self._note_local(action.variable_id, Operation.ASSIGN, action.value)
                case Stop():
                    self._stopped = True
                case _:
                    assert_never(action)

    def _run(self, start: Start) -> None:
        arrived = chain(self._inbox, *self._envelopes)
        aborts = [message for message in arrived if isinstance(message, Abort)]
        if start.call_id in [abort.call_id for abort in aborts]:
            return  # the call failed before this replica began it
        if self._trace is not None:
            self._trace.begins(start.call_id)
        self._perform(self._handle(FunctionBegins(start.call_id)))
        self._end(start.call_id, self._handle(self._runner.run(start)))

    def _end(self, call_id: int, actions: Sequence[ReplicaAction]) -> None:
        """Perform the actions at the end of a function.

        If the last message is too large, for example because of its report, the call fails.
        """
        try:
            self._perform(actions)
        except SizeError as error:
            raised = Raised(
                call_id=call_id,
                exception=self._codec.pack_exception(error),
                traceback=f"{type(error).__name__}: {error}",
                report=Report(),
            )
            others = [action for action in actions if not isinstance(action, Send)]
            self._perform([Send(COORDINATOR, raised), *others])
