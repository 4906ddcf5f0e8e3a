"""A whole script as the function of a call: its output, and its replicas without progress."""

from __future__ import annotations

import pytest

from tests.sync.build import (
    ADD,
    W,
    all_reduce,
    array,
    call,
    coordinator,
    handle,
    replica,
    returned,
    spec,
)
from varsim.errors import ProtocolError
from varsim.protocol.messages import Abort, BarrierArrival, Output, Printed
from varsim.sync.actions import Abandon, Await, Deliver, Send, ShowOutput
from varsim.sync.call_site import CallSite
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.replica_events import FunctionPrints

PRINTS = FunctionPrints("a\n", is_error=False)


def output() -> Output:
    return Output(call_id=1, text="a\n", is_error=True)


def test_output_is_shown_and_answered_at_once() -> None:
    """Replica 0 runs, so a request to the program of replica 1 would wait."""
    shown, answer = handle(coordinator(), 1, output())

    assert ShowOutput(1, 1, "a\n", is_error=True) == shown
    assert isinstance(answer, Send)
    assert (1, Printed) == (answer.to, type(answer.message))


def test_a_replica_that_waits_or_has_ended_cannot_print() -> None:
    state = coordinator()
    handle(state, 0, all_reduce(1.0))
    with pytest.raises(ProtocolError, match="replica 0 has sent a message, although it waits"):
        handle(state, 0, output())
    state = coordinator()
    handle(state, 0, returned())
    with pytest.raises(ProtocolError, match="replica 0 has sent a message"):
        handle(state, 0, output())


def test_output_of_a_failed_call_is_ignored() -> None:
    state = coordinator()
    handle(state, 0, all_reduce(1.0))
    handle(state, 1, returned())

    assert [] == handle(state, 0, output())


def test_the_program_waits_until_its_output_is_taken() -> None:
    """The outbox stays on the replica: a print does not change what is sent together."""
    program = replica(spec())
    program.write(W, ADD, array(1.0))
    send, wait = program.state.handle(PRINTS)

    assert isinstance(send, Send)
    assert isinstance(send.message, Output)
    assert Await(may_block=False) == wait
    assert [Deliver] == [type(one) for one in program.handle(Printed(call_id=1))]


def test_a_failed_call_ends_the_wait() -> None:
    program = replica()
    program.state.handle(PRINTS)

    assert [Abandon("no")] == program.handle(Abort(call_id=1, reason="no"))
    assert [Abandon("no")] == program.state.handle(PRINTS)


# ---------------------------------------------------------------- replicas without progress


def late(state: CoordinatorState, now_s: float) -> dict[int, float]:
    """Return since when replicas make no progress."""
    (running,) = state._calls
    return {i: one.since_s for i, one in running.quiet(now_s).items()}


@pytest.fixture
def script() -> CoordinatorState:
    """Provide the running call of a script on two replicas."""
    state = coordinator(calls=0)
    call(state, site=CallSite(function="script.py", is_script=True))
    return state


def test_a_script_that_computes_is_not_late(script: CoordinatorState) -> None:
    assert {} == late(script, 6_000.0)


def test_a_replica_is_late_since_another_one_waits(script: CoordinatorState) -> None:
    handle(script, 0, all_reduce(1.0), 5_000.0)

    assert {1: 5_000.0} == late(script, 6_000.0)


def test_a_wait_at_a_barrier_makes_the_others_late(script: CoordinatorState) -> None:
    arrival = BarrierArrival(call_id=1, barrier=None, group=(), location="script.py:3")
    handle(script, 1, arrival, 70.0)

    assert {0: 70.0} == late(script, 80.0)
