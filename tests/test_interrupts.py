"""SIGINT and deadlines, in the main thread."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from itertools import count

import pytest

from tests.interrupter import Interrupter
from tests.waiting import MS, SetClock
from varsim import interrupts
from varsim.interrupts import (
    AGAIN_S,
    UNINTERRUPTED,
    Interruptible,
    Interrupts,
    OutOfTime,
    blocked,
    held,
    within,
)
from varsim.transport.one_thread import OneThread


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    clock = SetClock()
    monkeypatch.setattr(interrupts, "time", clock)
    return clock


def test_interrupts_soon_after_an_interrupt_are_deferred(clock: SetClock):
    """The first interrupt ends a run. Later interrupts must not stop the saving of this run."""
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        interrupt()
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupts.enable()
        interrupts.enable()
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_after_a_caught_interrupt_the_program_can_be_interrupted(clock: SetClock):
    with Interrupts():
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                interrupt()
            clock.now_s += AGAIN_S


def test_a_deferred_interrupt_is_raised_when_interrupts_are_enabled():
    with Interrupts() as interrupts:
        interrupts.enabled = False
        interrupt()
        assert interrupts.pending
        with pytest.raises(KeyboardInterrupt):
            interrupts.enable()


def test_a_deferred_interrupt_is_raised_at_the_end_of_the_block():
    def disabled() -> None:
        with Interrupts() as interrupts:
            interrupts.enabled = False
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        disabled()


def test_an_error_caused_by_an_interrupt_counts_as_an_interrupt():
    """An example is the ImportError of a module whose import was interrupted."""

    def cut_off() -> None:
        try:
            interrupt()
        except KeyboardInterrupt:
            raise ImportError("cut off") from None

    with pytest.raises(KeyboardInterrupt) as raised, Interrupts():
        cut_off()
    assert raised.value.__suppress_context__
    with pytest.raises(ValueError), Interrupts():
        int("another error")


def test_an_interrupt_in_a_finalizer_is_not_lost():
    """Python only prints an exception of a finalizer, so the interrupt is raised later."""

    class Garbage:
        def __del__(self) -> None:
            interrupt()

    with Interrupts() as interrupts:
        Garbage()
        with pytest.raises(KeyboardInterrupt):
            interrupts.enable()


@pytest.mark.parametrize("around", [nullcontext, Interrupts, held])
def test_an_interrupt_is_deferred_until_all_resources_are_owned(
    around: type[AbstractContextManager[None]],
):
    """The test uses several handlers. An error that the interrupt caused is dropped."""
    made = []

    def make() -> None:
        with around(), held():
            interrupt()
            made.append("made")
            raise OSError("of it")

    with pytest.raises(KeyboardInterrupt) as raised:
        make()
    assert ["made"] == made
    assert raised.value.__suppress_context__


@contextmanager
def uninterrupted() -> Iterator[None]:
    UNINTERRUPTED.begin()
    try:
        yield
    finally:
        UNINTERRUPTED.end()


def test_an_interrupt_is_deferred_until_the_operation_ends():
    """`Interrupts` is not used here, as in an interactive interpreter."""
    done = []

    def operate() -> None:
        with uninterrupted():
            with uninterrupted():
                interrupt()
                done.append("inner")
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        operate()
    assert ["inner", "outer"] == done
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_an_interrupt_is_raised_when_the_inner_operation_ends():
    """An example is a write in the function of a merge_call, before a long computation."""
    done = []

    def operate() -> None:
        with uninterrupted(), Interruptible():
            with uninterrupted():
                interrupt()
                done.append("write")
            done.append("computation")

    with pytest.raises(KeyboardInterrupt):
        operate()
    assert ["write"] == done


def test_the_programs_handler_is_active_after_any_interrupt():
    """Otherwise a later `Interrupts` could take varsim's handler for that of the program."""
    for instruction in count(1):
        interrupter = Interrupter(instruction, interrupt)
        with suppress(KeyboardInterrupt), interrupter.active(), uninterrupted():
            pass
        assert signal.default_int_handler == signal.getsignal(signal.SIGINT), instruction
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        if interrupter.left > 0:
            return


def test_a_pending_interrupt_is_raised_before_a_wait():
    waited = []

    def operate() -> None:
        with uninterrupted():
            interrupt()
            with Interruptible():
                waited.append("here")

    with pytest.raises(KeyboardInterrupt):
        operate()
    assert [] == waited


def test_a_second_ctrl_c_stops_an_operation_without_waits(clock: SetClock):
    with uninterrupted():
        interrupt()
        clock.now_s += 0.1
        interrupt()  # 0.1 s later: this signal still counts as the same Ctrl-C
        clock.now_s += 0.2
        with pytest.raises(KeyboardInterrupt) as raised:
            interrupt()
        assert raised.value is not UNINTERRUPTED.raised


def test_a_second_ctrl_c_does_not_delay_later_interrupts(clock: SetClock):
    """If the second Ctrl-C stopped the end of an operation, SIGINT would be delayed forever."""

    def interrupt_twice() -> None:
        interrupt()
        clock.now_s += 0.2
        interrupt()

    for instruction in count(1):
        strategy = OneThread()
        interrupter = Interrupter(instruction, interrupt_twice)
        with suppress(KeyboardInterrupt), interrupter.active(), strategy:
            pass
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                interrupt()
        if interrupter.left > 0:
            return


def test_an_operation_keeps_the_handler_of_the_program():
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        with uninterrupted():
            interrupt()
            assert [] == came
        assert [signal.SIGINT] == came
        with uninterrupted():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # code in a merge_call can do this
        assert signal.SIG_IGN == signal.getsignal(signal.SIGINT)
        with uninterrupted():
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_program_that_ignores_interrupts_ignores_all():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with held():
            interrupt()
        assert signal.SIG_IGN == signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_process_started_with_blocked_signals_gets_no_interrupt():
    program = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with blocked():
        child = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert "True\n" == child.stdout
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_a_block_is_ended_at_its_deadline():
    with pytest.raises(OutOfTime), within(10 * MS):
        select.select([], [], [], 10_000 * MS)
    with within(10_000 * MS):
        pass


def test_an_earlier_timer_continues():
    """An example is the timer that ends a hanging test."""
    before_s, _ = signal.setitimer(signal.ITIMER_REAL, 50_000 * MS)
    try:
        with within(10_000 * MS):
            pass
        left_s, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 40_000 * MS < left_s <= 50_000 * MS
    finally:
        signal.setitimer(signal.ITIMER_REAL, before_s)
