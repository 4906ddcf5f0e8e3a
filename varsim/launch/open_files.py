"""Raise the limit of open files: libzmq aborts the program when it is reached."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from varsim.errors import StartError

_SPARE: Final = 64
"""Files for sockets, pipes, logs and the program, in addition to those that are already open."""


def ensure_open_files(num_workers: int) -> None:
    """Raise the limit of open files to the number that a coordinator of these workers needs.

    Raises:
        StartError: The system does not allow it; the text says what to do.
    """
    if sys.platform == "win32":
        return
    import resource  # Windows does not have it

    needed = num_workers + _open_files() + _SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard < needed and hard != resource.RLIM_INFINITY:
        raise StartError(
            f"{num_workers} workers need about {needed} open files, and this process may have "
            f"{hard}: raise the limit (ulimit -n {needed}), or start fewer workers"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _open_files() -> int:
    # Do not leave a generator early: Python loses a Ctrl-C that comes while it closes a generator.
    for folder in (Path("/proc/self/fd"), Path("/dev/fd")):
        if folder.is_dir():
            return len(list(folder.iterdir()))
    return 0
