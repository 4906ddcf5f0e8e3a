"""Replicas that take no part in a call get its commits and nothing else."""

from __future__ import annotations

import pytest

from tests.sync.build import (
    MEAN,
    ON_READ,
    SUM,
    V,
    all_reduce,
    call,
    contribution,
    coordinator,
    describe,
    handle,
    host_call,
    replica,
    returned,
    spec,
    start,
    waiting,
)
from tests.sync.test_losses import error_of, lose
from varsim.errors import ProtocolError
from varsim.protocol.messages import Start
from varsim.sync.actions import Finish, Send
from varsim.sync.coordinator_state import CoordinatorState


@pytest.fixture
def state() -> CoordinatorState:
    """Provide three replicas, of which the first two run a call."""
    made = coordinator(
        spec(aggregation=MEAN),
        spec(variable_id=V, synchronization=ON_READ, aggregation=SUM),
        num_replicas=3,
        calls=0,
    )
    starts = [one for one in call(made, present=2) if isinstance(one, Send)]
    assert [0, 1] == [one.to for one in starts if isinstance(one.message, Start)]
    assert {2} == {one.message.present for one in starts if isinstance(one.message, Start)}
    return made


def test_a_commit_of_the_present_replicas_is_sent_to_every_replica(state):
    handle(state, 0, contribution(2.0))
    commits = handle(state, 1, contribution(4.0))

    assert [f"{i} <- Commit w v1 assign 3.0" for i in range(3)] == describe(commits)


def test_an_answer_is_sent_to_the_present_replicas(state):
    handle(state, 0, all_reduce(1.0))
    answers = handle(state, 1, all_reduce(3.0))

    assert [0, 1] == [one.to for one in answers if isinstance(one, Send)]


def test_the_call_ends_when_the_present_replicas_have_returned(state):
    handle(state, 0, returned())
    (finish,) = handle(state, 1, returned())

    assert isinstance(finish, Finish)
    assert 2 == len(finish.returned)


@pytest.mark.parametrize(
    "message", [contribution(1.0), all_reduce(1.0), waiting(), host_call(), returned()]
)
def test_a_message_of_a_joined_replica_is_refused(state, message):
    with pytest.raises(ProtocolError, match="replica 2 takes no part in call 1"):
        handle(state, 2, message)


def test_a_joined_replica_refuses_to_start_the_call():
    with pytest.raises(ProtocolError, match="2 of 3 replicas take part in it"):
        replica(spec(), replica_id=2, num_replicas=3, call=None).handle(start(present=2))


def test_the_loss_of_a_joined_replica_ends_the_call(state):
    handle(state, 0, contribution(2.0))
    actions = lose(state, 2)

    assert "replica 2" in str(error_of(actions))
    assert {0, 1} == {one.to for one in actions if isinstance(one, Send)}
