"""The states and replicas that join: the others go on without them, and all rejoin together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.sync.build import (
    ADD,
    AUTO,
    FIRST,
    MEAN,
    SUM,
    W,
    all_gather,
    all_reduce,
    array,
    contribution,
    contributions,
    coordinator,
    describe,
    handle,
    merge_call,
    raised,
    replica,
    returned,
    spec,
    written,
)
from tests.sync.test_call_state import CallDriver, positions
from tests.sync.test_groups import of_group
from varsim.errors import DeadlockError, MismatchError, ProtocolError, VarsimError
from varsim.protocol.messages import BarrierArrival, Combine, Commit, Granted, Join, Joined, Reduced
from varsim.spec import Operation, ReduceOp
from varsim.sync.actions import Await, Deliver, Finish, Send
from varsim.sync.pairing import GRACE_S
from varsim.sync.participant import Collectives, Status
from varsim.sync.replica_events import EnterJoin

RUNNING, WAITING, ENDED = Status


class Call(CallDriver):
    """A call whose replicas can join."""

    def join(self, replica_id: int, index: int = 0, now_s: float = 0.0) -> list[Collectives]:
        complete = self.state.join(replica_id, join(index), now_s)
        self.state.validate()
        return complete


def join(index: int = 0, location: str = "train.py:90") -> Join:
    return Join(call_id=1, position=index, location=location)


# ---------------------------------------------------------------- a call


def test_a_collective_is_complete_without_the_replicas_that_have_joined():
    call = Call(3)
    assert [] == call.join(1)
    assert [] == call.arrive(0, all_reduce(1.0))
    (complete,) = call.arrive(2, all_reduce(1.0))

    assert ([0, 2], [1]) == (list(complete.replica_ids), list(complete.joined or ()))
    call.release([complete])
    assert [RUNNING, WAITING, RUNNING] == call.statuses()


def test_a_join_completes_the_collective_in_which_the_others_wait():
    call = Call(3)
    call.arrive(0, all_reduce(1.0))
    call.arrive(2, all_reduce(1.0))
    (complete,) = call.join(1)

    assert [0, 2] == list(complete.replica_ids)


def test_a_replica_takes_part_in_the_collectives_before_its_join():
    call = Call(2)
    call.arrive(1, contributions(written(1.0, ADD), written(1.0, ADD)))
    call.join(1, 2)
    both, alone = call.arrive(0, contributions(*[written(2.0, ADD)] * 3))

    assert [(0, 2), (2, 3)] == positions([both, alone])
    assert ([0, 1], None) == (list(both.replica_ids), both.joined)
    assert ([0], [1]) == (list(alone.replica_ids), list(alone.joined or ()))


def test_all_replicas_continue_at_the_same_position_after_all_have_joined():
    call = Call(3)
    call.join(0)
    call.arrive(1, contribution(1.0, ADD))
    call.join(1, 1)
    call.arrive(2, contribution(1.0, ADD))
    (all_joined,) = call.join(2, 1)
    call.release([all_joined])

    assert (1, 2, [0, 1, 1]) == (
        all_joined.start, all_joined.stop, [one.start for one in all_joined.arrivals],
    )  # fmt: skip
    assert [RUNNING] * 3 == call.statuses()
    for replica_id in range(2):
        call.arrive(replica_id, contribution(1.0, ADD, index=2))
    assert [(2, 3)] == positions(call.arrive(2, contribution(1.0, ADD, index=2)))


def test_a_replica_joins_at_the_position_of_its_next_collective():
    call = Call()
    call.arrive(0, contribution(1.0, ADD))
    with pytest.raises(ProtocolError, match="replica 0 is at collective 0 instead of 1"):
        call.join(0, 0)


def test_a_replica_that_has_joined_sends_nothing():
    call = Call()
    call.join(0)
    with pytest.raises(ProtocolError, match="replica 0 has sent a message, although it waits"):
        call.join(0)


def test_joins_in_different_lines_belong_together():
    call = Call()
    call.join(0)
    call.state.join(1, join(location="train.py:91"), 0.0)
    call.state.validate()

    assert () == call.state.crossings()


def test_a_replica_that_has_joined_is_not_late():
    call = Call(2)
    call.join(0, now_s=5.0)

    assert [1] == list(call.state.quiet(900.0))


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("first_ends", [False, True])
def test_a_replica_that_ends_fails_the_call_if_another_one_has_joined(first_ends):
    call = Call(3)
    if first_ends:
        call.end(1, returned())
    call.join(0)
    if not first_ends:
        call.end(1, returned())
    assert call.state.doomed
    call.join(2)

    lines = str(call.failure()).splitlines()
    assert "replicas wait at collective 1 of this call for a replica that will not" in lines[0]
    assert [
        "  only replica 1: never arrived; its function returned after 0 collectives",
        "  replicas 0, 2: join at train.py:90",
        "  A join ends when every replica has joined.",
    ] == lines[1:4]


def test_an_exception_is_raised_instead_of_the_error_about_the_join():
    call = Call(3)
    call.join(0)
    call.end(1, raised("stop"), 1.0)

    assert None is call.failure(1.0)  # replica 2 runs, and could raise, too
    assert (1, "stop") == call.raised(1.0 + GRACE_S)


def test_collectives_before_the_end_of_a_replica_happen():
    call = Call(3)
    call.join(0)
    call.arrive(1, contribution(1.0, ADD))
    call.end(1, returned())

    assert [(0, 1)] == positions(call.arrive(2, contribution(1.0, ADD)))


def test_a_mismatch_of_the_others_names_the_replicas_that_have_joined():
    call = Call(3)
    call.join(0)
    call.arrive(1, all_reduce(1.0))
    call.arrive(2, all_reduce(1.0, op=ReduceOp.MEAN))

    error = call.failure()
    assert isinstance(error, MismatchError)
    assert "different arguments at collective 1 of this call" in str(error)
    assert [(0,), (1,), (2,)] == [one.replica_ids for one in error.groups]
    assert "replica 0: join at train.py:90" in str(error)


def test_a_group_waits_for_a_member_that_has_joined():
    call = Call(3)
    call.join(0)
    call.arrive(1, of_group(0, 1))

    error = call.state.deadlock(lambda _: ())
    assert isinstance(error, DeadlockError)
    lines = str(error).splitlines()
    assert "replica 0 waits in join at train.py:90 for replica 1, which has not joined" in lines[1]
    assert "replica 1 waits in all_reduce(SUM, float32[], group=[0, 1])" in lines[2]
    assert "for replica 0, which has not arrived there" in lines[2]
    assert "A replica that has joined waits until all replicas have joined" in lines[-1]


# ---------------------------------------------------------------- the coordinator


def reduced_values(actions: list[Any]) -> dict[int, float]:
    sent = [(one.to, one.message) for one in actions if isinstance(one, Send)]
    return {to: float(one.leaves[0]) for to, one in sent if isinstance(one, Reduced)}


@pytest.mark.parametrize(
    ("collective", "expected"),
    [
        (all_reduce(6.0), 12.0),
        (all_reduce(6.0, op=ReduceOp.MEAN), 4.0),
        (replace(all_reduce(1.0, op=ReduceOp.ANY), leaves=(np.array(True),)), 1.0),
    ],
)
def test_replicas_that_have_joined_give_zeros(collective, expected):
    state = coordinator(num_replicas=3)
    handle(state, 1, join())
    handle(state, 0, collective)

    assert {0: expected, 2: expected} == reduced_values(handle(state, 2, collective))


def test_a_weighted_mean_leaves_out_the_replicas_that_have_joined():
    def weighted(value: float, weight: float) -> Combine:
        return replace(all_reduce(value, op=ReduceOp.MEAN), weight=weight)

    state = coordinator(num_replicas=3)
    handle(state, 0, join())
    handle(state, 1, weighted(2.0, 1.0))

    assert {1: 5.0, 2: 5.0} == reduced_values(handle(state, 2, weighted(6.0, 3.0)))


def granted(actions: list[Any]) -> list[int]:
    sent = [(one.to, one.message) for one in actions if isinstance(one, Send)]
    return [to for to, one in sent if isinstance(one, Granted)]


def barrier(*group: int) -> BarrierArrival:
    return BarrierArrival(call_id=1, barrier=None, group=group, location="train.py:95")


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (1, 2, 0)])
def test_a_barrier_of_all_replicas_does_not_wait_for_those_that_have_joined(order):
    state = coordinator(num_replicas=3)
    messages = {0: join(), 1: barrier(), 2: barrier()}
    assert [] == [to for i in order[:2] for to in granted(handle(state, i, messages[i]))]

    assert [1, 2] == granted(handle(state, order[2], messages[order[2]]))


def test_a_barrier_waits_for_all_replicas_after_all_have_joined():
    state = coordinator(num_replicas=2)
    handle(state, 0, join())
    assert [1] == granted(handle(state, 1, barrier()))
    handle(state, 1, join())

    assert [] == granted(handle(state, 0, barrier()))
    assert [0, 1] == granted(handle(state, 1, barrier()))


def test_a_barrier_of_a_group_waits_for_a_member_that_has_joined():
    state = coordinator(num_replicas=3)
    handle(state, 0, join())
    error = failure_of(handle(state, 1, barrier(0, 1)))

    assert isinstance(error, DeadlockError)


def test_a_join_that_ends_a_merge_and_a_barrier_answers_both():
    """Replica 1 has written before its barrier, so the join also completes this merge."""
    state = coordinator(spec(aggregation=SUM), num_replicas=2)
    handle(state, 1, contribution(1.0, ADD))
    handle(state, 1, barrier())
    actions = handle(state, 0, join())

    assert [1] == granted(actions)
    assert ["0 <- Commit w v1 assign 1.0", "1 <- Commit w v1 assign 1.0"] == [
        one for one in describe(actions) if "Commit" in one
    ]


def test_a_mean_of_writes_is_that_of_the_replicas_that_write():
    state = coordinator(spec(aggregation=MEAN), num_replicas=3)
    handle(state, 2, join())
    handle(state, 0, contribution(2.0))
    commits = handle(state, 1, contribution(4.0))

    assert [f"{i} <- Commit w v1 assign 3.0" for i in range(3)] == describe(commits)


def test_every_replica_gets_the_one_that_took_part_in_most_collectives():
    state = coordinator(spec(aggregation=SUM), num_replicas=3)
    handle(state, 0, contribution(2.0, ADD))
    handle(state, 1, contribution(2.0, ADD))
    handle(state, 1, join(1))
    handle(state, 0, join(1))
    actions = handle(state, 2, join(0))  # the last one in time

    sent = [(one.to, one.message) for one in actions if isinstance(one, Send)]
    assert [(i, 1, 1) for i in range(3)] == [
        (to, one.position, one.last) for to, one in sent if isinstance(one, Joined)
    ]


def failure_of(actions: list[Any]) -> VarsimError:
    (finish,) = (one for one in actions if isinstance(one, Finish))
    assert finish.error is not None
    return finish.error


@pytest.mark.parametrize(
    ("collective", "operation", "what"),
    [
        (all_gather(np.ones(1)), "all_gather", "all_gather(float32[any], axis=0)"),
        (all_reduce(1.0, op=ReduceOp.MAX), "all_reduce(MAX)", "all_reduce(MAX, float32[])"),
        (all_reduce(1.0, op=ReduceOp.PROD), "all_reduce(PROD)", "all_reduce(PROD, float32[])"),
        (merge_call(), "merge_call", "merge_call"),
        (contribution(1.0), "w.assign", "w.assign (float32 scalar)"),
    ],
)
def test_a_collective_that_needs_all_values_names_the_replicas_that_have_joined(
    collective, operation, what
):
    state = coordinator(spec(aggregation=FIRST), num_replicas=3)
    handle(state, 0, join())
    handle(state, 1, collective)
    error = failure_of(handle(state, 2, collective))

    lines = str(error).splitlines()
    assert isinstance(error, MismatchError)
    assert f"{operation} needs a value of replica 0, which has joined, at collective 1" in lines[0]
    assert "  replica 0: join at train.py:90" == lines[1]
    assert lines[2].startswith(f"  replicas 1, 2: {what}")


def test_a_replica_cannot_join_while_a_variable_needs_the_writes_of_all():
    state = coordinator(spec(synchronization=AUTO, aggregation=SUM))
    error = failure_of(handle(state, 0, join()))

    assert "variable 'w'" in str(error)
    assert "the same number of writes on every replica, but replica 0 joins at train.py:90" in str(
        error
    )


# ---------------------------------------------------------------- a replica


def test_a_replica_that_has_joined_installs_the_commits_of_the_others():
    program = replica(spec())
    program.write(W, ADD, array(1.0))
    actions = program.state.handle(EnterJoin("train.py:90"))
    names = [type(one.message).__name__ for one in actions if isinstance(one, Send)]
    assert ["Layout", "Contribution", "Join"] == names
    assert isinstance(actions[-1], Await)

    for version in range(1, 9):
        program.handle(commit(version))
        program.validate()
    (delivered,) = program.handle(Joined(call_id=1, position=8, last=1))
    assert isinstance(delivered, Deliver)
    program.validate()

    sent = [one for one in program.state.handle(EnterJoin("")) if isinstance(one, Send)]
    assert [9] == [one.message.position for one in sent if isinstance(one.message, Join)]


def commit(version: int) -> Commit:
    return Commit(
        call_id=1,
        settled=version,
        variable_ids=np.array([W]),
        versions=np.array([version]),
        operation=Operation.ASSIGN,
        value=array(float(version)),
    )


@pytest.mark.parametrize(
    "answer", [Joined(call_id=1, position=0, last=0), Joined(call_id=1, position=1, last=-1)]
)
def test_a_replica_refuses_an_answer_before_its_own_position(answer):
    program = replica(spec())
    program.write(W, ADD, array(1.0))
    program.state.handle(EnterJoin(""))
    with pytest.raises(ProtocolError, match="a Joined arrives, for which the program does not"):
        program.handle(answer)


def test_a_replica_refuses_an_answer_before_the_commits_that_have_arrived():
    program = replica(spec())
    program.write(W, ADD, array(1.0))
    program.state.handle(EnterJoin(""))
    program.handle(replace(commit(1), settled=4))
    with pytest.raises(ProtocolError, match="a Joined arrives, for which the program does not"):
        program.handle(Joined(call_id=1, position=2, last=0))
    program.validate()
    program.handle(Joined(call_id=1, position=3, last=0))
    program.validate()


def test_a_replica_that_has_not_joined_refuses_the_answer():
    program = replica(spec())
    with pytest.raises(ProtocolError, match="a Joined arrives"):
        program.handle(Joined(call_id=1, position=0, last=0))
