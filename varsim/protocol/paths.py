"""Give the program's files names that are the same on every machine."""

from __future__ import annotations

import sys
from pathlib import Path


def shown_path(filename: str) -> str:
    """Return a file's path relative to the working directory, or else to a folder of `sys.path`.

    A file in none of these folders keeps its whole path. A name that is not a file (`<stdin>`) is
    not changed.
    """
    path = Path(filename)
    here = Path.cwd()
    if path.is_relative_to(here):
        return str(path.relative_to(here))
    folders = [folder for folder in sys.path if folder and path.is_relative_to(folder)]
    return str(path.relative_to(max(folders, key=len))) if folders else filename
