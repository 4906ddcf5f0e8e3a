"""Identify threads, so that varsim can refuse a wrong thread. varsim itself starts no thread.

This is the only module that imports `threading`.
"""

from __future__ import annotations

import sys
import threading
from typing import Final

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
