"""What only some systems can do about processes; elsewhere each function does nothing."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_PR_SET_NAME: Final = 15


def open_process(process_id: int) -> int | None:
    """A file descriptor that is readable when the process has ended; None if there is none."""
    try:
        return os.pidfd_open(process_id)
    except (AttributeError, OSError):  # not Linux, an older one, or the process has ended
        return None


def die_with_parent(parent: int) -> None:
    """Lets the system kill this process when its parent ends, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def name_process(name: str) -> None:
    """Sets the name that `top` and `ps` show; 15 characters of it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
