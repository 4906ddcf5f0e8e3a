"""Drive one replica of a scenario: a `ReplicaState`, and a function that executes commands."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, assert_never

from tests.scenarios.script import Command, ScenarioError, literal, show, slices_of
from varsim.distribute.conversion import as_tensor, to_array
from varsim.distribute.distributed import DistributedVariable
from varsim.distribute.sparse import as_rows
from varsim.distribute.structure_walks import taken_apart
from varsim.errors import VarsimError
from varsim.protocol.messages import (
    Create,
    Define,
    HostResult,
    Merged,
    Message,
    Payload,
    Reduced,
    Structure,
)
from varsim.protocol.parts import Combination, CombineKind
from varsim.spec import Array, Context, Operation, ReduceOp, VariableSpec
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
from varsim.sync.replica_events import (
    CallHost,
    EnterCombine,
    EnterMerge,
    FunctionBegins,
    FunctionRaises,
    FunctionReturns,
    FunctionUnwinds,
    ProgramBlocks,
    ReplicaEvent,
    ReplicaRead,
    ReplicaScatter,
    ReplicaWrite,
)
from varsim.sync.replica_state import ReplicaState


class DriverHost(Protocol):
    """The methods of a scenario that a replica uses."""

    def say(self, line: str) -> None:
        """Add a line to the output."""

    def post(self, sender: int, receiver: int, message: Message) -> None:
        """Send a message."""

    def variable(self, name: str) -> DistributedVariable:
        """Return the variable with this name."""

    def used(self, spec: VariableSpec, context: Context, operation: Operation) -> None:
        """Record that a cell of the policy table is used."""


@dataclass(slots=True)
class _Running:
    commands: deque[Command]
    function: Iterator[None]


COMBINING = frozenset(kind.value for kind in CombineKind)


class ReplicaDriver:
    """Takes messages from the coordinator, and commands from the scenario."""

    def __init__(self, scene: DriverHost, replica_id: int, num_replicas: int) -> None:
        self.state = ReplicaState(replica_id, num_replicas)
        self._scene = scene
        self._running: list[_Running] = []  # the innermost function is the last
        self._outcome: ReplicaAction | None = None  # the outcome of the last operation
        self._seen: dict[int, Array] = {}

    def handle(self, message: Message) -> None:
        """Take one message, and continue the function."""
        if isinstance(message, Define):
            return
        self._perform(self.state.handle(message))
        if isinstance(message, Create):
            self._seen[message.spec.variable_id] = message.value
        self.state.validate()
        self._resume()

    def tell(self, command: Command) -> None:
        """Give the running function a command. The function executes it as soon as possible.

        Raises:
            ScenarioError: No function runs.
        """
        if not self._running:
            raise ScenarioError(
                f"{command.location}: {command.verb}: the function of replica "
                f"{self.state.replica_id} has ended"
            )
        self._running[-1].commands.append(command)
        self._resume()

    def changed(self) -> dict[int, Array]:
        """Return the components that have changed since the last call."""
        variables = self.state.components.variables
        before, self._seen = self._seen, {i: h.component().copy() for i, h in variables.items()}
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

    def _perform(self, actions: Sequence[ReplicaAction]) -> None:
        for action in actions:
            match action:
                case Send(message=message):
                    self._scene.post(self.state.replica_id, COORDINATOR, message)
                case Run(start=start):
                    commands: deque[Command] = deque()
                    function = self._function(start.call_id, commands)
                    self._running.append(_Running(commands, function))
                case Deliver() | ShowValue() | Proceed() | Abandon() | Supply():
                    self._outcome = action
                case Await() | Stop() | Adopted():
                    pass
                case _:
                    assert_never(action)

    # ------------------------------------------------------------ the function

    def _function(self, call_id: int, commands: deque[Command]) -> Iterator[None]:
        """Execute the commands. Each yield waits for a message or a command."""
        self._perform(self.state.handle(FunctionBegins(call_id)))
        while self.state.aborted is None:
            if not commands:
                yield
                continue
            command = commands.popleft()
            if command.verb in {"end", "raise"}:
                self._perform(self.state.handle(_last(command)))
                return
            try:
                yield from self._do(command)
            except VarsimError as error:
                self._say(f"{command.verb} {command.words[0]}: {type(error).__name__}: {error}")
        self._perform(self.state.handle(FunctionUnwinds()))

    def _operate(self, event: ReplicaEvent, location: str) -> Iterator[None]:
        """Give an operation to the state, and yield until `_outcome` has its outcome."""
        self._outcome = None
        actions = self.state.handle(event)
        self._perform(actions)
        self.state.validate()
        if any(isinstance(action, Await) and action.may_block for action in actions):
            self._perform(self.state.handle(ProgramBlocks(location)))
        waits = any(isinstance(action, Await) for action in actions)
        while waits and self._outcome is None:
            yield
        if WAIT_AND_REPEAT in actions and isinstance(self._outcome, Proceed):
            yield from self._operate(event, location)

    def _say(self, line: str) -> None:
        self._scene.say(f"replica {self.state.replica_id}: {line}")

    def _do(self, command: Command) -> Iterator[None]:
        if command.verb == "read":
            yield from self._read(command)
        elif command.verb.startswith("assign"):
            yield from self._write(command)
        elif command.verb.startswith("scatter"):
            yield from self._scatter(command)
        else:
            yield from self._operate(self._other_event(command), command.location)
            if isinstance(self._outcome, Deliver):
                self._say(f"{command.verb} returns {_result(self._outcome.answer)}")

    def _read(self, command: Command) -> Iterator[None]:
        spec = self._scene.variable(command.words[0]).spec
        self._scene.used(spec, Context.REPLICA, Operation.READ)
        yield from self._operate(ReplicaRead(spec.variable_id), command.location)
        if isinstance(self._outcome, ShowValue):
            self._say(f"read {spec.name} = {show(self._outcome.value)}")

    def _write(self, command: Command) -> Iterator[None]:
        name, word = command.words
        spec, operation = self._scene.variable(name).spec, Operation(command.verb)
        self._scene.used(spec, Context.REPLICA, operation)
        value = to_array(literal(word), spec.dtype, spec.name)
        write = ReplicaWrite(spec.variable_id, operation, value, command.location)
        yield from self._operate(write, command.location)

    def _scatter(self, command: Command) -> Iterator[None]:
        name, word = command.words
        spec, operation = self._scene.variable(name).spec, Operation(command.verb)
        self._scene.used(spec, Context.REPLICA, operation)
        rows = as_rows(slices_of(word), spec.dtype, spec.name)
        event = ReplicaScatter(spec.variable_id, operation, rows, command.location)
        yield from self._operate(event, command.location)

    def _other_event(self, command: Command) -> ReplicaEvent:
        location, words, name = command.location, command.words, command.options.get("name")
        match command.verb:
            case "host_call":
                return CallHost(Payload(" ".join(words)), location)
            case "merge_call":
                nothing = Payload(" ".join(words))
                return EnterMerge(nothing, nothing, name, location)
            case verb if verb in COMBINING:
                how, weight = _how(verb, command)
                structure, given = _structure(words[-1])
                leaves = tuple(map(as_tensor, given))
                return EnterCombine(how, structure, leaves, name, location, weight)
            case verb:
                raise ScenarioError(f"{location}: there is no command {verb} of a replica")


def _how(verb: str, command: Command) -> tuple[Combination, float | None]:
    """Return the arguments of a collective: `all_reduce SUM 1.0`, `scan SUM exclusive=1 1.0`."""
    kind, words, options = CombineKind(verb), command.words, command.options
    with_op = kind in {CombineKind.ALL_REDUCE, CombineKind.REDUCE_SCATTER, CombineKind.SCAN}
    with_axis = kind in {CombineKind.ALL_GATHER, CombineKind.REDUCE_SCATTER}
    how = Combination(
        kind,
        op=ReduceOp(words[0]) if with_op else None,
        axis=int(words[-2]) if with_axis else None,
        root=int(words[0]) if kind is CombineKind.BROADCAST else None,
        exclusive="exclusive" in options,
    )
    return how, float(options["weight"]) if "weight" in options else None


def _last(command: Command) -> FunctionReturns | FunctionRaises:
    if command.verb == "end":
        return FunctionReturns(Payload(None))
    text = " ".join(command.words)
    return FunctionRaises(Payload(text), text)


def _structure(word: str) -> tuple[Structure, list[Any]]:
    """Return the structure and the leaves of a word's value. A list outside a dict is one array."""
    value = literal(word)
    return taken_apart(value if isinstance(value, dict) else as_tensor(value))


def _result(answer: Reduced | Merged | HostResult) -> Any:
    if isinstance(answer, Reduced):
        return " ".join(show(leaf) for leaf in answer.leaves)
    return show(answer.result.tree)
