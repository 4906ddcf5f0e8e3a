"""Operations of the program in cross-replica context, from the first event to the last action."""

from __future__ import annotations

import numpy as np
import pytest

from tests.sync.build import (
    ADD,
    ASSIGN,
    NONE,
    NOTHING,
    ON_READ,
    ON_WRITE,
    SUM,
    W,
    array,
    call,
    coordinator,
    describe,
    give_up,
    handle,
    spec,
)
from varsim.errors import AggregationError, OperationError, PerReplicaError, ShapeError
from varsim.protocol.messages import Component, Left
from varsim.spec import Operation, Rows
from varsim.sync.actions import ProgramDone, ProgramRefused, ProgramWrote
from varsim.sync.coordinator_events import (
    HostCallDone,
    MergeFunctionReturns,
    MessagesSent,
    ProgramAssignComponents,
    ProgramGivesUp,
    ProgramRead,
    ProgramScatter,
    ProgramWrite,
    ProgramWriteComponent,
)
from varsim.sync.event_log import EventLog, InvalidTransition

TOKEN = 7


def on_read(*, shape=(), num_replicas=2):
    """Return a state that does not know the components of its variable."""
    made = coordinator(spec(SUM, ON_READ, shape=shape), num_replicas=num_replicas, calls=0)
    made.registry.distrust_local()
    return made


def component(value, request_id=1):
    return Component(request_id=request_id, variable_id=W, version=0, value=array(value))


def write(*values, operation=ASSIGN, dtype="float32", **others):
    values = tuple(array(v, dtype) for v in values)
    return ProgramWrite(W, operation, values, **others, token=TOKEN)


def sent_values(actions):
    return [action.message.value.tolist() for action in actions if hasattr(action, "message")]


def refusal(actions):
    (refused,) = actions
    assert isinstance(refused, ProgramRefused)
    assert TOKEN == refused.token
    return refused.error


def test_a_read_fetches_unknown_components_and_combines_all():
    state = on_read()
    assert ["0 <- Fetch w", "1 <- Fetch w"] == describe(state.handle(ProgramRead(W, TOKEN)))
    assert [] == handle(state, 1, component(2.0))
    (done,) = handle(state, 0, component(1.0))

    assert isinstance(done, ProgramDone)
    assert (TOKEN, (3.0,), (0,)) == (done.token, done.values, done.versions)
    assert not done.values[0].flags.writeable


def test_a_read_of_known_components_ends_immediately():
    state = coordinator(spec(), calls=0)
    assert ["done 0.0"] == describe(state.handle(ProgramRead(W, TOKEN)))
    assert 1 == state.statistics()[0].reads


def test_an_abandoned_read_does_not_end():
    state = on_read()
    state.handle(ProgramRead(W, TOKEN))
    assert [] == state.handle(ProgramGivesUp(TOKEN, "KeyboardInterrupt"))

    assert [] == handle(state, 0, component(1.0))
    assert [] == handle(state, 1, component(2.0))


def test_the_answer_to_a_read_from_before_a_call_is_not_stored():
    """The program has given up the read and the call, and the call has changed the components."""
    state = on_read()
    state.handle(ProgramRead(W, TOKEN))
    state.handle(ProgramGivesUp(TOKEN, "KeyboardInterrupt"))
    call(state)
    give_up(state, 1)
    for replica_id in (0, 1):
        assert [] == handle(state, replica_id, component(1.0))
        assert [] == handle(state, replica_id, Left(call_id=1))

    assert ["0 <- Fetch w", "1 <- Fetch w"] == describe(state.handle(ProgramRead(W, TOKEN)))


def test_a_refused_read_shows_the_components():
    state = coordinator(spec(NONE, ON_READ), calls=0)
    error = refusal(state.handle(ProgramRead(W, TOKEN)))

    assert isinstance(error, AggregationError)
    assert "gives (0.0, 0.0)" in str(error)


def test_an_assign_to_a_sum_is_divided_into_shares():
    state = on_read()
    wrote, *sends, done = state.handle(write(7.0))

    assert [3.5, 3.5] == sent_values(sends)
    assert isinstance(wrote, ProgramWrote)
    assert (None, 3.5) == wrote.written[0], "the values that components get are recorded"
    assert isinstance(done, ProgramDone)


def test_a_bool_is_not_divided():
    state = coordinator(spec(SUM, ON_READ, dtype="bool"), calls=0)
    assert [True, True] == sent_values(state.handle(write(True, dtype="bool", is_indivisible=True)))


def test_a_per_replica_value_cannot_be_divided_into_shares():
    state = on_read()
    event = write(1.0, 2.0, per_replica="PerReplica", location="train.py:3")
    error = refusal(state.handle(event))

    assert isinstance(error, PerReplicaError)
    assert "at train.py:3: a PerReplica cannot be assigned" in str(error)


def test_the_policy_is_checked_before_the_value():
    problem = ShapeError("w", "another problem")
    state = coordinator(spec(SUM, ON_READ), calls=0)
    error = refusal(state.handle(write(operation=ADD, problem=problem)))
    assert isinstance(error, OperationError)

    assert problem is refusal(on_read().handle(write(problem=problem)))


def test_an_add_to_components_of_different_shapes_changes_all_or_none():
    state = coordinator(spec(shape=(None,)), calls=0)
    state.handle(ProgramWriteComponent(W, 1, ASSIGN, array([1.0, 2.0]), token=TOKEN))

    event = ProgramWrite(W, ADD, (array([1.0]), array([1.0])), "PerReplica", token=TOKEN)
    assert isinstance(refusal(state.handle(event)), ShapeError)
    event = ProgramWrite(W, ADD, (array([1.0]), array([1.0, 1.0])), "PerReplica", token=TOKEN)
    assert [[1.0], [2.0, 3.0]] == sent_values(state.handle(event))


@pytest.mark.parametrize(("second", "mirror"), [(1.0, 1.0), (2.0, None)])
def test_components_assigned_the_same_value_are_a_mirror_again(second, mirror):
    state = coordinator(spec(), calls=0)
    values = {0: array(1.0), 1: array(second)}
    state.handle(ProgramAssignComponents(W, values, token=TOKEN))

    known = state.registry.mirror(W)
    assert mirror == (None if known is None else float(known))


def test_a_component_that_does_not_fit_is_refused():
    state = coordinator(spec(shape=(2,)), calls=0)
    event = ProgramWriteComponent(W, 0, Operation.ASSIGN, np.zeros(3, np.float32), token=TOKEN)
    assert isinstance(refusal(state.handle(event)), ShapeError)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (MergeFunctionReturns(9, 0, []), "call 9 does not run"),
        (HostCallDone(1, 0, NOTHING, failed=False), "replica 0 has no host call in service"),
        (ProgramRead(99, TOKEN), "there is no variable 99"),
        (ProgramRead(W, TOKEN), f"the token {TOKEN} is in use"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_impossible_event_of_the_program_is_an_invalid_transition(event, reason):
    state = coordinator(spec(SUM, ON_READ))
    log = EventLog()
    handle = log.recording(state.handle)
    handle(ProgramRead(W, TOKEN))

    with pytest.raises(InvalidTransition, match=reason) as caught:
        handle(event)
    assert "ProgramRead(variable_id=1, token=7, now_s=0.0) -> [Send(" in str(caught.value)


def test_a_sparse_write_changes_the_mirror_after_its_messages_are_sent():
    """The commits do not wait for the work on the mirror, which is a separate event."""
    state = coordinator(spec(SUM, ON_WRITE, shape=(3,)), num_replicas=2, calls=0)
    rows = Rows(np.array([1]), array([2.0]))
    scatter = ProgramScatter(W, Operation.SCATTER_ADD, (rows,), token=TOKEN)
    assert not state.is_behind

    commits = [action.message for action in state.handle(scatter) if hasattr(action, "message")]

    assert [1, 1] == [commit.version for commit in commits]
    assert state.is_behind
    assert [] == state.handle(MessagesSent())
    assert not state.is_behind
    (done,) = state.handle(ProgramRead(W, token=TOKEN + 1))
    assert [0.0, 2.0, 0.0] == done.values[0].tolist()
