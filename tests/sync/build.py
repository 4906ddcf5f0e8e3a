"""Short ways to make the states, their messages and what they do, for tests of one fact each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from varsim.protocol.messages import (
    AllGather,
    AllReduce,
    Ask,
    Commit,
    Contribution,
    Create,
    MergeCall,
    Message,
    Payload,
    Raised,
    Report,
    Returned,
    Start,
    Waiting,
)
from varsim.spec import (
    Operation,
    ReduceOp,
    Shape,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)
from varsim.sync.actions import AnswerAsk, Deliver, Fetched, Finish, Run, RunMerge, Send, Stop
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.replica_state import ReplicaState
from varsim.testing.script import describe as describe_message
from varsim.testing.script import show

NONE, SUM, MEAN, FIRST = VariableAggregation
AUTO, LOCAL, ON_WRITE, ON_READ = VariableSynchronization
ASSIGN, ADD, SUB = Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB

W, V = 1, 2
"""Ids of the variables that most tests have."""

NAMES = {W: "w", V: "v", 3: "third"}
NOTHING = Payload(None)


def spec(
    aggregation: VariableAggregation = SUM,
    synchronization: VariableSynchronization = ON_WRITE,
    *,
    variable_id: int = W,
    shape: Shape = (),
    dtype: str = "float32",
) -> VariableSpec:
    return VariableSpec(
        variable_id=variable_id,
        name=NAMES[variable_id],
        shape=shape,
        dtype=np.dtype(dtype),
        requested=synchronization,
        synchronization=synchronization,
        aggregation=aggregation,
        trainable=True,
        created_at="model.py:1",
    )


def array(value: Any, dtype: str = "float32") -> np.ndarray[Any, Any]:
    return np.array(value, dtype=dtype)


def replica(
    *specs: VariableSpec, replica_id: int = 0, num_replicas: int = 2, call: int | None = 1
) -> ReplicaState:
    """A replica that holds zeros, and runs a call."""
    state = ReplicaState(replica_id, num_replicas)
    for one in specs:
        shape = tuple(1 if size is None else size for size in one.shape)
        state.handle(Create(spec=one, value=np.zeros(shape, one.dtype)))
    if call is not None:
        state.begin(call)
    return state


def coordinator(*specs: VariableSpec, num_replicas: int = 2, calls: int = 1) -> CoordinatorState:
    """A coordinator whose variables are zero, with calls that run."""
    state = CoordinatorState(num_replicas)
    for one in specs:
        shape = tuple(1 if size is None else size for size in one.shape)
        state.ledger.create(one, np.zeros(shape, one.dtype))
    for _ in range(calls):
        state.start("f", NOTHING, [NOTHING] * num_replicas)
    return state


# ---------------------------------------------------------------- messages


def commit(
    version: int,
    value: Any,
    operation: Operation = ASSIGN,
    *,
    variable_id: int = W,
    call: int = 1,
) -> Commit:
    return Commit(
        call_id=call,
        variable_id=variable_id,
        version=version,
        operation=operation,
        value=array(value),
    )


def contribution(
    value: Any,
    operation: Operation = ASSIGN,
    *,
    index: int = 0,
    variable_id: int = W,
    call: int = 1,
) -> Contribution:
    sent = None if value is None else array(value)
    return Contribution(
        call_id=call,
        index=index,
        variable_id=variable_id,
        operation=operation,
        value=sent,
        shape=() if sent is None else sent.shape,
        place=f"train.py:{10 + index}",
    )


def all_reduce(value: Any, op: ReduceOp = ReduceOp.SUM, *, index: int = 0) -> AllReduce:
    return AllReduce(
        call_id=1, index=index, op=op, structure="…", leaves=(array(value),), place="train.py:30"
    )


def all_gather(value: Any, axis: int = 0, *, index: int = 0) -> AllGather:
    return AllGather(
        call_id=1, index=index, axis=axis, structure="…", leaves=(array(value),), place=""
    )


def merge_call(*, index: int = 0, call: int = 1) -> MergeCall:
    return MergeCall(call_id=call, index=index, function=NOTHING, arguments=NOTHING, place="")


def waiting(variable_id: int = W) -> Waiting:
    return Waiting(call_id=1, variable_id=variable_id, place="train.py:40")


def ask(question: str = "?") -> Ask:
    return Ask(call_id=1, question=Payload(question), place="train.py:50")


def start(call: int = 1) -> Start:
    return Start(call_id=call, function_id="f", arguments=NOTHING)


def returned(report: Report | None = None, *, call: int = 1) -> Returned:
    return Returned(call_id=call, result=NOTHING, report=report or Report())


def raised(text: str, *, call: int = 1) -> Raised:
    return Raised(call_id=call, exception=Payload(text), traceback=text, report=Report())


# ---------------------------------------------------------------- what states do


def describe(actions: Iterable[Any]) -> list[str]:
    """Actions in a line each."""
    return [_describe(action) for action in actions]


def _describe(action: Any) -> str:
    match action:
        case Send(to=to, message=message):
            text = _described(message)
            return f"-> {text}" if to < 0 else f"{to} <- {text}"
        case Run(start=message):
            return f"run {message.call_id}"
        case Deliver(answer=message):
            return f"deliver {_described(message)}"
        case Stop():
            return "stop"
        case RunMerge(call_id=call, index=index):
            return f"run merge {call}.{index}"
        case AnswerAsk(replica_id=replica_id, ask=message):
            return f"answer {replica_id}: {message.question.tree}"
        case Fetched(values=values):
            return "fetched " + " ".join(show(value) for value in values)
        case Finish(call_id=call, error=error, raised=by):
            if error is not None:
                return f"finish {call}: {type(error).__name__}"
            return f"finish {call}" + ("" if by is None else f": {by[0]} raised {by[1].traceback}")
        case _:
            raise AssertionError(action)


def _described(message: Message) -> str:
    return describe_message(message, NAMES)
