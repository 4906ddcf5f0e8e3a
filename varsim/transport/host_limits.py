"""Measure how many addresses and threads the system still allows."""

from __future__ import annotations

import _thread
import mmap
import os
import resource
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

ADDRESSES_BYTES: Final = 2**28
"""Addresses that a process of a cluster needs apart from shared memory: each of the threads of
ZeroMQ reserves 64 MiB for its memory, and its stack."""

_STACK_BYTES: Final = 256 * 1024
"""The stack of a thread that only waits. Many stacks of the usual size could exceed `ulimit -v`."""

_END_TIMEOUT_S: Final = 1.0  # threads end within microseconds


def address_space() -> int | None:
    """Return how many more bytes of addresses this process may use; None if there is no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    except OSError:  # not Linux
        used = 0
    return max(0, soft - used)


def spare_threads(wanted: int) -> int:
    """Return how many threads this user may still start, but at most `wanted`.

    The function starts threads and ends them. The limits themselves (of the user, of a container,
    of the system) do not tell how many threads already exist.
    """
    before = _threads()
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
    while _threads() > before and time.monotonic() < deadline:
        os.sched_yield()
    return started


def _threads() -> int:
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:  # not Linux
        return 0
