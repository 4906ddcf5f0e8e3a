"""The clock does not count the time in which its process was stopped."""

from __future__ import annotations

import pytest

from varsim.launch import clock
from varsim.launch.clock import LATE_S, Clock


class Time:
    """A replacement for the module `time`; a test sets its time."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(clock, "time", made)
    return made


def test_a_wait_that_ends_a_little_late_counts_in_full(system: Time) -> None:
    measured = Clock()
    system.now_s += 1.0 + LATE_S / 2
    measured.waited(101.0)
    assert system.now_s == measured.now_s()


def test_the_time_of_a_stopped_process_does_not_count(system: Time) -> None:
    measured = Clock()
    system.now_s += 75.0
    measured.waited(101.0)
    assert 101.0 == measured.now_s()
    system.now_s += 1.0
    measured.waited(102.0)
    assert 102.0 == measured.now_s()
