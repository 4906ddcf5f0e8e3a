"""What a file of the program is called, on whatever machine it is."""

from __future__ import annotations

import sys
from pathlib import Path


def shown_path(filename: str) -> str:
    """A file's path from the working directory, or else from the folder that it is imported from.

    A file in neither is called by its whole path, and what is no file (`<stdin>`) as it is.
    """
    path = Path(filename)
    here = Path.cwd()
    if path.is_relative_to(here):
        return str(path.relative_to(here))
    folders = [folder for folder in sys.path if folder and path.is_relative_to(folder)]
    return str(path.relative_to(max(folders, key=len))) if folders else filename
