"""Which worker runs which closure."""

import random
from collections import Counter
from typing import Any

import pytest

from tests.effort import many
from varsim.sync.scheduler_state import (
    AHEAD,
    QUEUE_LIMIT,
    SLOW_S,
    Assign,
    Cancel,
    CancelAll,
    ClosureEnds,
    Ending,
    LookForSlow,
    RunAgain,
    Schedule,
    SchedulerState,
    Settle,
    WarnOfSlow,
    WorkerEnds,
)


def scheduled(num_workers: int, *closure_ids: int) -> tuple[SchedulerState, list[Any]]:
    state = SchedulerState(num_workers)
    return state, [action for one in closure_ids for action in state.handle(Schedule(one))]


def test_closures_are_spread_over_the_workers_in_order() -> None:
    _, actions = scheduled(2, 1, 2, 3, 4, 5)

    assert [Assign(0, 1), Assign(1, 2), Assign(0, 3), Assign(1, 4)] == actions


def test_a_worker_that_returns_gets_the_next_closure() -> None:
    state, _ = scheduled(2, 1, 2, 3, 4, 5)

    actions = state.handle(ClosureEnds(1, 2, Ending.RETURNED))

    assert [Settle(2, Ending.RETURNED), Assign(1, 5)] == actions


def test_the_first_failure_cancels_the_closures_that_no_worker_has() -> None:
    state, _ = scheduled(1, 1, 2, 3, 4)

    actions = state.handle(ClosureEnds(0, 1, Ending.RAISED))

    assert [Settle(1, Ending.RAISED), Cancel((3, 4))] == actions
    assert state.is_failing
    assert not state.has_room


def test_after_the_last_running_closure_the_queue_is_usable_again() -> None:
    state, _ = scheduled(1, 1, 2, 3)
    state.handle(ClosureEnds(0, 1, Ending.RAISED))
    state.handle(ClosureEnds(0, 2, Ending.RETURNED))

    assert state.is_idle
    assert state.has_room
    assert [Assign(0, 4)] == state.handle(Schedule(4))


def test_closures_of_a_lost_worker_run_again_before_all_others() -> None:
    state, _ = scheduled(2, 1, 2, 3, 4, 5)

    assert [RunAgain(0, (1, 3))] == state.handle(WorkerEnds(0))
    assert [Settle(2, Ending.RETURNED), Assign(1, 1)] == state.handle(
        ClosureEnds(1, 2, Ending.RETURNED)
    )


def test_a_late_result_of_a_lost_worker_changes_nothing() -> None:
    state, _ = scheduled(2, 1)
    state.handle(WorkerEnds(0))

    assert [] == state.handle(ClosureEnds(0, 1, Ending.RETURNED))


def test_the_loss_of_the_last_worker_cancels_everything() -> None:
    state, _ = scheduled(1, 1, 2, 3)

    assert [Cancel((1, 2, 3))] == state.handle(WorkerEnds(0))
    assert state.is_idle


def test_after_a_failure_the_closures_of_a_lost_worker_do_not_run_again() -> None:
    state, _ = scheduled(2, 1, 2)
    state.handle(ClosureEnds(0, 1, Ending.RAISED))

    assert [Cancel((2,))] == state.handle(WorkerEnds(1))


def test_the_loss_of_a_server_cancels_running_closures_too() -> None:
    state, _ = scheduled(1, 1, 2, 3)

    assert [Cancel((3, 1, 2))] == state.handle(CancelAll())
    assert frozenset() == state.busy


def test_a_closure_that_runs_for_long_is_reported_once() -> None:
    state = SchedulerState(2)
    state.handle(Schedule(1, now_s=10.0))
    state.handle(Schedule(2, now_s=20.0))

    assert [] == state.handle(LookForSlow(10.0 + SLOW_S - 1))
    assert [WarnOfSlow(0, 1, SLOW_S)] == state.handle(LookForSlow(10.0 + SLOW_S))
    assert [WarnOfSlow(1, 2, SLOW_S)] == state.handle(LookForSlow(20.0 + SLOW_S))
    assert [] == state.handle(LookForSlow(100.0 + SLOW_S))


def test_the_time_of_the_second_closure_of_a_worker_begins_when_the_first_one_ends() -> None:
    state = SchedulerState(1)
    state.handle(Schedule(1, now_s=0.0))
    state.handle(Schedule(2, now_s=0.0))
    state.handle(ClosureEnds(0, 1, Ending.RETURNED, now_s=50.0))

    assert [] == state.handle(LookForSlow(SLOW_S))
    assert [WarnOfSlow(0, 2, SLOW_S)] == state.handle(LookForSlow(50.0 + SLOW_S))


def test_an_idle_worker_is_not_slow() -> None:
    state = SchedulerState(1)
    state.handle(Schedule(1, now_s=0.0))
    state.handle(ClosureEnds(0, 1, Ending.RETURNED, now_s=1.0))

    assert [] == state.handle(LookForSlow(10 * SLOW_S))


def test_the_queue_has_a_bound() -> None:
    state, _ = scheduled(1, *range(1, QUEUE_LIMIT + AHEAD))
    assert state.has_room

    state.handle(Schedule(QUEUE_LIMIT + AHEAD))

    assert not state.has_room


@pytest.mark.parametrize("seed", range(many(50)))
def test_every_closure_ends_once_in_every_order_of_events(seed: int) -> None:
    """Workers return in any order, and some are lost: each closure is settled exactly once."""
    chance = random.Random(seed)
    state, runs = SchedulerState(3), Counter[int]()
    running: list[tuple[int, int]] = []
    settled: list[int] = []
    waiting = list(range(1, 30))
    while waiting or running:
        if waiting and (not running or chance.random() < 0.5):
            actions = state.handle(Schedule(waiting.pop(0)))
        elif chance.random() < 0.1 and len(state.workers) > 1:
            lost = chance.choice(sorted(state.workers))
            running = [one for one in running if one[0] != lost]
            actions = state.handle(WorkerEnds(lost))
        else:
            worker, closure_id = running.pop(chance.randrange(len(running)))
            actions = state.handle(ClosureEnds(worker, closure_id, Ending.RETURNED))
        state.validate()
        for action in actions:
            match action:
                case Assign(worker=worker, closure_id=closure_id):
                    running.append((worker, closure_id))
                    runs[closure_id] += 1
                case Settle(closure_id=closure_id):
                    settled.append(closure_id)
    assert list(range(1, 30)) == sorted(settled)
    assert 1 == min(runs.values())
    assert state.is_idle
