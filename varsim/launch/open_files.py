"""Raise the limit of open files, because libzmq aborts a program that reaches the limit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from varsim.errors import StartError

_SPARE: Final = 64
"""Number of files for sockets, pipes, logs and the program, in addition to the open files."""


def ensure_open_files(num_workers: int) -> None:
    """Raise the limit of open files as far as the coordinator of these workers needs.

    Raises:
        StartError: The system does not allow so many files; the text says what to do.
    """
    if sys.platform == "win32":
        return
    import resource  # Windows does not have this module

    needed = num_workers + _open_files() + _SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard < needed and hard != resource.RLIM_INFINITY:
        raise StartError(
            f"{num_workers} workers need about {needed} open files, but this process is allowed "
            f"only {hard}: raise the limit (ulimit -n {needed}), or start fewer workers"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _open_files() -> int:
    # Do not leave a generator early: while Python closes a generator, a Ctrl-C is lost.
    for folder in (Path("/proc/self/fd"), Path("/dev/fd")):
        if folder.is_dir():
            return len(list(folder.iterdir()))
    return 0
