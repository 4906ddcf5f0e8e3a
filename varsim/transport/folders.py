"""Create private folders for ipc sockets, whose paths must be short."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from varsim.errors import StartError
from varsim.transport.sockets import MAX_IPC_PATH

SOCKET_NAME: Final = "c"  # short: the path of an ipc endpoint is limited


def private_folder(socket_name: str = SOCKET_NAME) -> Path:
    """Create a folder that only this user can enter, and whose path is short enough for a socket.

    The caller must remove the folder.

    Raises:
        StartError: The folder cannot be created, or its path would be too long, even in /tmp.
    """
    for parent in (None, "/tmp"):  # noqa: S108  # mkdtemp creates a private folder
        try:
            folder = Path(tempfile.mkdtemp(prefix="varsim-", dir=parent))  # its mode is 0700
        except OSError as error:
            raise StartError(
                f"the private folder of a cluster cannot be created: {error}\n"
                "  Free space there, or set TMPDIR to a folder that can be written."
            ) from error
        if len(os.fsencode(folder / socket_name)) <= MAX_IPC_PATH:
            return folder
        folder.rmdir()
    raise StartError(f"the path of {tempfile.gettempdir()} is too long: set TMPDIR to a short one")
