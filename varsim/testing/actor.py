"""One replica of a scenario: a bare `ReplicaState`, and a function that does as it is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from varsim.distribute.conversion import as_tensor, to_array
from varsim.distribute.distributed import DistributedVariable
from varsim.distribute.values import taken_apart
from varsim.errors import VarsimError
from varsim.protocol.messages import (
    AllGather,
    AllReduce,
    Answered,
    Ask,
    Create,
    Define,
    Meeting,
    MergeCall,
    Merged,
    Message,
    Payload,
    Raised,
    Reduced,
    Returned,
    Structure,
)
from varsim.spec import Array, Context, Operation, ReduceOp, VariableSpec
from varsim.sync.actions import COORDINATOR, Deliver, ReplicaAction, Run, Send, Stop
from varsim.sync.replica_state import ReplicaState
from varsim.testing.script import Command, ScenarioError, literal, show


class Scene(Protocol):
    """What a replica needs of its scenario."""

    def say(self, line: str) -> None:
        """Tells a line of the output."""

    def post(self, sender: int, receiver: int, message: Message) -> None:
        """Puts a message on its way."""

    def variable(self, name: str) -> DistributedVariable:
        """The variable of a name."""

    def used(self, spec: VariableSpec, context: Context, operation: Operation) -> None:
        """Notes that a cell of the policy table is used."""


@dataclass(slots=True)
class _Running:
    commands: deque[Command]
    function: Iterator[None]


class Actor:
    """Takes messages from the coordinator, and commands from the scenario."""

    def __init__(self, scene: Scene, replica_id: int, num_replicas: int) -> None:
        self.state = ReplicaState(replica_id, num_replicas)
        self._scene = scene
        self._running: list[_Running] = []  # innermost last
        self._answer: Reduced | Merged | Answered | None = None
        self._seen: dict[int, Array] = {}

    def handle(self, message: Message) -> None:
        """Takes one message, and lets the function go on."""
        if isinstance(message, Define):
            return
        self._perform(self.state.handle(message))
        if isinstance(message, Create):
            self._seen[message.spec.variable_id] = message.value
        self.state.validate()
        self._resume()

    def tell(self, command: Command) -> None:
        """Gives the function that runs something to do, as soon as it can.

        Raises:
            ScenarioError: No function runs.
        """
        if not self._running:
            raise ScenarioError(
                f"{command.place}: {command.verb}: the function of replica "
                f"{self.state.replica_id} has ended"
            )
        self._running[-1].commands.append(command)
        self._resume()

    def changed(self) -> dict[int, Array]:
        """The components that have changed since this was asked last."""
        held = self.state.components.held
        before, self._seen = self._seen, {i: h.component().copy() for i, h in held.items()}
        return {
            i: value
            for i, value in self._seen.items()
            if value.shape != before[i].shape or value.tobytes() != before[i].tobytes()
        }

    def _resume(self) -> None:
        if not self._running:
            return
        ended = object()
        if next(self._running[-1].function, ended) is ended:
            self._running.pop()

    def _perform(self, actions: list[ReplicaAction]) -> None:
        for action in actions:
            match action:
                case Send(message=message):
                    self._scene.post(self.state.replica_id, COORDINATOR, message)
                case Run(start=start):
                    commands: deque[Command] = deque()
                    function = self._function(start.call_id, commands)
                    self._running.append(_Running(commands, function))
                case Deliver(answer=answer):
                    self._answer = answer
                case Stop():
                    pass

    # ------------------------------------------------------------ the function

    def _function(self, call_id: int, commands: deque[Command]) -> Iterator[None]:
        """Does what it is told; yields where it waits."""
        self.state.begin(call_id)
        while self.state.aborted is None:
            if not commands:
                yield
                continue
            command = commands.popleft()
            if command.verb in {"end", "raise"}:
                self._perform(self.state.end(self._last(call_id, command)))
                return
            try:
                yield from self._do(command)
            except VarsimError as error:
                self._say(f"{command.verb} {command.words[0]}: {type(error).__name__}: {error}")
        self._perform(self.state.end(None))

    def _last(self, call_id: int, command: Command) -> Returned | Raised:
        report = self.state.report()
        if command.verb == "end":
            return Returned(call_id=call_id, result=Payload(None), report=report)
        text = " ".join(command.words)
        return Raised(call_id=call_id, exception=Payload(text), traceback=text, report=report)

    def _say(self, line: str) -> None:
        self._scene.say(f"replica {self.state.replica_id}: {line}")

    def _do(self, command: Command) -> Iterator[None]:
        if command.verb == "read":
            yield from self._read(command)
        elif command.verb.startswith("assign"):
            self._write(command)
        else:
            self._perform(self._meet(command))
            while self._answer is None:
                if self.state.aborted is not None:
                    return
                yield
            answer, self._answer = self._answer, None
            self._say(f"{command.verb} gives {_result(answer)}")

    def _read(self, command: Command) -> Iterator[None]:
        spec = self._scene.variable(command.words[0]).spec
        self._scene.used(spec, Context.REPLICA, Operation.READ)
        if self.state.waits_for(spec.variable_id):
            self._perform(self.state.wait(spec.variable_id, command.place))
        while self.state.waits_for(spec.variable_id):
            if self.state.aborted is not None:
                return
            yield
        if self.state.aborted is not None:
            return
        self._say(f"read {spec.name} = {show(self.state.read(spec.variable_id))}")

    def _write(self, command: Command) -> None:
        name, word = command.words
        spec, operation = self._scene.variable(name).spec, Operation(command.verb)
        self._scene.used(spec, Context.REPLICA, operation)
        value = to_array(literal(word), spec.dtype, spec.name)
        self.state.write(spec.variable_id, operation, value, command.place)
        self.state.validate()

    def _meet(self, command: Command) -> list[ReplicaAction]:
        call_id, place, words = self.state.call_id, command.place, command.words
        if command.verb == "ask":
            question = Payload(" ".join(words))
            return self.state.flush(Ask(call_id=call_id, question=question, place=place))
        index, name = self.state.next_index(), command.options.get("name")
        meeting: Meeting
        match command.verb:
            case "merge_call":
                nothing = Payload(" ".join(words))
                meeting = MergeCall(
                    call_id=call_id,
                    index=index,
                    function=nothing,
                    arguments=nothing,
                    label=name,
                    place=place,
                )
            case "all_reduce":
                structure, given = _structure(words[1])
                meeting = AllReduce(
                    call_id=call_id,
                    index=index,
                    op=ReduceOp(words[0]),
                    structure=structure,
                    leaves=tuple(map(as_tensor, given)),
                    label=name,
                    place=place,
                )
            case "all_gather":
                structure, given = _structure(words[1])
                meeting = AllGather(
                    call_id=call_id,
                    index=index,
                    axis=int(words[0]),
                    structure=structure,
                    leaves=tuple(map(as_tensor, given)),
                    label=name,
                    place=place,
                )
            case verb:
                raise ScenarioError(f"{place}: there is no command {verb} of a replica")
        return self.state.flush(meeting)


def _structure(word: str) -> tuple[Structure, list[Any]]:
    """The value of a word, taken apart; a list is an array, unless a dict holds it."""
    value = literal(word)
    return taken_apart(value if isinstance(value, dict) else as_tensor(value))


def _result(answer: Reduced | Merged | Answered) -> Any:
    if isinstance(answer, Reduced):
        return " ".join(show(leaf) for leaf in answer.leaves)
    return show(answer.result.tree)
