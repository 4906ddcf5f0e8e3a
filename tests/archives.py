"""Unpack archives in tests."""

from __future__ import annotations

import tarfile
from pathlib import Path


def unpack_tar(file: Path | str, folder: str) -> None:
    """Unpack a tar file. Python releases before 3.11.4 have no filters."""
    with tarfile.open(file) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder)  # an archive of varsim itself
