"""Create files and folders that only their owner can read: a run has values and error texts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from varsim.disk import require_room

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600


def make_private_folder(path: Path) -> None:
    """Create a folder that only its owner can read, and its parents, unless the folder exists."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    for folder in reversed(missing):
        folder.mkdir(FOLDER_MODE, exist_ok=True)


def private_opener(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file for `open(…, opener=private_opener)`; only the owner can read a new file."""
    return os.open(path, flags, FILE_MODE)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read. An existing file keeps its mode."""
    require_room(path)
    with open(path, "wb", opener=private_opener) as file:  # Path has no opener
        file.write(content)
