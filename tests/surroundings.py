"""Requirements of the tests on their surroundings: open files, a short path for sockets, SIGINT."""

from __future__ import annotations

import resource
import signal
import tempfile
from pathlib import Path

import pytest

OPEN_FILES = 256
"""The number of open files that one process needs for pytest and a cluster of three replicas."""

MAX_FOLDER = 60
"""Longest path of the folder for temporary files, in characters. The path of an ipc socket has at
most 107 characters, and also contains the folders of the test and of the program under test."""


def ensure_open_files(needed: int = OPEN_FILES) -> None:
    """Raise the soft limit of open files to `needed`.

    Raises:
        pytest.UsageError: The system does not allow this limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard < needed and hard != resource.RLIM_INFINITY:
        raise pytest.UsageError(
            f"the tests need {needed} open files for each process, and {hard} are allowed here: "
            f"raise the limit (ulimit -n {needed}) in a new shell"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def heed_interrupts() -> None:
    """Let SIGINT raise KeyboardInterrupt, also in the programs under test.

    A shell without job control starts a job in the background with SIGINT ignored, and all
    processes of this job inherit this setting.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def short_temporary() -> Path:
    """Create a private folder, in /tmp if TMPDIR is too long for the paths of sockets."""
    parent = None if len(tempfile.gettempdir()) <= MAX_FOLDER else "/tmp"
    return Path(tempfile.mkdtemp(prefix="vt-", dir=parent))


def recorded_limits(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> list[tuple[int, int]]:
    """Replace the limits of this process; return a list of all pairs (soft, hard) that are set."""
    found = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: found[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: found.append(both))
    return found
