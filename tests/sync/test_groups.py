"""The states and process groups: positions, the replicas that wait, progress, and failures."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sync.build import (
    ADD,
    W,
    all_reduce,
    array,
    combine,
    contribution,
    host_call,
    raised,
    replica,
    returned,
    spec,
    waiting,
)
from tests.sync.test_call_state import CallDriver, positions
from varsim.errors import MismatchError, ProtocolError
from varsim.protocol.messages import Combination, Combine, Reduced
from varsim.protocol.parts import LEAF, CombineKind
from varsim.spec import ReduceOp
from varsim.sync.actions import Send
from varsim.sync.pairing import GRACE_S
from varsim.sync.participant import Status
from varsim.sync.replica_events import EnterCombine

RUNNING, WAITING, ENDED = Status


def of_group(*group: int, op: ReduceOp = ReduceOp.SUM, index: int = 0, value: Any = 1.0) -> Combine:
    return combine(Combination(CombineKind.ALL_REDUCE, op, group=group), value, index=index)


# ---------------------------------------------------------------- a call


def test_a_collective_of_a_group_is_complete_when_all_members_have_arrived():
    call = CallDriver(3)
    assert [] == call.arrive(2, of_group(0, 2))
    (complete,) = call.arrive(0, of_group(0, 2))

    assert [0, 2] == list(complete.replica_ids)
    assert [WAITING, RUNNING, WAITING] == call.statuses()
    call.release([complete])
    assert [RUNNING] * 3 == call.statuses()


def test_positions_count_per_group():
    call = CallDriver(3)
    for index in range(2):
        call.arrive(0, of_group(0, 2, index=index))
        call.release(call.arrive(2, of_group(0, 2, index=index)))
    call.arrive(0, all_reduce(1.0))
    call.arrive(1, all_reduce(1.0))
    complete = call.arrive(2, all_reduce(1.0))
    assert [(0, 1)] == positions(complete)
    call.release(complete)

    call.arrive(0, of_group(0, 1))
    with pytest.raises(ProtocolError, match="replica 1 is at collective 1 instead of 0"):
        call.arrive(1, of_group(0, 1, index=1))


def test_writes_of_all_replicas_are_paired_while_members_wait():
    call = CallDriver(2)
    call.arrive(0, contribution(1.0, ADD))
    call.arrive(0, of_group(0))
    assert [(0, 1)] == positions(call.arrive(1, contribution(2.0, ADD)))


def test_a_released_collective_of_a_group_leaves_other_waits():
    call = CallDriver(3)
    call.arrive(1, contribution(1.0, ADD))
    call.state.wait(1, waiting(W))
    call.arrive(0, of_group(0, 2))
    call.release(call.arrive(2, of_group(0, 2)))

    assert [RUNNING, WAITING, RUNNING] == call.statuses()


def test_joined_replicas_are_no_members():
    call = CallDriver(2)  # of three replicas
    call.arrive(0, of_group(0, 1, 2))
    (complete,) = call.arrive(1, of_group(0, 1, 2))

    assert [0, 1] == list(complete.replica_ids)


def test_a_collective_of_a_group_is_progress_only_of_its_members():
    call = CallDriver(3)
    call.arrive(0, of_group(0, 2), 5.0)
    call.release(call.arrive(2, of_group(0, 2), 6.0))

    assert {0: 6.0, 1: 1.0, 2: 6.0} == {i: one.since_s for i, one in call.state.quiet(9.0).items()}


def test_the_time_of_requests_counts_from_the_last_collective_of_a_group():
    call = CallDriver(2)
    for number in range(3):
        call.state.request_host_call(0, host_call(), 2.0)
        call.state.host_calls.next()
        call.state.answered(0, 4.0)
        if number == 1:
            call.release(call.arrive(0, of_group(0), 5.0))

    assert 2.0 == call.state.quiet(9.0)[0].lent_s


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("first_ends", [False, True])
def test_a_member_that_has_ended_fails_the_call_at_once(first_ends):
    call = CallDriver(3)
    if first_ends:
        call.end(2, returned())
    call.arrive(0, of_group(0, 2))
    if not first_ends:
        call.end(2, returned())

    assert call.state.doomed
    lines = str(call.failure()).splitlines()
    assert "replicas wait at collective 1 of the group of replicas 0, 2 in this call" in lines[0]
    assert "replica 0: all_reduce(SUM, float32[], group=[0, 2]) at train.py:30" in lines[1]
    assert "replica 2: never arrived; its function returned after 0 collectives of this" in lines[2]
    assert "Let every member reach this operation" in lines[-1]


def test_members_that_differ_fail_the_call_and_others_do_not():
    call = CallDriver(4)
    call.arrive(0, of_group(0, 1))
    call.arrive(2, of_group(2, 3, op=ReduceOp.MEAN))
    assert not call.state.doomed
    call.arrive(1, of_group(0, 1, op=ReduceOp.MEAN))

    error = call.failure()
    assert isinstance(error, MismatchError)
    assert "different arguments at collective 1 of the group of replicas 0, 1" in str(error)
    assert [(0,), (1,)] == [one.replica_ids for one in error.groups]
    assert "all_reduce(SUM, group=[0, 1]) on every member" in str(error)


def test_an_ended_replica_does_not_fail_a_group_of_others():
    call = CallDriver(3)
    call.end(1, returned())
    call.arrive(0, of_group(0, 2))
    assert not call.state.doomed
    call.release(call.arrive(2, of_group(0, 2)))
    call.end(0, returned())
    call.end(2, returned())

    assert call.state.finished


def test_the_call_is_not_finished_before_the_collectives_of_groups():
    call = CallDriver(2)
    call.end(1, returned())
    call.arrive(0, of_group(0))
    assert not call.state.finished


def test_an_exception_of_a_member_is_raised_instead_of_the_mismatch_of_the_group():
    call = CallDriver(3)
    call.arrive(0, of_group(0, 2))
    call.end(2, raised("stop"), 1.0)

    assert None is call.failure(1.0)  # replica 1 runs, and could raise, too
    assert (2, "stop") == call.raised(1.0 + GRACE_S)


def test_a_member_that_waits_elsewhere_can_still_arrive_while_others_run():
    """Replica 0 waits in another group for replica 2, which runs; then it would arrive, too."""
    call = CallDriver(3, started_s=0.0)
    call.arrive(0, of_group(0, 2))
    call.end(1, raised("stop"), 1.0)
    assert None is call.failure(1.0)
    call.release(call.arrive(2, of_group(0, 2), 1.1))
    call.end(0, raised("first"), 1.2)
    call.end(2, returned(), 1.2)

    assert (0, "first") == call.raised(1.2)


# ---------------------------------------------------------------- a replica


def entering(how: Combination) -> EnterCombine:
    return EnterCombine(how, (("", LEAF),), (array(1.0),), None, "")


def entered(program: Any, *group: int) -> Combine:
    """Let a replica enter a collective; return its message, which is the last one."""
    how = Combination(CombineKind.ALL_REDUCE, ReduceOp.SUM, group=group)
    *_, last = [
        action.message for action in program.state.handle(entering(how)) if isinstance(action, Send)
    ]
    assert isinstance(last, Combine)
    return last


def test_a_replica_counts_the_collectives_of_each_group():
    program = replica(spec())
    seen = []
    for group in ((0,), (0,), (), (0,), ()):
        message = entered(program, *group)
        seen.append((message.how.group, message.position))
        leaves = (array(2.0),)
        program.handle(
            Reduced(call_id=1, position=message.position, leaves=leaves, group=message.how.group)
        )

    assert [((0,), 0), ((0,), 1), ((), 0), ((0,), 2), ((), 1)] == seen


def test_a_replica_refuses_the_answer_of_another_group():
    program = replica(spec())
    entered(program, 0)
    with pytest.raises(ProtocolError, match="a Reduced arrives"):
        program.handle(Reduced(call_id=1, position=0, leaves=(array(2.0),)))


def test_the_outbox_is_sent_before_a_collective_of_a_group():
    program = replica(spec())
    program.write(W, ADD, array(1.0))
    how = Combination(CombineKind.ALL_REDUCE, ReduceOp.SUM, group=(0,))
    actions = program.state.handle(entering(how))

    sent = [type(one.message).__name__ for one in actions if isinstance(one, Send)]
    assert ["Layout", "Contribution", "Combine"] == sent
