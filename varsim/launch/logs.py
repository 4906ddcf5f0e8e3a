"""What workers said: a file for each, and the end of it for an error message."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from varsim.launch.rendezvous import log_name
from varsim.visible import visible

TAIL_LINES: Final = 20
_TAIL_BYTES: Final = 16 * 1024


def tail(path: Path, start: int = 0) -> str:
    """The last lines of a file, or of what was appended after its first `start` bytes, visible."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:  # it was never written, or cannot be: the error is about something else
        return ""
    return visible("\n".join(text.splitlines()[-TAIL_LINES:]))


class WorkerLogs:
    """The log files of one cluster's workers.

    In a directory that the program named they stay; new output is appended. Otherwise they are
    private and go with the cluster, but for a lost worker's log of which the error tells only the
    end: that is moved to a temporary file of its own, which nobody removes.
    """

    def __init__(self, directory: Path, *, private: bool, num_replicas: int) -> None:
        self.directory = directory
        self._private = private
        self._starts = [_size(directory / log_name(i)) for i in range(num_replicas)]

    def of_lost(self, replica_id: int) -> tuple[str, str]:
        """The end of a lost worker's log, and where the file is; "" if the end is all."""
        path = self.directory / log_name(replica_id)
        said = self.tail(replica_id)
        size = _size(path) - self._starts[replica_id]
        # Not longer than what was read, and no line was left out of that.
        is_all = size <= _TAIL_BYTES and said.count("\n") + 1 < TAIL_LINES
        if size <= 0 or (self._private and is_all):
            return said, ""
        return said, str(self._kept(path, replica_id))

    def tail(self, replica_id: int) -> str:
        """The end of what a worker has said."""
        return tail(self.directory / log_name(replica_id), self._starts[replica_id])

    def _kept(self, path: Path, replica_id: int) -> Path:
        if not self._private:
            return path
        handle, kept = tempfile.mkstemp(prefix=f"varsim-worker-{replica_id}-", suffix=".log")
        os.close(handle)
        return path.replace(kept)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
