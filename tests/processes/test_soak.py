"""The soak run compares values, and goes on after lost workers."""

from __future__ import annotations

import pytest

from tests.soak import CALLS, Episode, Totals

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def test_episodes_check_every_call_and_go_on_after_lost_workers() -> None:
    totals = Totals()
    for number in range(3):
        Episode(0, number, totals).run()

    assert totals.counts["episodes"] == 3
    assert totals.counts["recoveries"] > 0
    failed = sum(totals.faults[kind] for kind in ("kill", "exit", "raise"))
    assert 3 * CALLS == totals.counts["steps"] + failed


def test_a_wrong_value_ends_the_run() -> None:
    with pytest.raises(AssertionError, match=r"the mean: expected 1.0, got 2.0"):
        Totals().check(1.0, 2.0, "the mean")
