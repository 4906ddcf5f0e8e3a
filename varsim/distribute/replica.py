"""One replica's session: the I/O shell around `ReplicaState`, as its worker process runs it."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

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
from varsim.launch.launcher import WorkerLink
from varsim.protocol.messages import (
    Abort,
    AllGather,
    AllReduce,
    Answered,
    Ask,
    Define,
    Forget,
    MergeCall,
    Merged,
    Message,
    Payload,
    Raised,
    Reduced,
    Report,
    Returned,
    Start,
    Structure,
)
from varsim.spec import Array, Operation, ReduceOp
from varsim.sync.actions import Deliver, ReplicaAction, Run, Send, Stop
from varsim.sync.replica_state import ReplicaState


def serve(link: WorkerLink) -> None:
    """Serves the coordinator until it says to stop."""
    strategy = MirroredStrategy.handle(link.cluster_id, link.devices)
    references = ReplicaReferences(strategy)
    link.references = references
    session = ReplicaSession(link, strategy, references)
    settle(session.home)
    session.serve()


class ReplicaSession:
    """What the functions of a program use while they run on one replica.

    One thread, which serves messages while it is idle and while a function waits.
    """

    def __init__(
        self,
        link: WorkerLink,
        strategy: MirroredStrategy,
        references: ReplicaReferences | None = None,
    ) -> None:
        self.strategy = strategy
        self.replica_id = link.replica_id
        self.state = ReplicaState(link.replica_id, link.num_replicas, link.empty)
        self.context = ReplicaContext(strategy, link.replica_id, self)
        self.home = Home(link.replica_id)
        self._link = link
        self._trace = link.trace
        self._references = references
        self._inbox: deque[Message] = deque()
        self._functions: dict[str, Payload | Any] = {}
        self._answer: Reduced | Merged | Answered | None = None
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
            self._inbox.extend(self._link.receive(None))
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

    def _perform(self, actions: list[ReplicaAction]) -> None:
        envelope = [action.message for action in actions if isinstance(action, Send)]
        if envelope:
            self._link.send(envelope)
        for action in actions:
            match action:
                case Run():
                    self._run(action.start)
                case Deliver():
                    self._answer = action.answer
                case Stop():
                    self._stopped = True
                case Send():
                    pass

    def _function(self, function_id: str) -> Any:
        function = self._functions[function_id]
        if isinstance(function, Payload):
            function = self._functions[function_id] = self._link.unpack(function)
        return function

    def _run(self, start: Start) -> None:
        if any(isinstance(m, Abort) and m.call_id == start.call_id for m in self._inbox):
            return  # it has failed before it began here
        if self._trace is not None:
            self._trace.begins(start.call_id)
        self.state.begin(start.call_id)
        last: Message | None
        try:
            with entered(Frame(self.strategy, self.context, home=self.home)):
                args, kwargs = self._link.unpack(start.arguments)
                function = self._function(start.function_id)
                with self._watched(function, args, kwargs), self.home.to_itself():
                    result = function(*args, **kwargs)
            self._check_aborted()
            last = self._returned(start.call_id, result)
        except CallAborted:
            last = None  # its output comes with the next report
        except Exception as error:  # whatever the user's function raises goes to the program
            last = None if self.state.aborted else self._raised(start.call_id, error)
        self._perform(self.state.end(last))

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

    def _returned(self, call_id: int, result: Any) -> Returned:
        payload = self._link.pack(result)
        report = self._report()
        return Returned(call_id=call_id, result=payload, report=report)

    def _report(self) -> Report:
        report = self.state.report(self._link.take_output())
        noticed = (*self.home.warnings(), *self._noticed)
        self._noticed.clear()
        return replace(report, warnings=report.warnings + noticed) if noticed else report

    def _raised(self, call_id: int, error: Exception) -> Raised:
        for refused in self.home.silent(error):
            error.add_note(f"before that, {refused}")
        own = error.__traceback__
        tail = own.tb_next if own is not None and own.tb_next is not None else own
        text = "".join(traceback.format_exception(type(error), error, tail))
        error.__traceback__ = None
        try:
            payload = self._link.pack(error)
        except Exception as unpackable:  # an exception may hold anything, even a socket
            payload = self._link.pack(None)
            text += f"\n(the exception itself cannot travel: {unpackable})"
        report = self._report()
        return Raised(call_id=call_id, exception=payload, traceback=text, report=report)

    def _await(self) -> Any:
        """Serves messages until the answer that the program waits for is there."""
        while self._answer is None:
            self._check_aborted()
            self._take(self._next())
        answer, self._answer = self._answer, None
        return answer

    def _check_aborted(self) -> None:
        if self.state.aborted is not None:
            raise CallAborted(self.state.aborted)
        if self._stopped:
            raise CallAborted("the cluster is shut down")

    # ------------------------------------------------------------ for variables

    def owns(self, variable: DistributedVariable, replica_id: int) -> bool:
        """Whether a replica's component of a variable is the one that this replica holds."""
        return variable.strategy is self.strategy and replica_id == self.replica_id

    def read(self, variable_id: int) -> Array:
        """This replica's component, after its own writes are committed; read-only."""
        self._wait_for(variable_id)
        value = self.state.read(variable_id)
        if self._trace is not None:
            version = self.state.components.find(variable_id).version
            self._trace.read(variable_id, self.replica_id, version, user_place(), value)
        return value

    def _wait_for(self, variable_id: int) -> None:
        if not self.state.waits_for(variable_id):
            return
        while self._inbox and self.state.waits_for(variable_id):
            self._take(self._inbox.popleft())  # the commit may be here already
        if self.state.waits_for(variable_id):
            self._check_aborted()
            self._perform(self.state.wait(variable_id, user_place()))
            while self.state.waits_for(variable_id):
                self._check_aborted()
                self._take(self._next())
        self._check_aborted()  # a failed call owes nothing any more, and must not go on

    def write(
        self, variable_id: int, operation: Operation, value: Array, place: str, travels: bool
    ) -> None:
        """Writes a variable in replica context; see `ReplicaState.write`.

        Args:
            travels: Whether the value is sent, and so recorded, whichever replica this is.
        """
        if self.state.aborted is not None:
            self._check_aborted()
        waits = self.state.write(variable_id, operation, value, place)
        if not travels and self._trace is not None:
            self._note_write(variable_id, operation, value)
        if waits:
            self._wait_for(variable_id)

    def write_component(self, variable_id: int, operation: Operation, value: Array) -> None:
        """Writes this replica's component past the policy."""
        self.state.write_component(variable_id, operation, value)
        if self._trace is not None:
            self._trace.wrote(variable_id, self.replica_id, operation, user_place(), value)

    def _note_write(self, variable_id: int, operation: Operation, value: Array) -> None:
        assert self._trace is not None
        held = self.state.components.find(variable_id)
        if not held.cells[operation].is_sent:
            self._trace.wrote(variable_id, self.replica_id, operation, user_place(), value)
        elif not held.is_needed:
            self._trace.withheld(variable_id, value)

    # ------------------------------------------------------------ for the replica context

    def all_reduce(
        self, op: ReduceOp, structure: Structure, leaves: list[Array], label: str | None
    ) -> tuple[Array, ...]:
        """Reduces leaves over all replicas."""
        self._check_aborted()
        meeting = AllReduce(
            call_id=self.state.call_id,
            index=self.state.next_index(),
            op=op,
            structure=structure,
            leaves=tuple(leaves),
            label=label,
            place=user_place(),
        )
        self._perform(self.state.flush(meeting))
        return self._leaves()

    def all_gather(
        self, axis: int, structure: Structure, leaves: list[Array], label: str | None
    ) -> tuple[Array, ...]:
        """Concatenates leaves over all replicas."""
        self._check_aborted()
        meeting = AllGather(
            call_id=self.state.call_id,
            index=self.state.next_index(),
            axis=axis,
            structure=structure,
            leaves=tuple(leaves),
            label=label,
            place=user_place(),
        )
        self._perform(self.state.flush(meeting))
        return self._leaves()

    def _leaves(self) -> tuple[Array, ...]:
        leaves: tuple[Array, ...] = self._await().leaves
        return tuple(np.array(leaf) for leaf in leaves)  # this replica's own

    def merge_call(self, function: Any, arguments: tuple[Any, Any], label: str | None) -> Any:
        """Has the program run a function once for all replicas."""
        self._check_aborted()
        packed = self._link.pack(function), self._link.pack(arguments)  # this may fail
        meeting = MergeCall(
            call_id=self.state.call_id,
            index=self.state.next_index(),
            function=packed[0],
            arguments=packed[1],
            label=label,
            place=user_place(),
        )
        self._perform(self.state.flush(meeting))
        return self._link.unpack(self._await().result)

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
        self._check_aborted()
        question = self._link.pack((verb, *arguments))
        ask = Ask(call_id=self.state.call_id, question=question, place=user_place())
        self._perform(self.state.flush(ask))
        answered = self._await()
        result = self._link.unpack(answered.result)
        if answered.failed:
            raise result
        return result
