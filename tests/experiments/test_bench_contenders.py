"""Measured functions take turns. The tests use a simulated clock, and assert no real times."""

from __future__ import annotations

from functools import partial

import pytest

from varsim.experiments import bench_contenders
from varsim.experiments.bench_contenders import Effort, once, per_call, take_turns


class WorkClock:
    """A clock that advances only when a contender works."""

    now_s = 100.0

    def perf_counter(self) -> float:
        return self.now_s

    def work(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WorkClock:
    clock = WorkClock()
    monkeypatch.setattr(bench_contenders, "time", clock)
    return clock


def test_contenders_take_turns_until_the_time_is_over(clock: WorkClock):
    order = []

    def work(name: str, seconds: float) -> None:
        order.append(name)
        clock.work(seconds)

    turns = {name: once(partial(work, name, 1.0)) for name in "ab"}
    taken = take_turns(turns, Effort(seconds=8.0, deadline_s=1000.0))

    assert "aabb" + "ab" * 4 == "".join(order)  # before its turns, each contender runs twice
    assert {"a": [[1.0] * 4], "b": [[1.0] * 4]} == taken


def test_the_first_of_many_samples_of_a_turn_is_not_counted(clock: WorkClock):
    done = 0

    def work() -> None:
        nonlocal done
        done += 1
        clock.work(0.002)

    taken = take_turns({"a": once(work)}, Effort(seconds=0.0, deadline_s=1000.0))

    assert 5 * 3 == len(taken["a"][0])  # 5 samples of 0.002 s in each of 3 turns
    assert 2 + 6 * 3 == done


def test_after_the_deadline_only_the_current_round_is_completed(clock: WorkClock):
    taken = take_turns({"a": once(lambda: clock.work(1.0))}, Effort(10.0, clock.now_s + 2.5))

    assert [1.0] == taken["a"][0]


def test_parts_of_a_sample_are_stored_separately(clock: WorkClock):
    def sample() -> tuple[float, float]:
        clock.work(1.0)
        return 0.25, 0.75

    assert {"a": [[0.25] * 3, [0.75] * 3]} == take_turns({"a": sample}, Effort(3.0, 1000.0))


def test_a_short_action_is_timed_many_times_together(clock: WorkClock):
    calls = 0

    def act() -> None:
        nonlocal calls
        calls += 1
        clock.work(0.001)

    assert 0.001 == pytest.approx(per_call(act, 0.01))
    assert 2 + 10 == pytest.approx(calls, abs=1)
