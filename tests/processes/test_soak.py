"""The soak run compares values, and goes on after lost workers."""

from __future__ import annotations

import pytest

from tests.soak import CALLS, Episode, Totals

pytestmark = [pytest.mark.processes, pytest.mark.slow]

EPISODES = (3, 4, 5)
"""With seed 0, these have lost workers and different values of `on_worker_lost`."""


def test_episodes_check_every_call_and_go_on_after_lost_workers() -> None:
    totals = Totals()
    for number in EPISODES:
        Episode(0, number, totals).run()

    assert len(EPISODES) == totals.counts["episodes"]
    assert {"new strategy", "restart", "shrink"} == totals.recoveries_s.keys()
    failed = sum(totals.faults[kind] for kind in ("kill", "exit", "raise"))
    assert len(EPISODES) * CALLS == totals.counts["steps"] + failed


def test_a_wrong_value_ends_the_run() -> None:
    with pytest.raises(AssertionError, match=r"the mean: expected 1.0, got 2.0"):
        Totals().check(1.0, 2.0, "the mean")
