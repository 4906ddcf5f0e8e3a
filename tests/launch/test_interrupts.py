"""Ctrl-C while a program starts its workers; the program has Python's own handler of SIGINT."""

from __future__ import annotations

import gc
import math
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
import zmq

from tests.launch.programs import NoObjects
from varsim.interrupts import MAX_WAIT_S
from varsim.launch.launcher import LaunchOptions
from varsim.launch.process import ProcessLauncher

pytestmark = pytest.mark.processes

NEVER = sys.maxsize


def launch(interrupted_at: int) -> int:
    """Start a cluster; send SIGINT at function call number `interrupted_at`; count the calls."""
    calls = 0

    def count(_frame: FrameType, event: str, _what: Any) -> None:
        nonlocal calls
        if event == "call":
            calls += 1
            if calls == interrupted_at:
                sys.setprofile(None)
                os.kill(os.getpid(), signal.SIGINT)

    launcher = ProcessLauncher(entry_point="tests.launch.programs:serve")
    sys.setprofile(count)
    try:
        link = launcher.launch(LaunchOptions(7, ("a", "b")), NoObjects())
    finally:
        sys.setprofile(None)
    link.channel.close()
    return calls


@pytest.fixture
def _no_foreign_finalizers() -> Iterator[None]:
    """Free no garbage of earlier tests: Python drops a KeyboardInterrupt raised in a finalizer."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_foreign_finalizers")
@pytest.mark.parametrize("moments", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_ctrl_c_during_the_start_is_raised_and_frees_everything(
    moments: int,
) -> None:
    """No StartError replaces the interrupt. The leak check of the suite finds what is left."""
    launch(NEVER)  # the first launch imports modules
    calls, chained = launch(NEVER), 0
    for moment in range(1, moments + 1):
        at = calls * moment // (moments + 1)
        try:
            reached = launch(at)
        except KeyboardInterrupt as interrupt:
            chained += interrupt.__context__ is not None and not interrupt.__suppress_context__
        else:
            assert reached < at, "the interrupt was lost"
    assert 0 == chained


def test_no_wait_for_the_start_of_workers_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C that arrives just before a wait has its effect after this wait."""
    waits_s: list[float] = []

    class Poller(zmq.Poller):
        def poll(self, timeout: float | None = None) -> list[tuple[Any, int]]:
            waits_s.append(math.inf if timeout is None else timeout / 1000)
            return super().poll(timeout)

    monkeypatch.setattr(zmq, "Poller", Poller)
    launcher = ProcessLauncher(entry_point="tests.launch.programs:serve")
    link = launcher.launch(LaunchOptions(7, ("a", "b")), NoObjects())
    longest_s = max(waits_s)
    link.channel.close()
    assert 0 < longest_s <= MAX_WAIT_S
