"""Replicas that have not left a call that is over: known by what they have told, and named."""

from __future__ import annotations

from dataclasses import replace

from tests.sync.build import (
    NOTHING,
    all_reduce,
    contribution,
    coordinator,
    describe,
    returned,
    spec,
)
from varsim.protocol.messages import AllReduce, Left, Raised, Report
from varsim.sync.call_site import CallSite
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.stragglers import still_running

SITE = CallSite("step", "train.py:12", "train.py:30")
EVERYBODY = range(3)


def running(num_replicas: int = 3, started_s: float = 10.0) -> CoordinatorState:
    """A coordinator with one call, number 1, that runs everywhere."""
    state = CoordinatorState(num_replicas)
    state.start("f", NOTHING, [NOTHING] * num_replicas, SITE, started_s)
    return state


def reduction(place: str, call: int = 1) -> AllReduce:
    return replace(all_reduce(1.0, place=place), call_id=call)


def late(state: CoordinatorState) -> list[int]:
    return [one.replica_id for one in state.stragglers.given_up(EVERYBODY)]


def test_who_has_not_ended_when_the_program_gives_up_is_a_straggler():
    state = running()
    state.handle(0, returned(), 11.0)
    state.give_up(1, "KeyboardInterrupt", 12.0)

    assert [1, 2] == late(state)
    assert [] == state.stragglers.given_up([0])


def test_a_straggler_is_none_any_more_once_it_has_left():
    """By its own word; or because its end was on its way when the call was given up."""
    state = running()
    state.give_up(1, "CallTimeout", 12.0)
    raised = Raised(call_id=1, exception=NOTHING, traceback="", report=Report())

    for replica_id, message, left in ((1, Left(call_id=1), [0, 2]), (0, returned(), [2])):
        assert [] == state.handle(replica_id, message, 13.0)
        assert left == late(state)
    assert [] == state.handle(2, raised, 14.0)
    assert [] == late(state) == state.stragglers.among(EVERYBODY)
    assert [] == state.handle(2, Left(call_id=1), 15.0)  # a second delivery changes nothing


def test_of_calls_in_each_other_all_must_be_left():
    state = running()
    inner, _ = state.start("g", NOTHING, [NOTHING] * 3, CallSite("inner"), 11.0)
    state.give_up(inner, "KeyboardInterrupt", 12.0)
    state.give_up(1, "KeyboardInterrupt", 12.0)
    state.handle(0, Left(call_id=inner), 13.0)

    assert [0, 1, 2] == late(state)
    assert ["step"] * 3 == [one.site.function for one in state.stragglers.among(EVERYBODY)]
    state.handle(0, Left(call_id=1), 13.0)
    assert [1, 2] == late(state)


def test_replicas_of_a_call_that_failed_by_itself_are_waited_for_as_in_any_call():
    state = running(2)
    exception = Raised(call_id=1, exception=NOTHING, traceback="", report=Report())
    state.handle(0, exception, 11.0)
    state.tick(100.0)

    assert [] == late(state)
    assert [1] == [one.replica_id for one in state.stragglers.among(EVERYBODY)]
    call, _ = state.start("g", NOTHING, [NOTHING] * 2, CallSite("next"), 101.0)
    assert [0, 1] == state.busy(call)
    assert [
        "  replicas 0, 1: run",
        "  replica 1: has been running step (train.py:12), called by strategy.run at train.py:30, "
        "for 95.0 s; no message since it began",
    ] == state.stuck(call, {}, 105.0).splitlines()[1:]


def test_the_error_says_what_each_runs_since_when_and_where():
    state = running()
    state.handle(1, reduction("train.py:14"), 11.0)
    state.give_up(1, "KeyboardInterrupt", 12.0)
    state.handle(0, Left(call_id=1), 12.5)

    error = still_running(state.stragglers.given_up(EVERYBODY), {2: "train.py:17"}, 15.0)

    assert (1, 2) == error.replica_ids
    assert error.definite
    where = "has been running step (train.py:12), called by strategy.run at train.py:30, for 5.0 s"
    assert [
        "replicas 1, 2 are still in a call that was given up 3.0 s ago (KeyboardInterrupt):",
        f"  replica 1: {where}; last message at train.py:14",
        f"  replica 2: {where}; now at train.py:17",
    ] == str(error).splitlines()[:3]
    assert "strategy.close()" in str(error)


def test_where_a_replica_wrote_last_is_remembered():
    state = coordinator(spec(), num_replicas=2)
    layout, message = contribution(1.0).packed(state.ledger.specs)
    state.handle(0, layout, 0.0)
    state.handle(0, message, 0.0)
    state.give_up(1, "KeyboardInterrupt", 0.0)

    seen = {one.replica_id: one.seen_at for one in state.stragglers.among(EVERYBODY)}
    assert {0: layout.writes[-1].place, 1: ""} == seen


def test_who_may_not_have_heard_that_a_call_is_over_is_told_again():
    state = running()
    state.give_up(1, "KeyboardInterrupt", 12.0)
    state.handle(0, Left(call_id=1), 13.0)

    assert ["1 <- Abort"] == describe(state.stragglers.reminders([0, 1]))
