"""Replicas that have not left a call that is over (stragglers) are named in errors."""

from __future__ import annotations

from dataclasses import replace

from tests.sync.build import (
    NOTHING,
    all_reduce,
    arrive,
    call,
    contribution,
    coordinator,
    describe,
    give_up,
    returned,
    spec,
)
from varsim.errors import StillRunning
from varsim.protocol.messages import Combine, Left, Raised, Report
from varsim.sync.actions import CallBegins, CoordinatorAction, Locate, ProgramRefused
from varsim.sync.call_site import CallSite
from varsim.sync.coordinator_events import Located, ProgramCall, TimePasses
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.stragglers import PATIENCE_S, REMINDER_S, still_running

SITE = CallSite("step", "train.py:12", "train.py:30")
ALL_REPLICAS = range(3)


def running(num_replicas: int = 3, started_s: float = 10.0) -> CoordinatorState:
    """Return a coordinator with call number 1, which runs on all replicas."""
    state = CoordinatorState(num_replicas)
    call(state, site=SITE, now_s=started_s)
    return state


def reduction(location: str, call: int = 1) -> Combine:
    return replace(all_reduce(1.0, location=location), call_id=call)


def late(state: CoordinatorState) -> list[int]:
    return [one.replica_id for one in state.stragglers.given_up(ALL_REPLICAS)]


def test_a_replica_in_an_abandoned_call_is_a_straggler():
    state = running()
    arrive(state, 0, returned(), 11.0)
    give_up(state, 1, "KeyboardInterrupt", 12.0)

    assert [1, 2] == late(state)
    assert [] == state.stragglers.given_up([0])


def test_a_replica_that_has_left_is_not_a_straggler_any_more():
    """The replica sends `Left`, or it has sent the end of its function before the abort."""
    state = running()
    give_up(state, 1, "CallTimeout", 12.0)
    raised = Raised(call_id=1, exception=NOTHING, traceback="", report=Report())

    for replica_id, message, left in ((1, Left(call_id=1), [0, 2]), (0, returned(), [2])):
        assert [] == arrive(state, replica_id, message, 13.0)
        assert left == late(state)
    assert [] == arrive(state, 2, raised, 14.0)
    assert [] == late(state) == state.stragglers.among(ALL_REPLICAS)
    assert [] == arrive(state, 2, Left(call_id=1), 15.0)  # a second delivery changes nothing


def test_a_straggler_must_leave_all_nested_calls():
    state = running()
    call(state, "g", site=CallSite("inner"), now_s=11.0)
    inner = state.calls_begun
    give_up(state, inner, "KeyboardInterrupt", 12.0)
    give_up(state, 1, "KeyboardInterrupt", 12.0)
    arrive(state, 0, Left(call_id=inner), 13.0)

    assert [0, 1, 2] == late(state)
    assert ["step"] * 3 == [one.site.function for one in state.stragglers.among(ALL_REPLICAS)]
    arrive(state, 0, Left(call_id=1), 13.0)
    assert [1, 2] == late(state)


def test_replicas_of_a_call_that_was_not_abandoned_are_never_late():
    state = running(2)
    exception = Raised(call_id=1, exception=NOTHING, traceback="", report=Report())
    arrive(state, 0, exception, 11.0)
    state.handle(TimePasses(100.0))

    assert [] == late(state)
    assert [1] == [one.replica_id for one in state.stragglers.among(ALL_REPLICAS)]
    call(state, "g", site=CallSite("next"), now_s=101.0)
    assert 2 == state.calls_begun  # the second call does not wait for the replicas


def test_the_error_has_function_duration_and_location_of_each_straggler():
    state = running()
    arrive(state, 1, reduction("train.py:14"), 11.0)
    give_up(state, 1, "KeyboardInterrupt", 12.0)
    arrive(state, 0, Left(call_id=1), 12.5)

    error = still_running(state.stragglers.given_up(ALL_REPLICAS), {2: "train.py:17"}, 15.0)

    assert (1, 2) == error.replica_ids
    assert error.definite
    where = "has been running step (train.py:12), called by strategy.run at train.py:30, for 5.0 s"
    assert [
        "replicas 1, 2 still run the function of a call that ended 3.0 s ago (KeyboardInterrupt):",
        f"  replica 1: {where}; last message at train.py:14",
        f"  replica 2: {where}; now at train.py:17",
    ] == str(error).splitlines()[:3]
    assert "strategy.restart()" in str(error)


def test_the_location_of_a_replicas_last_write_is_kept():
    state = coordinator(spec(), num_replicas=2)
    layout, message = contribution(1.0).packed(state.registry.specs)
    arrive(state, 0, layout, 0.0)
    arrive(state, 0, message, 0.0)
    give_up(state, 1, "KeyboardInterrupt", 0.0)

    seen = {one.replica_id: one.seen_at for one in state.stragglers.among(ALL_REPLICAS)}
    assert {0: layout.writes[-1].location, 1: ""} == seen


def call_again(state: CoordinatorState, now_s: float) -> list[CoordinatorAction]:
    return state.handle(ProgramCall("f", NOTHING, [NOTHING] * 3, SITE, 7, now_s))


def test_the_next_call_begins_when_replicas_have_left():
    state = running()
    give_up(state, 1, "KeyboardInterrupt", 12.0)
    arrive(state, 0, Left(call_id=1), 13.0)

    assert [] == call_again(state, 14.0)
    assert 14.0 + REMINDER_S == state.deadline_s
    assert ["1 <- Abort", "2 <- Abort"] == describe(state.handle(TimePasses(14.0 + REMINDER_S)))
    assert 14.0 + PATIENCE_S == state.deadline_s
    assert [] == arrive(state, 1, Left(call_id=1), 14.5)
    begins, *starts = arrive(state, 2, Left(call_id=1), 14.6)

    assert CallBegins(7, 2) == begins
    assert ["0 <- Start f", "1 <- Start f", "2 <- Start f"] == describe(starts)


def test_the_next_call_is_refused_when_a_replica_does_not_leave():
    state = running()
    give_up(state, 1, "KeyboardInterrupt", 12.0)
    call_again(state, 14.0)
    state.handle(TimePasses(14.0 + REMINDER_S))

    assert [Locate(7, (0, 1, 2))] == state.handle(TimePasses(14.0 + PATIENCE_S))
    (refused,) = state.handle(Located(7, {1: "train.py:17"}))

    assert isinstance(refused, ProgramRefused)
    assert isinstance(refused.error, StillRunning)
    assert "now at train.py:17" in str(refused.error)
    assert 1 == state.calls_begun
    assert None is state.deadline_s


def test_a_call_that_waits_to_begin_can_be_abandoned():
    state = running()
    give_up(state, 1, "KeyboardInterrupt", 12.0)
    call_again(state, 14.0)

    assert [] == give_up(state, 7, "KeyboardInterrupt", 14.1)
    for replica_id in ALL_REPLICAS:
        assert [] == arrive(state, replica_id, Left(call_id=1), 14.2)


def test_an_interrupted_call_says_what_each_replica_does():
    """A call that is over, or another operation, has nothing to say."""
    state = running()
    arrive(state, 0, reduction("train.py:14"), 11.0)
    arrive(state, 2, reduction("train.py:14"), 11.0)

    assert [1] == state.running_in(1)
    fact = state.interrupted(1, {1: "loader.py:26"})
    assert fact is not None
    assert [
        "call 1 of strategy.run, step (train.py:12), was interrupted:",
        "  only replica 1: runs, now at loader.py:26",
        "  replicas 0, 2: wait in all_reduce(SUM, float32[]) at train.py:14",
        "  The strategy can be used again when replica 1 has left the function. "
        "strategy.restart() starts new workers at once.",
    ] == [*str(fact).splitlines(), *fact.remedy.splitlines()]

    give_up(state, 1)
    assert ([], None) == (state.running_in(1), state.interrupted(1, {}))
