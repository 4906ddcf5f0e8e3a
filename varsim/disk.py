"""Let the disk of a folder seem full, so that the fault `disk_full` can be injected.

All writes of varsim into a run's directory call `require_room` first. So the fault makes the same
writes fail as a full disk.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

_FULL: Final[set[Path]] = set()


def fill(folder: Path) -> None:
    """Let all later writes of this process below a folder fail, until `free` is called."""
    _FULL.add(folder.absolute())


def free(folder: Path) -> None:
    """Let writes below a folder succeed again."""
    _FULL.discard(folder.absolute())


def require_room(path: Path) -> None:
    """Raise the error of a full disk if the folder of a file was filled.

    Raises:
        OSError: ENOSPC.
    """
    if _FULL and not _FULL.isdisjoint(path.absolute().parents):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
