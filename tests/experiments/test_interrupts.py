"""SIGINT and deadlines, in the main thread."""

from __future__ import annotations

import os
import select
import signal

import pytest

from tests.waiting import MS
from varsim.experiments.interrupts import Interrupts, OutOfTime, within


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_is_raised_until_it_is_ignored():
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        interrupts.ignore()
        interrupt()
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_what_takes_too_long_is_ended():
    with pytest.raises(OutOfTime), within(10 * MS):
        select.select([], [], [], 10_000 * MS)
    with within(10_000 * MS):
        pass


def test_a_timer_that_ran_before_goes_on():
    """Such as the one that ends a test which hangs."""
    before_s, _ = signal.setitimer(signal.ITIMER_REAL, 50_000 * MS)
    try:
        with within(10_000 * MS):
            pass
        left_s, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 40_000 * MS < left_s <= 50_000 * MS
    finally:
        signal.setitimer(signal.ITIMER_REAL, before_s)
