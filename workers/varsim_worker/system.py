"""Control processes with functions that only some systems have; do nothing on other systems."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_PR_SET_NAME: Final = 15


def open_process(process_id: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends; None if there is none."""
    try:
        return os.pidfd_open(process_id)
    except (AttributeError, OSError):  # not Linux, an old Linux, or the process has ended
        return None


def die_with_parent(parent: int) -> None:
    """Have the system kill this process when its parent ends, even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before the call above
        os.kill(os.getpid(), signal.SIGKILL)


def name_process(name: str) -> None:
    """Set the name of this process in `top` and `ps`, which show only 15 characters."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
