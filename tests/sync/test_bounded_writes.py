"""The coordinator and the replicas under bounded staleness, message by message."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.sync.build import array, coordinator, handle, returned, spec, start
from tests.sync.test_stalls import ASLEEP, BLOCKED, Cluster
from varsim.distribute.policies import synchronization_of
from varsim.errors import DeadlockError, ProtocolError
from varsim.protocol.messages import BoundedWrite, CopyRequest, Create, FreshCopy, Message
from varsim.spec import Operation, VariableAggregation, VariableSpec
from varsim.sync.actions import Await, Finish, Proceed, Send, ShowValue
from varsim.sync.bounded_writes import NO_OTHERS
from varsim.sync.coordinator_events import ProgramCreate
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.policies.bounded_staleness import BoundedStaleness
from varsim.sync.replica_events import FunctionBegins, ProgramBlocks, ReplicaRead, ReplicaWrite
from varsim.sync.replica_state import ReplicaState

V = 7


def bounded(bound: int = 1, aggregation: str = "SUM") -> VariableSpec:
    kind = synchronization_of(BoundedStaleness(bound))
    one = spec(VariableAggregation[aggregation], variable_id=V)
    return replace(one, requested=kind, synchronization=kind)


def write(clock: int, value: float = 1.0, *, waits: bool = False, **changed: Any) -> BoundedWrite:
    fields: dict[str, Any] = {
        "call_id": 1,
        "variable_id": V,
        "operation": Operation.ASSIGN_ADD,
        "clock": clock,
        "waits": waits,
        "operand": array(value),
        "location": "train.py:1",
    }
    return BoundedWrite(**(fields | changed))


ASK = CopyRequest(call_id=1, variable_id=V, location="train.py:2")


def copies(state: CoordinatorState, replica_id: int, message: Message) -> list[tuple[Any, ...]]:
    """Return the copies that replicas get: receiver, version, slowest clock and value."""
    actions = handle(state, replica_id, message)
    state.validate()
    return [
        (one.to, one.message.version, one.message.slowest, one.message.value.tolist())
        for one in actions
        if isinstance(one, Send) and isinstance(one.message, FreshCopy)
    ]


# ---------------------------------------------------------------- the coordinator


def test_a_write_that_is_too_far_ahead_is_held_and_then_both_are_answered() -> None:
    state = coordinator(bounded(0))

    assert [] == copies(state, 1, write(1, 10.0, waits=True))
    assert [(1, 2, 1, 11.0), (0, 2, 1, 11.0)] == copies(state, 0, write(1, waits=True))


def test_a_held_write_is_not_in_the_copy() -> None:
    state = coordinator(bounded(0), num_replicas=3)

    copies(state, 1, write(1, waits=True))
    assert [(0, 0, 0, 0.0)] == copies(state, 0, ASK)


def test_a_replica_within_the_bound_gets_no_answer_unless_it_waits() -> None:
    state = coordinator(bounded(2))

    assert [] == copies(state, 0, write(1))
    assert [(0, 2, 0, 2.0)] == copies(state, 0, write(2, waits=True))
    assert [(1, 2, 2, 2.0)] == copies(state, 1, ASK)


def test_each_variable_has_clocks_of_its_own() -> None:
    other = replace(bounded(0), variable_id=V + 1, name="other")
    state = coordinator(bounded(0), other)

    assert [] == copies(state, 0, write(1, waits=True))
    assert [] == copies(state, 1, write(1, waits=True, variable_id=V + 1))


def test_the_end_of_a_function_ends_the_waits_for_it() -> None:
    state = coordinator(bounded(0), num_replicas=3)
    copies(state, 0, write(1, waits=True))
    copies(state, 1, write(1, waits=True))

    assert [(0, 2, 1, 2.0), (1, 2, 1, 2.0)] == copies(state, 2, returned())
    assert [] == copies(state, 0, write(2, waits=True))
    assert [(0, 3, NO_OTHERS, 3.0)] == copies(state, 1, returned())


def test_a_mean_adds_the_part_of_each_replica() -> None:
    state = coordinator(bounded(3, "MEAN"))

    assert [(0, 1, 0, 3.0)] == copies(state, 0, write(1, 6.0, waits=True))


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([write(2)], "write 2 of replica 0 to variable 7 comes after write 0"),
        ([write(1), write(1)], "write 1 of replica 0 to variable 7 comes after write 1"),
        ([write(1), write(2)], "too many writes ahead, and does not wait"),
        ([write(1, operand=array([1.0]))], "is malformed"),
        ([write(1, operand=array(1, "int32"))], "is malformed"),
        ([write(1, operation=Operation.ASSIGN)], "is malformed"),
        ([write(1, operation=Operation.SCATTER_ADD)], "is malformed"),
        ([write(1, variable_id=99)], "names variable 99, which does not exist"),
        ([write(1, variable_id=1)], "has no copy to which replicas add"),
        ([replace(ASK, variable_id=1)], "has no copy to which replicas add"),
        ([write(1), write(2, waits=True), ASK], "although it waits"),
    ],
)
def test_the_coordinator_refuses(messages: list[Message], problem: str) -> None:
    state = coordinator(bounded(1), spec())
    *before, last = messages
    for message in before:
        handle(state, 0, message)
    with pytest.raises(ProtocolError, match=problem):
        handle(state, 0, last)


def test_a_deadlock_of_two_variables_ends_the_call() -> None:
    """Each replica waits for the other one's write to the other variable."""
    other = replace(bounded(0), variable_id=V + 1, name="other")
    state = coordinator(bounded(0), other)
    handle(state, 0, write(1, waits=True))

    *_, finish = handle(state, 1, write(1, waits=True, variable_id=V + 1))

    assert isinstance(finish, Finish)
    assert isinstance(finish.error, DeadlockError)
    assert "which has written it never (this is write 1)" in str(finish.error)
    assert "allow a larger staleness" in str(finish.error)


def test_a_stalled_replica_is_named_and_not_the_one_that_waits_for_it() -> None:
    cluster = Cluster(ASLEEP, ASLEEP)
    cluster.state.handle(ProgramCreate(bounded(0), array(0.0)))
    cluster.hear(0, write(1, waits=True))
    cluster.wait(100)

    text = str(cluster.warnings[0])
    assert [(5, {1: BLOCKED})] == cluster.warned
    assert "replica 0: waits in variable7.assign_add (float32 scalar) at train.py:1" in text


# ---------------------------------------------------------------- a replica


def replica(bound: int = 1, aggregation: str = "SUM") -> ReplicaState:
    state = ReplicaState(0, 2)
    state.handle(Create(spec=bounded(bound, aggregation), value=array(0.0)))
    state.handle(start())
    state.handle(FunctionBegins(1))
    return state


def add(state: ReplicaState, value: float = 1.0) -> list[Any]:
    """Write, and return the clock and whether the program waits."""
    actions = state.handle(ReplicaWrite(V, Operation.ASSIGN_ADD, array(value), "train.py:1"))
    state.validate()
    (message,) = [one.message for one in actions if isinstance(one, Send)]
    assert isinstance(message, BoundedWrite)
    assert isinstance(actions[-1], Await if message.waits else Proceed)
    return [message.clock, message.waits]


def fresh(version: int, slowest: int, value: float) -> FreshCopy:
    return FreshCopy(call_id=1, variable_id=V, version=version, slowest=slowest, value=array(value))


def read(state: ReplicaState) -> float | None:
    """Return the value of a read; None if the program must wait."""
    (action,) = state.handle(ReplicaRead(V))
    return float(action.value) if isinstance(action, ShowValue) else None


def test_a_replica_waits_when_its_cache_may_lack_too_much() -> None:
    state = replica(1)

    assert [1, False] == add(state)
    assert [2, True] == add(state)
    assert [Proceed()] == list(state.handle(fresh(9, 3, 20.0)))
    assert [[3, False], [4, False], [5, True]] == [add(state) for _ in range(3)]


def test_the_first_read_in_a_call_requests_the_copy_and_later_reads_do_not() -> None:
    state = replica(3)
    add(state, 5.0)

    assert read(state) is None
    (sent,) = state.handle(ProgramBlocks("train.py:2"))
    assert isinstance(sent, Send)
    assert isinstance(sent.message, CopyRequest)
    (shown,) = state.handle(fresh(2, 0, 15.0))
    assert isinstance(shown, ShowValue)
    assert 15.0 == shown.value
    add(state, 5.0)
    assert 20.0 == read(state)


def test_a_mean_adds_only_the_part_of_this_replica_to_the_cache() -> None:
    state = replica(0, "MEAN")
    add(state)
    state.handle(fresh(2, 8, 1.0))
    add(state, 4.0)

    assert 3.0 == read(state)


@pytest.mark.parametrize(
    "copy",
    [
        fresh(-1, 0, 1.0),
        fresh(1, -1, 1.0),
        FreshCopy(call_id=1, variable_id=V, version=1, slowest=0, value=array([1.0])),
        FreshCopy(call_id=1, variable_id=V, version=1, slowest=0, value=array(1, "int32")),
        FreshCopy(call_id=1, variable_id=99, version=1, slowest=0, value=array(1.0)),
    ],
)
def test_a_replica_refuses_a_wrong_copy(copy: FreshCopy) -> None:
    state = replica(0)
    add(state)
    with pytest.raises(ProtocolError):
        state.handle(copy)


def test_a_replica_refuses_a_copy_for_which_it_does_not_wait() -> None:
    state = replica(1)
    add(state)
    with pytest.raises(ProtocolError, match="for which the program does not wait"):
        state.handle(fresh(1, 0, 1.0))


def test_a_copy_of_an_ended_call_is_ignored() -> None:
    state = replica(0)
    add(state)

    assert not state.handle(replace(fresh(1, 0, 1.0), call_id=9))


def test_the_program_can_use_its_array_again_after_a_write() -> None:
    state, value = replica(1), np.array(1.0, np.float32)
    (sent, _) = state.handle(ReplicaWrite(V, Operation.ASSIGN_ADD, value, ""))
    value[...] = 9.0

    assert isinstance(sent, Send)
    assert isinstance(sent.message, BoundedWrite)
    assert 1.0 == sent.message.operand
