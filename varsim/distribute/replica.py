"""One replica's session: the I/O shell around `ReplicaState`, as its worker process runs it."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, assert_never

import numpy as np

from varsim.distribute.context import Frame, entered
from varsim.distribute.distributed import DistributedVariable
from varsim.distribute.functions import bare
from varsim.distribute.home import Home, settle
from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.mutations import watch_of
from varsim.distribute.naming import ReplicaReferences
from varsim.distribute.place import user_place
from varsim.distribute.replica_context import ReplicaContext
from varsim.errors import CallAborted
from varsim.launch.link import Codec, WorkerLink
from varsim.protocol.messages import (
    Abort,
    Answered,
    Define,
    Forget,
    Merged,
    Message,
    Payload,
    Reduced,
    Start,
    Structure,
)
from varsim.protocol.structure import StructureCodec
from varsim.spec import Array, Operation, ReduceOp
from varsim.sync.actions import (
    WAIT_AND_REPEAT,
    Abandon,
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
from varsim.sync.replica_events import (
    BufferRequest,
    CallHost,
    ComponentWrite,
    EnterGather,
    EnterMerge,
    EnterReduce,
    FunctionBegins,
    FunctionRaises,
    FunctionReturns,
    FunctionUnwinds,
    ProgramBlocks,
    ReplicaEvent,
    ReplicaRead,
    ReplicaWrite,
)
from varsim.sync.replica_state import ReplicaState


def serve(link: WorkerLink) -> None:
    """Serves the coordinator until it says to stop."""
    strategy = MirroredStrategy.handle(link.cluster_id, link.devices)
    references = ReplicaReferences(strategy)
    session = ReplicaSession(link, strategy, StructureCodec(references), references)
    settle(session.home)
    session.serve()


Outcome = Deliver | ShowValue | Proceed | Abandon | Supply
"""What lets the program go on."""


class ReplicaSession:
    """What the functions of a program use while they run on one replica.

    One thread, which serves messages while it is idle and while a function waits.
    """

    def __init__(
        self,
        link: WorkerLink,
        strategy: MirroredStrategy,
        codec: Codec,
        references: ReplicaReferences | None = None,
    ) -> None:
        self.strategy = strategy
        self.replica_id = link.replica_id
        self.state = ReplicaState(link.replica_id, link.num_replicas, link.exchange.empty)
        self.context = ReplicaContext(strategy, link.replica_id, self)
        self.home = Home(link.replica_id)
        self._channel = link.channel
        self._codec = codec
        self._take_output = link.take_output
        self._trace = link.recorder
        self._references = references
        self._inbox: deque[Message] = deque()
        self._functions: dict[str, Payload | Any] = {}
        self._outcome: Outcome | None = None
        self._may_block = False  # whether the state wants to be told before the program blocks
        self._stopped = False
        self._watched_before: set[tuple[str, int]] = set()
        self._noticed: list[tuple[str, str]] = []  # (text, place)

    def serve(self) -> None:
        """Takes messages until one says to stop."""
        while not self._stopped:
            self._take(self._next())

    # ------------------------------------------------------------ messages

    def _next(self) -> Message:
        while not self._inbox:
            self._inbox.extend(self._channel.receive(None))
        return self._inbox.popleft()

    def _take(self, message: Message) -> None:
        if isinstance(message, Define):
            self._functions[message.function_id] = message.function
            return
        if isinstance(message, Forget):
            for function_id in message.function_ids:
                self._functions.pop(function_id, None)
            if self._references is not None:
                self._references.forget(message.variable_ids)
        self._perform(self.state.handle(message))

    def _perform(self, actions: Sequence[ReplicaAction]) -> None:
        envelope = [action.message for action in actions if isinstance(action, Send)]
        if envelope:
            self._channel.send(envelope)
        for action in actions:
            match action:
                case Run():
                    self._run(action.start)
                case Await():
                    self._may_block = action.may_block
                case Deliver() | ShowValue() | Proceed() | Abandon() | Supply():
                    self._outcome = action
                case Stop():
                    self._stopped = True
                case Send():
                    pass
                case _:
                    assert_never(action)

    def _function(self, function_id: str) -> Any:
        function = self._functions[function_id]
        if isinstance(function, Payload):
            function = self._functions[function_id] = self._codec.unpack(function)
        return function

    def _run(self, start: Start) -> None:
        if any(isinstance(m, Abort) and m.call_id == start.call_id for m in self._inbox):
            return  # it has failed before it began here
        if self._trace is not None:
            self._trace.begins(start.call_id)
        self._perform(self.state.handle(FunctionBegins(start.call_id)))
        ended: FunctionReturns | FunctionRaises | FunctionUnwinds
        try:
            with entered(Frame(self.strategy, self.context, home=self.home)):
                args, kwargs = self._codec.unpack(start.arguments)
                function = self._function(start.function_id)
                with self._watched(function, args, kwargs), self.home.to_itself():
                    result = function(*args, **kwargs)
            ended = FunctionReturns(self._codec.pack(result), *self._seen())
        except CallAborted:
            ended = FunctionUnwinds()  # its output comes with the next report
        except Exception as error:  # whatever the user's function raises goes to the program
            ended = self._raised(error)
        self._perform(self.state.handle(ended))

    @contextmanager
    def _watched(self, function: Any, *arguments: Any) -> Iterator[None]:
        """Notes what a function changes in the program's objects, the first time that it runs.

        What all replicas do, one of them tells; where memory is shared there is nothing to tell.
        """
        code = getattr(bare(function), "__code__", None)
        if self.replica_id != 0 or self._references is None or code is None:
            yield
            return
        where = code.co_filename, code.co_firstlineno  # its code may be another at each call
        if where in self._watched_before:
            yield
            return
        self._watched_before.add(where)
        watch = watch_of(function, *arguments)
        yield
        self._noticed += watch.told()

    def _seen(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Return what the function printed, and what it is warned of."""
        noticed = (*self.home.warnings(), *self._noticed)
        self._noticed.clear()
        return self._take_output(), noticed

    def _raised(self, error: Exception) -> FunctionRaises:
        for refused in self.home.silent(error):
            error.add_note(f"before that, {refused}")
        own = error.__traceback__
        tail = own.tb_next if own is not None and own.tb_next is not None else own
        text = "".join(traceback.format_exception(type(error), error, tail))
        error.__traceback__ = None
        try:
            payload = self._codec.pack(error)
        except Exception as unpackable:  # an exception may hold anything, even a socket
            payload = self._codec.pack(None)
            text += f"\n(the exception itself cannot travel: {unpackable})"
        return FunctionRaises(payload, text, *self._seen())

    def _do(self, event: ReplicaEvent) -> Outcome:
        """Give the state an operation of the program, and serve messages until it may go on.

        Raises:
            CallAborted: The call has failed elsewhere.
        """
        return self._await(self.state.handle(event))

    def _await(self, actions: Sequence[ReplicaAction]) -> Outcome:
        self._perform(actions)
        while self._outcome is None:
            if self._may_block and not self._inbox:
                self._may_block = False
                self._perform(self.state.handle(ProgramBlocks(user_place())))
            self._take(self._next())
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, Abandon):
            raise CallAborted(outcome.reason)
        return outcome

    # ------------------------------------------------------------ for variables

    def owns(self, variable: DistributedVariable, replica_id: int) -> bool:
        """Whether a replica's component of a variable is the one that this replica holds."""
        return variable.strategy is self.strategy and replica_id == self.replica_id

    def read(self, variable_id: int) -> Array:
        """Return this replica's component, after its own writes are committed; read-only."""
        shown = self._do(ReplicaRead(variable_id))
        assert isinstance(shown, ShowValue)
        if self._trace is not None:
            self._trace.read(variable_id, self.replica_id, shown.version, user_place(), shown.value)
        return shown.value

    def write(
        self, variable_id: int, operation: Operation, value: Array, place: str, travels: bool
    ) -> None:
        """Write a variable in replica context.

        Args:
            value: Of the variable's dtype. The caller may change it afterwards.
            travels: Whether the value is sent, and so recorded, whichever replica this is.
        Raises:
            VariableError: The policy, the dtype or the shape refuses it; nothing has changed.
        """
        write = ReplicaWrite(variable_id, operation, value, place)
        actions = self.state.handle(write)
        if actions and actions[0] == WAIT_AND_REPEAT:
            self._await(actions)
            actions = self.state.handle(write)
        if not travels and self._trace is not None and self.state.aborted is None:
            self._note_write(variable_id, operation, value)
        if actions:
            self._await(actions)

    def write_component(self, variable_id: int, operation: Operation, value: Array) -> None:
        """Write this replica's component past the policy."""
        self._perform(self.state.handle(ComponentWrite(variable_id, operation, value)))
        if self._trace is not None:
            self._trace.wrote(variable_id, self.replica_id, operation, user_place(), value)

    def buffer(self, variable_id: int) -> Array:
        """Return an array to build an update of a variable in; a large one is written uncopied."""
        supplied = self._do(BufferRequest(variable_id))
        assert isinstance(supplied, Supply)
        return supplied.array

    def _note_write(self, variable_id: int, operation: Operation, value: Array) -> None:
        assert self._trace is not None
        held = self.state.components.find(variable_id)
        if not held.ways[operation].is_sent:
            self._trace.wrote(variable_id, self.replica_id, operation, user_place(), value)
        elif not held.is_needed:
            self._trace.withheld(variable_id, value)

    # ------------------------------------------------------------ for the replica context

    def all_reduce(
        self, op: ReduceOp, structure: Structure, leaves: list[Array], label: str | None
    ) -> tuple[Array, ...]:
        """Reduce leaves over all replicas."""
        return self._leaves(EnterReduce(op, structure, tuple(leaves), label, user_place()))

    def all_gather(
        self, axis: int, structure: Structure, leaves: list[Array], label: str | None
    ) -> tuple[Array, ...]:
        """Concatenate leaves over all replicas."""
        return self._leaves(EnterGather(axis, structure, tuple(leaves), label, user_place()))

    def _leaves(self, event: EnterReduce | EnterGather) -> tuple[Array, ...]:
        answer = self._answer_to(event)
        assert isinstance(answer, Reduced)
        return tuple(np.array(leaf) for leaf in answer.leaves)  # this replica's own

    def merge_call(self, function: Any, arguments: tuple[Any, Any], label: str | None) -> Any:
        """Have the program run a function once for all replicas."""
        packed = self._codec.pack(function), self._codec.pack(arguments)
        answer = self._answer_to(EnterMerge(*packed, label, user_place()))
        assert isinstance(answer, Merged)
        return self._codec.unpack(answer.result)

    def _answer_to(self, event: ReplicaEvent) -> Reduced | Merged | Answered:
        delivered = self._do(event)
        assert isinstance(delivered, Deliver)
        return delivered.answer

    def create(self, kwargs: dict[str, Any]) -> Any:
        """Has the program create a variable; it is the same one for all replicas."""
        if self.replica_id == 0 and callable(kwargs["initial_value"]):
            kwargs = {**kwargs, "initial_value": kwargs["initial_value"]()}
        elif callable(kwargs["initial_value"]):
            kwargs = {**kwargs, "initial_value": 0}  # replica 0's is used
        return self.ask("create", kwargs)

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Has the program do something for this replica, in replica order.

        Raises:
            Exception: Whatever doing it raised there.
        """
        request = self._codec.pack((verb, *arguments))
        answer = self._answer_to(CallHost(request, user_place()))
        assert isinstance(answer, Answered)
        result = self._codec.unpack(answer.result)
        if answer.failed:
            raise result
        return result
