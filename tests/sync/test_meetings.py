"""Locks, barriers, sends and receives, in the states of the coordinator and of a replica."""

from __future__ import annotations

import pytest

from tests.sync.build import (
    ADD,
    NOTHING,
    W,
    array,
    call,
    coordinator,
    handle,
    replica,
    returned,
    spec,
)
from tests.sync.program import ReplicaProgram
from tests.sync.test_stalls import ASLEEP, BLOCKED, BUSY, COMPUTING, Cluster
from varsim.errors import ContextError, DeadlockError, ProtocolError
from varsim.protocol.limits import MAX_LOCKS_HELD
from varsim.protocol.messages import (
    Abort,
    BarrierArrival,
    Granted,
    LockRelease,
    LockRequest,
    Message,
    Passed,
    Payload,
    ReceiveRequest,
    SendRequest,
)
from varsim.sync.actions import Abandon, Await, CoordinatorAction, Deliver, Finish, Send
from varsim.sync.lock_account import MOST_LOCKS, OTHERS, LockAccount
from varsim.sync.replica_events import EnterBarrier, EnterLock, EnterReceive, EnterSend, LeaveLock


def lock(name: str = "a", *, shared: bool = False, call: int = 1) -> LockRequest:
    return LockRequest(call_id=call, lock=name, is_shared=shared, location="train.py:60")


def unlock(name: str = "a") -> LockRelease:
    return LockRelease(call_id=1, lock=name, location="train.py:61")


def barrier(name: str | None = None, group: tuple[int, ...] = ()) -> BarrierArrival:
    return BarrierArrival(call_id=1, barrier=name, group=group, location="train.py:62")


def send(to: int, value: Payload = NOTHING) -> SendRequest:
    return SendRequest(call_id=1, to=to, value=value, location="train.py:63")


def recv(source: int) -> ReceiveRequest:
    return ReceiveRequest(call_id=1, source=source, location="train.py:64")


def answered(actions: list[CoordinatorAction]) -> dict[int, type[Message]]:
    """Return the replicas that get an answer, with its class."""
    return {one.to: type(one.message) for one in actions if isinstance(one, Send)}


# ---------------------------------------------------------------- the coordinator


def test_a_lock_goes_from_holder_to_holder() -> None:
    state = coordinator(num_replicas=3)
    assert {1: Granted} == answered(handle(state, 1, lock()))
    assert {} == answered(handle(state, 0, lock()))
    assert {} == answered(handle(state, 2, lock()))
    assert {0: Granted} == answered(handle(state, 1, unlock()))
    assert {2: Granted} == answered(handle(state, 0, unlock()))


def test_the_end_of_a_function_releases_its_locks() -> None:
    state = coordinator()
    handle(state, 0, lock())
    handle(state, 1, lock())
    assert {1: Granted} == answered(handle(state, 0, returned()))


def test_each_call_has_locks_of_its_own() -> None:
    """A call that a merge_call starts does not wait for the locks of the outer call."""
    state = coordinator()
    handle(state, 0, lock())
    call(state)
    assert {1: Granted} == answered(handle(state, 1, lock(call=2)))


def test_a_barrier_and_a_send_answer_both_sides() -> None:
    state = coordinator()
    assert {} == answered(handle(state, 0, barrier()))
    assert {0: Granted, 1: Granted} == answered(handle(state, 1, barrier()))
    assert {} == answered(handle(state, 0, send(1)))
    assert {0: Granted, 1: Passed} == answered(handle(state, 1, recv(0)))


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([unlock()], "does not hold lock 'a'"),
        ([lock(), lock()], "already holds lock 'a'"),
        ([lock("")], "has 0 characters"),
        ([barrier("x" * 1001)], "has 1001 characters"),
        ([send(0)], "replica 0 cannot exchange a value with 0"),
        ([recv(2)], "replica 0 cannot exchange a value with 2"),
        ([barrier(), barrier()], "although it waits"),
        ([*(lock(f"a{i}") for i in range(MAX_LOCKS_HELD + 1))], "holds too many locks"),
    ],
)
def test_the_coordinator_refuses(messages: list[Message], problem: str) -> None:
    state = coordinator()
    *before, last = messages
    for message in before:
        state.validate()
        handle(state, 0, message)
    with pytest.raises(ProtocolError, match=problem):
        handle(state, 0, last)


def test_a_deadlock_ends_the_call_on_all_replicas() -> None:
    state = coordinator(num_replicas=3)
    handle(state, 0, recv(1))
    *aborts, finish = handle(state, 1, recv(0))
    assert dict.fromkeys(range(3), Abort) == answered(aborts)
    assert isinstance(finish, Finish)
    assert isinstance(finish.error, DeadlockError)
    assert (0, 1) == finish.error.replica_ids


# ---------------------------------------------------------------- stalls


def test_a_stalled_holder_is_named_and_not_the_replicas_that_wait() -> None:
    cluster = Cluster(ASLEEP, ASLEEP, ASLEEP)
    for replica_id in (1, 0, 2):
        cluster.hear(replica_id, lock())
    cluster.wait(100)

    assert [(5, {1: BLOCKED})] == cluster.warned
    assert [(60, {1: BLOCKED})] == cluster.ended
    assert "it holds lock 'a', for which replicas 0, 2 wait" in str(cluster.warnings[0])


def test_the_wait_for_a_lock_is_not_time_without_progress() -> None:
    cluster = Cluster(BUSY, ASLEEP)
    cluster.hear(0, lock())
    cluster.hear(1, lock())
    cluster.wait(4)
    cluster.hear(0, unlock())
    cluster.wait(4)
    assert not any(1 in replicas for _, replicas in cluster.warned)


def test_an_endless_loop_of_locks_is_a_stall() -> None:
    cluster = Cluster(BUSY, ASLEEP)
    cluster.hear(1, barrier())
    while not cluster.ended and cluster.now_s < 2_000:
        cluster.hear(0, lock())
        cluster.wait(0.5)
        cluster.hear(0, unlock())
        cluster.wait(0.5)
    assert [(600, {0: COMPUTING})] == cluster.ended


def test_a_barrier_is_progress() -> None:
    cluster = Cluster(BUSY, BUSY)
    for _ in range(10):
        cluster.wait(4)
        cluster.hear(0, barrier())
        cluster.hear(1, barrier())
    assert [] == cluster.warned


# ---------------------------------------------------------------- a replica


def sent(program: ReplicaProgram, event: object) -> list[str]:
    """Return the classes of the messages that an event sends."""
    actions = program.state.handle(event)  # type: ignore[arg-type]
    program.validate()
    return [type(one.message).__name__ for one in actions if isinstance(one, Send)]


def test_the_outbox_is_sent_before_a_lock_is_taken_or_released() -> None:
    program = replica(spec())
    program.write(W, ADD, array(1.0))
    written = ["Layout", "Contribution"]
    assert [*written, "LockRequest"] == sent(program, EnterLock("a", False, ""))
    assert [Deliver] == [type(one) for one in program.handle(Granted(call_id=1))]
    program.write(W, ADD, array(1.0))
    assert ["Contribution", "LockRelease"] == sent(program, LeaveLock("a", ""))


def test_a_lock_is_not_reentrant() -> None:
    program = replica()
    sent(program, EnterLock("a", False, "train.py:7"))
    program.handle(Granted(call_id=1))
    with pytest.raises(ContextError, match=r"has held lock 'a' since train\.py:7"):
        program.state.handle(EnterLock("a", True, "train.py:8"))
    assert ["LockRequest"] == sent(program, EnterLock("b", False, ""))


def test_only_a_held_lock_is_released() -> None:
    with pytest.raises(ContextError, match="does not hold lock 'a'"):
        replica().state.handle(LeaveLock("a", ""))


def test_a_failed_call_ends_waits_and_needs_no_release() -> None:
    program = replica()
    sent(program, EnterLock("a", False, ""))
    program.handle(Granted(call_id=1))
    assert ["BarrierArrival"] == sent(program, EnterBarrier(None, (), ""))
    assert [Abandon("no")] == program.handle(Abort(call_id=1, reason="no"))
    assert [] == sent(program, LeaveLock("a", ""))
    assert [Abandon("no")] == program.state.handle(EnterLock("a", False, ""))


def test_a_value_is_delivered_to_the_receiver() -> None:
    program, value = replica(), Passed(call_id=1, value=Payload("value"))
    assert ["ReceiveRequest"] == sent(program, EnterReceive(1, ""))
    assert [Deliver(value)] == program.handle(value)
    assert Await(may_block=False) == program.state.handle(EnterSend(1, NOTHING, ""))[-1]
    with pytest.raises(ProtocolError, match="a Passed arrives"):
        program.handle(value)


# ---------------------------------------------------------------- the account


def test_the_account_has_each_replicas_waits() -> None:
    state = coordinator()
    handle(state, 0, lock(), 1.0)
    handle(state, 1, lock(), 2.0)
    handle(state, 0, unlock(), 5.0)
    handle(state, 1, unlock(), 6.0)

    first, second = state.lock_statistics()
    assert ("a", 0, 1, 0, 0.0, 4.0) == (
        first.lock, first.replica_id, first.requests, first.waits, first.waited_s, first.held_s
    )  # fmt: skip
    assert (1, 1, 1, 3.0, 3.0, 1.0) == (
        second.replica_id, second.requests, second.waits, second.waited_s, second.longest_s,
        second.held_s,
    )  # fmt: skip


def test_the_account_of_many_locks_is_limited() -> None:
    account = LockAccount()
    for number in range(MOST_LOCKS + 10):
        account.granted(f"lock {number:06}", 0, 0.0, had_to_wait=False)
        account.released(f"lock {number:06}", 0, 1.0)

    others, *_ = entries = account.statistics()
    assert MOST_LOCKS + 1 == len(entries)
    assert (OTHERS, 10, 10.0) == (others.lock, others.requests, others.held_s)
