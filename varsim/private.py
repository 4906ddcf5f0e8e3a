"""Create files and folders that only their owner can read: a run has values and error texts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

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


@contextmanager
def whole_private_file(path: Path, *, follows: bool = True) -> Iterator[BinaryIO]:
    """Open a private file for writing; it takes the place of an old file only when it is complete.

    A device or a pipe is written directly, and a link stays a link.

    Args:
        follows: If it is False, a link, a device or a pipe is replaced: another user may have made
            it in a folder from which varsim only reads and writes its own files.
    Raises:
        OSError: The file cannot be written; an old file is unchanged.
    """
    require_room(path)
    if follows and path.exists() and not path.is_file():  # of a folder, `open` raises the error
        with path.open("wb") as direct:
            yield direct
        return
    file = path.resolve() if follows else path
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        unfinished.unlink(
            missing_ok=True
        )  # an existing file would keep its mode, a link its target
        with open(unfinished, "wb", opener=private_opener) as content:  # Path has no opener
            yield content
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
