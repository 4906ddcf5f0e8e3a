"""The log of a state's events, and the error for an impossible event."""

from __future__ import annotations

import numpy as np
import pytest

from tests.sync.build import ADD, NOTHING, ON_READ, SUM, W, array, spec
from varsim.errors import ShapeError
from varsim.protocol.messages import Create
from varsim.sync.actions import ShowValue
from varsim.sync.event_log import SHOWN_EVENTS, EventLog, InvalidTransition, kept
from varsim.sync.replica_events import (
    FunctionBegins,
    FunctionReturns,
    FunctionUnwinds,
    ProgramBlocks,
    ReplicaRead,
    ReplicaWrite,
)
from varsim.sync.replica_state import ReplicaState


def logged_replica():
    log = EventLog()
    handle = log.recording(ReplicaState(0, 2).handle)
    handle(Create(spec=spec(SUM, ON_READ), value=np.zeros((), np.float32)))
    handle(FunctionBegins(1))
    return handle, log


def test_a_log_keeps_each_event_with_its_actions():
    handle, log = logged_replica()
    handle(ReplicaWrite(W, ADD, array(2.0)))
    handle(ReplicaRead(W))

    assert ["Create", "FunctionBegins", "ReplicaWrite", "ReplicaRead"] == [
        type(entry.event).__name__ for entry in log.entries
    ]
    assert [0, 0, 0, 1] == [len(entry.actions) for entry in log.entries]
    (shown,) = log.entries[-1].actions
    assert isinstance(shown, ShowValue)
    assert 2.0 == shown.value


def test_logged_events_do_not_change_with_the_programs_array():
    handle, log = logged_replica()
    value = array(2.0)
    handle(ReplicaWrite(W, ADD, value))
    value.fill(9.0)

    assert 2.0 == log.entries[-1].event.value


def test_a_refused_event_is_logged_with_its_error():
    handle, log = logged_replica()
    with pytest.raises(ShapeError) as caught:
        handle(ReplicaWrite(W, ADD, array([1.0, 2.0])))

    assert log.entries[-1].error is caught.value


def test_only_events_with_arrays_are_copied():
    event = ReplicaRead(W)
    assert kept(event) is event
    given = (array(1.0), [array(2.0)])
    first, (second,) = kept(given)

    assert first is not given[0]
    assert not second.flags.writeable


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (FunctionReturns(NOTHING), "no function runs"),
        (ProgramBlocks("train.py:1"), "no function runs"),
        (ReplicaWrite(W, ADD, array(1.0)), "no function runs"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_operations_of_a_replica_need_a_call(event, reason):
    handle, log = logged_replica()
    handle(FunctionReturns(NOTHING))
    before = len(log.entries)

    with pytest.raises(InvalidTransition, match=reason):
        handle(event)
    assert before == len(log.entries)


def test_the_error_for_an_impossible_event_shows_earlier_events():
    handle, _ = logged_replica()
    for _ in range(2 * SHOWN_EVENTS):
        handle(ReplicaRead(W))

    with pytest.raises(InvalidTransition, match="no call has failed") as caught:
        handle(FunctionUnwinds())
    assert SHOWN_EVENTS + 1 == len(caught.value.preceding)
    assert "ReplicaRead(variable_id=1) -> [ShowValue(" in str(caught.value)
    assert str(caught.value).endswith("FunctionUnwinds() -> []")


def test_a_waiting_program_cannot_do_another_operation():
    handle, _ = logged_replica()
    with pytest.raises(InvalidTransition, match="does not wait for a variable"):
        handle(ProgramBlocks(""))
