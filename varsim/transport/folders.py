"""Private folders for ipc sockets, with paths that are short enough."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from varsim.errors import StartError
from varsim.transport.sockets import MAX_IPC_PATH


def private_folder(socket_name: str) -> Path:
    """A new folder that only this user can enter, in which a socket of this name can be bound.

    The caller removes it.

    Raises:
        StartError: Also below /tmp the path would be too long.
    """
    for parent in (None, "/tmp"):  # noqa: S108  # as good as any: mkdtemp makes it private
        folder = Path(tempfile.mkdtemp(prefix="varsim-", dir=parent))  # its mode is 0700
        if len(os.fsencode(folder / socket_name)) <= MAX_IPC_PATH:
            return folder
        folder.rmdir()
    raise StartError(f"the path of {tempfile.gettempdir()} is too long: set TMPDIR to a short one")
