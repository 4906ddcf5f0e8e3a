"""Ctrl-C while a program starts its workers; the program has Python's own handler of SIGINT."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

import pytest

from tests.launch.programs import NoObjects
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


@pytest.mark.parametrize("moments", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_ctrl_c_while_workers_start_raises_keyboard_interrupt_and_frees_everything(
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
