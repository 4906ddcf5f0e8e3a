"""Identify threads, so that varsim can refuse a wrong thread, and count possible threads.

varsim itself starts threads only to count them, and these threads do nothing.
This is the only module that imports `threading`.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_STACK_BYTES: Final = 256 * 1024
"""Stack size of a thread that only waits.

Many stacks of the usual size could exceed `ulimit -v`.
"""

_END_TIMEOUT_S: Final = 1.0  # threads end within microseconds

this_thread: Final = threading.get_ident
"""Returns the number of the calling thread. The system reuses the number after the thread ends."""


def in_main_thread() -> bool:
    """Return whether the calling thread is the main thread. Only this thread handles signals."""
    return this_thread() == threading.main_thread().ident


def thread_name() -> str:
    """Return the name of the calling thread."""
    return threading.current_thread().name


def name_of(thread: int | None) -> str:
    """Return the name of a thread, or its number if the thread is unknown to `threading`."""
    names = [one.name for one in threading.enumerate() if one.ident == thread]
    return names[0] if names else str(thread)


def threads() -> frozenset[int]:
    """Return the numbers of all threads of this process."""
    return frozenset(sys._current_frames())  # noqa: SLF001  # `threading` lists only its own threads


def spare_threads(wanted: int) -> int:
    """Return how many threads this user may still start, but at most `wanted`.

    The function starts threads and ends them. The limits themselves (of the user, of a container,
    of the system) do not show how many threads already exist.
    """
    before = _system_threads()
    gate = _thread.allocate_lock()
    gate.acquire()

    def wait() -> None:
        with gate:
            pass

    started = 0
    usual = threading.stack_size(_STACK_BYTES)
    try:
        with suppress(RuntimeError):  # "can't start new thread"
            while started < wanted:
                _thread.start_new_thread(wait, ())
                started += 1
    finally:
        threading.stack_size(usual)
        gate.release()
    deadline = time.monotonic() + _END_TIMEOUT_S
    while _system_threads() > before and time.monotonic() < deadline:
        os.sched_yield()
    return started


def _system_threads() -> int:
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:  # not Linux
        return 0
