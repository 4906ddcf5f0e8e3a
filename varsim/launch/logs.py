"""Find the log file of each worker, and read the end of a log for an error."""

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
    """Return the last lines of a file, without control characters; skip the first `start` bytes."""
    try:
        with path.open("rb") as file:
            return tail_of(file.fileno(), start)
    except OSError:  # there is no log; the caller reports an error without it
        return ""


def tail_of(descriptor: int, start: int = 0) -> str:
    """Return the last lines of an open file, as `tail` does; do not move its position."""
    size = os.fstat(descriptor).st_size
    end = os.pread(descriptor, _TAIL_BYTES, max(start, size - _TAIL_BYTES))
    return visible("\n".join(end.decode("utf-8", "replace").splitlines()[-TAIL_LINES:]))


class WorkerLogs:
    """The log files of one cluster's workers.

    If the program names a directory, the logs stay there, and new output is appended. Otherwise the
    logs are private, and are removed with the cluster. There is one exception. If the error about a
    lost worker shows only the end of a private log, the log is moved to a temporary file, which is
    not removed.
    """

    def __init__(self, directory: Path, *, private: bool, num_replicas: int) -> None:
        self.directory = directory
        self._private = private
        self._starts = [_size(directory / log_name(i)) for i in range(num_replicas)]

    def of_lost(self, replica_id: int) -> tuple[str, str]:
        """Return the end of a lost worker's log, and the path of the log.

        The path is "" if the worker has printed nothing, or if the log is private and the returned
        text is the whole log.
        """
        path = self.directory / log_name(replica_id)
        said = self.tail(replica_id)
        size = _size(path) - self._starts[replica_id]
        is_all = size <= _TAIL_BYTES and said.count("\n") + 1 < TAIL_LINES
        if size <= 0 or (self._private and is_all):
            return said, ""
        return said, str(self._kept(path, replica_id))

    def tail(self, replica_id: int) -> str:
        """Return the end of a worker's log."""
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
