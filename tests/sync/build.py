"""Functions for tests that create states and messages, and describe actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.scenarios.format import MessageFormat
from tests.scenarios.script import show
from tests.sync.program import ReplicaProgram
from varsim.distribute.structure_walks import taken_apart
from varsim.protocol.messages import (
    BY_PROGRAM,
    Combination,
    Combine,
    CombineKind,
    Commit,
    Contribution,
    Create,
    HostCall,
    Layout,
    MergeCall,
    Message,
    Payload,
    Raised,
    Report,
    Returned,
    Start,
    Structure,
    Waiting,
    Write,
)
from varsim.spec import (
    Array,
    Operation,
    ReduceOp,
    Shape,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)
from varsim.sync.actions import (
    CallBegins,
    CoordinatorAction,
    Deliver,
    Exchanged,
    Finish,
    PerformHostCall,
    ProgramDone,
    ProgramRefused,
    Reduce,
    Run,
    RunMerge,
    Send,
    Stop,
)
from varsim.sync.call_site import UNKNOWN, CallSite
from varsim.sync.coordinator_events import (
    MessageArrives,
    ProgramCall,
    ProgramCreate,
    ProgramFetch,
    ProgramGivesUp,
    ReductionDone,
)
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.outbox import KnownWrite, Outbox

NONE, SUM, MEAN, FIRST = VariableAggregation
AUTO, LOCAL, ON_WRITE, ON_READ = VariableSynchronization
ASSIGN, ADD, SUB = Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB

W, V, U = 1, 2, 3
"""Ids of the variables in most tests."""

NAMES = {W: "w", V: "v", U: "u"}
NOTHING = Payload(None)

TELLER = MessageFormat()
"""Formats messages with the specs of the current test, which were created last."""


def spec(
    aggregation: VariableAggregation = SUM,
    synchronization: VariableSynchronization = ON_WRITE,
    *,
    variable_id: int = W,
    shape: Shape = (),
    dtype: str = "float32",
) -> VariableSpec:
    made = VariableSpec(
        variable_id=variable_id,
        name=NAMES.get(variable_id, f"variable{variable_id}"),
        shape=shape,
        dtype=np.dtype(dtype),
        requested=synchronization,
        synchronization=synchronization,
        aggregation=aggregation,
        trainable=True,
        created_at="model.py:1",
    )
    TELLER.specs[variable_id] = made
    return made


def array(value: Any, dtype: str = "float32") -> np.ndarray[Any, Any]:
    return np.array(value, dtype=dtype)


def replica(
    *specs: VariableSpec, replica_id: int = 0, num_replicas: int = 2, call: int | None = 1
) -> ReplicaProgram:
    """Return a replica that runs a call, and whose components are zero."""
    state = ReplicaProgram(replica_id, num_replicas)
    for one in specs:
        shape = tuple(1 if size is None else size for size in one.shape)
        state.handle(Create(spec=one, value=np.zeros(shape, one.dtype)))
    if call is not None:
        state.begin(call)
    return state


def coordinator(*specs: VariableSpec, num_replicas: int = 2, calls: int = 1) -> CoordinatorState:
    """Return a coordinator with running calls, and with variables whose value is zero."""
    state = CoordinatorState(num_replicas)
    for one in specs:
        shape = tuple(1 if size is None else size for size in one.shape)
        state.handle(ProgramCreate(one, np.zeros(shape, one.dtype)))
    for _ in range(calls):
        call(state)
    return state


def call(
    state: CoordinatorState,
    function_id: str = "f",
    *,
    site: CallSite = UNKNOWN,
    now_s: float = 0.0,
    present: int | None = None,
) -> list[CoordinatorAction]:
    """Let the program start a call, and return the coordinator's actions.

    The number of the call is also its token.

    Args:
        present: The number of replicas that take part; None for all.
    """
    arguments = [NOTHING] * (state.num_replicas if present is None else present)
    token = state.calls_begun + 1
    begins, *actions = state.handle(
        ProgramCall(function_id, NOTHING, arguments, site, token, now_s)
    )
    assert CallBegins(token, token) == begins
    return actions


def give_up(
    state: CoordinatorState, call_id: int, why: str = "KeyboardInterrupt", now_s: float = 0.0
) -> list[CoordinatorAction]:
    """Let the program abandon a call; return the coordinator's actions."""
    return state.handle(ProgramGivesUp(call_id, why, now_s))


FETCH = 100
"""The token of a fetch by the program."""


def fetch(
    state: CoordinatorState, replica_ids: Sequence[int] = (0,), variable_id: int = W
) -> list[CoordinatorAction]:
    """Return the coordinator's actions when the program fetches components."""
    return state.handle(ProgramFetch(variable_id, tuple(replica_ids), FETCH))


# ---------------------------------------------------------------- messages


def commit(
    version: int,
    value: Any,
    operation: Operation = ASSIGN,
    *,
    variable_id: int = W,
    call: int = 1,
    settled: int = 1,
) -> Commit:
    """Return a commit of one variable. A commit of the program's write settles no contribution."""
    return Commit(
        call_id=call,
        settled=0 if call == BY_PROGRAM else settled,
        variable_ids=np.array([variable_id], np.int64),
        versions=np.array([version], np.int64),
        operation=operation,
        value=array(value),
    )


def commit_of_all(
    versions: Mapping[int, int], value: Any, *, call: int = 1, settled: int = 0
) -> Commit:
    """Return a commit of several variables, whose new values are side by side."""
    return Commit(
        call_id=call,
        settled=settled,
        variable_ids=np.array([*versions], np.int64),
        versions=np.array([*versions.values()], np.int64),
        operation=ASSIGN,
        value=array(value),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """One write. `value` is None if the value is not sent."""

    variable_id: int
    operation: Operation
    shape: tuple[int, ...]
    value: Array | None


def written(
    value: Any, operation: Operation = ASSIGN, *, variable_id: int = W, dtype: str = "float32"
) -> Written:
    own = None if value is None else array(value, dtype)
    return Written(variable_id, operation, () if own is None else own.shape, own)


@dataclass(frozen=True, slots=True, eq=False)
class Writes:
    """The writes of an outbox, before they are packed."""

    call: int
    index: int
    writes: tuple[Written, ...]

    def packed(self, specs: Mapping[int, VariableSpec]) -> tuple[Layout, Contribution]:
        """Return the two messages of this outbox."""
        outbox = Outbox(specs)
        for location, one in enumerate(self.writes, 10 + self.index):
            value = None if one.value is None else one.value.tobytes()
            write = Write(one.variable_id, one.operation, one.shape, f"train.py:{location}")
            outbox.add((KnownWrite(write), value))
        layout, contribution = outbox.leave(self.call, self.index)
        assert isinstance(layout, Layout)
        assert isinstance(contribution, Contribution)
        return layout, contribution


def contributions(*writes: Written, index: int = 0, call: int = 1) -> Writes:
    return Writes(call, index, writes)


def contribution(
    value: Any,
    operation: Operation = ASSIGN,
    *,
    index: int = 0,
    variable_id: int = W,
    call: int = 1,
) -> Writes:
    """Return an outbox of one write."""
    return Writes(call, index, (written(value, operation, variable_id=variable_id),))


def all_reduce(
    value: Any,
    op: ReduceOp = ReduceOp.SUM,
    *,
    index: int = 0,
    name: str | None = None,
    location: str = "train.py:30",
) -> Combine:
    how = Combination(CombineKind.ALL_REDUCE, op)
    return combine(how, value, index=index, name=name, location=location)


def all_gather(
    value: Any, axis: int = 0, *, index: int = 0, name: str | None = None, location: str = ""
) -> Combine:
    how = Combination(CombineKind.ALL_GATHER, axis=axis)
    return combine(how, value, index=index, name=name, location=location)


def combine(
    how: Combination,
    value: Any,
    *,
    index: int = 0,
    weight: float | None = None,
    name: str | None = None,
    location: str = "train.py:30",
) -> Combine:
    structure, leaves = _taken_apart(value)
    return Combine(
        call_id=1,
        position=index,
        how=how,
        structure=structure,
        leaves=leaves,
        weight=weight,
        label=name,
        location=location,
    )


def _taken_apart(value: Any) -> tuple[Structure, tuple[Array, ...]]:
    """Return the structure and leaves of a dict; a number or a list becomes one array."""
    structure, leaves = taken_apart(value if isinstance(value, dict) else array(value))
    return structure, tuple(map(array, leaves))


def merge_call(
    *, index: int = 0, call: int = 1, name: str | None = None, location: str = ""
) -> MergeCall:
    return MergeCall(
        call_id=call,
        position=index,
        function=NOTHING,
        arguments=NOTHING,
        label=name,
        location=location,
    )


def waiting(variable_id: int = W, *, index: int = 0) -> Waiting:
    return Waiting(call_id=1, variable_id=variable_id, position=index, location="train.py:40")


def host_call(question: str = "?") -> HostCall:
    return HostCall(call_id=1, request=Payload(question), location="train.py:50")


def start(call: int = 1, present: int = 2) -> Start:
    return Start(call_id=call, function_id="f", arguments=NOTHING, present=present)


def returned(report: Report | None = None, *, call: int = 1) -> Returned:
    return Returned(call_id=call, result=NOTHING, report=report or Report())


def raised(text: str, *, call: int = 1) -> Raised:
    return Raised(call_id=call, exception=Payload(text), traceback=text, report=Report())


# ---------------------------------------------------------------- events and actions


def handle(
    state: CoordinatorState, replica_id: int, message: Message | Writes, now_s: float = 0.0
) -> list[CoordinatorAction]:
    """Give the coordinator a message or an outbox, and return the coordinator's actions."""
    messages = message.packed(state.registry.specs) if isinstance(message, Writes) else (message,)
    actions: list[CoordinatorAction] = []
    for one in messages:
        actions += reduced(state, arrive(state, replica_id, one, now_s))
        state.validate()
    return actions


def arrive(
    state: CoordinatorState, replica_id: int, message: Message, now_s: float = 0.0
) -> list[CoordinatorAction]:
    """Give the coordinator a message, and return its actions, without the requested reductions."""
    return state.handle(MessageArrives(replica_id, message, now_s))


def reduced(
    state: CoordinatorState, actions: Sequence[CoordinatorAction]
) -> list[CoordinatorAction]:
    """Return the coordinator's actions, including those after its requested reductions."""
    done = list(actions)
    while done and isinstance(done[-1], Reduce):
        reduction = done.pop()
        assert isinstance(reduction, Reduce)
        done += state.handle(ReductionDone(reduction.token, reduction.computed()))
    return done


def describe(actions: Iterable[Any]) -> list[str]:
    """Return one line for each action. A sent layout has no line."""
    lines = []
    for action in actions:
        if isinstance(action, Send):
            TELLER.hear(0, action.message)
        if not (isinstance(action, Send) and isinstance(action.message, Layout)):
            lines.append(_describe(action))
    return lines


def _describe(action: Any) -> str:
    match action:
        case Send(to=to, message=message):
            text = TELLER.tell(0, message)
            return f"-> {text}" if to < 0 else f"{to} <- {text}"
        case Run(start=message):
            return f"run {message.call_id}"
        case Deliver(answer=message):
            return f"deliver {TELLER.tell(0, message)}"
        case Stop():
            return "stop"
        case RunMerge(call_id=call, position=index):
            return f"run merge {call}.{index}"
        case PerformHostCall(replica_id=replica_id, host_call=message):
            return f"answer {replica_id}: {message.request.tree}"
        case Reduce(operands=operands, operation=operation):
            return f"reduce {operation.value} " + " ".join(show(value) for value in operands)
        case ProgramDone(values=values):
            return " ".join(["done", *map(show, values)])
        case ProgramRefused(error=error):
            return f"refused: {type(error).__name__}"
        case Exchanged():
            return "exchanged"
        case Finish(call_id=call, error=error, raised=by):
            if error is not None:
                return f"finish {call}: {type(error).__name__}"
            return f"finish {call}" + ("" if by is None else f": {by[0]} raised {by[1].traceback}")
        case _:
            raise AssertionError(action)
