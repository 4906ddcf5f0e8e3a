"""What the tests ask of the machine: enough open files, and a short path for sockets."""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path

import pytest

OPEN_FILES = 256
"""For one process of a test run: a cluster of three with its pipes, and pytest's own."""

MAX_FOLDER = 60
"""Characters in the path of the folder for temporary files: an ipc socket's path has 107 at most,
and a test's folders, and those of the program that it tests, stand in front of its name."""


def ensure_open_files(needed: int = OPEN_FILES) -> None:
    """Raises the limit as far as needed, as varsim does for itself.

    Raises:
        pytest.UsageError: The system does not allow it: one sentence instead of many errors.
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


def short_temporary() -> Path:
    """A new private folder, in /tmp where TMPDIR is too long for the paths of sockets."""
    parent = None if len(tempfile.gettempdir()) <= MAX_FOLDER else "/tmp"
    return Path(tempfile.mkdtemp(prefix="vt-", dir=parent))
