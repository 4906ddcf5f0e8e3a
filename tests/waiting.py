"""Functions that wait for a state, with a deadline in `MS`. Tests never wait for a fixed time."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

MS = 0.001 * float(os.environ.get("VARSIM_TEST_TIME_FACTOR", "1"))
"""A millisecond in seconds, times `VARSIM_TEST_TIME_FACTOR`, which is above 1 on a slow machine."""

POLL_S = 0.002
"""The interval of `wait_for` in seconds, so short that a test ends soon after the awaited state."""

T = TypeVar("T")


def wait_for(
    state: Callable[[], T], deadline_s: float = 2_000 * MS, *, what: str | Callable[[], str] = ""
) -> T:
    """Return the first truthy value of `state()`.

    Args:
        deadline_s: The number of seconds after which the test fails.
        what: The awaited state, for the error: a text, or a function that returns the text.
    """
    end = time.monotonic() + deadline_s
    while not (value := state()):
        if time.monotonic() > end:
            story = what() if callable(what) else what or repr(state)
            raise AssertionError(f"waited {deadline_s:.3g} s for {story}; it is still {value!r}")
        select.select([], [], [], POLL_S)
    return value


def is_running(pid: int) -> bool:
    """Return whether a process runs. A zombie has ended, so it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_for_exit(pid: int, deadline_s: float = 2_000 * MS) -> None:
    """Wait until a process has ended, even if it is not a child of this process."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([descriptor], [], [], deadline_s)
    finally:
        os.close(descriptor)
    assert ended, f"process {pid} still runs after {deadline_s:.3g} s"


class SetClock:
    """A clock with a time that a test sets."""

    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s
