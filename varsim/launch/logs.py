"""Find the log of each worker, read its end for an error, and keep the logs of lost workers."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from stat import S_ISREG
from typing import Final

from varsim.launch.rendezvous import log_name
from varsim.transport.folders import places
from varsim.visible import visible

MAX_KEPT: Final = 20
"""Largest number of kept logs of this user's lost workers. Then the oldest logs are removed, except
those that this cluster has kept."""

TAIL_LINES: Final = 20
_TAIL_BYTES: Final = 16 * 1024
_KEPT: Final = "varsim-worker-"  # the beginning of the names of kept logs


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
    kept: see `kept_logs`.
    """

    def __init__(self, directory: Path, *, private: bool, num_replicas: int) -> None:
        self.directory = directory
        self._private = private
        self._kept_here: set[Path] = set()
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
        for old in kept_logs()[MAX_KEPT - 1 :]:
            if old not in self._kept_here:  # errors of this cluster name the logs kept here
                old.unlink(missing_ok=True)
        # The log can be renamed: the private directory and its parent are in one file system.
        name = f"{_KEPT}{replica_id}-"
        handle, kept = tempfile.mkstemp(".log", name, self.directory.parent)
        os.close(handle)
        self._kept_here.add(path.replace(kept))
        return Path(kept)


def kept_logs() -> list[Path]:
    """Return the kept logs of this user's lost workers, the newest first."""
    found = [path for place in places() for path in place.glob(f"{_KEPT}*.log")]
    times = {path: status.st_mtime_ns for path in found if (status := _own_file(path)) is not None}
    return sorted(times, key=times.__getitem__, reverse=True)


def remove_kept_logs() -> list[Path]:
    """Remove the kept logs of lost workers, and return their paths."""
    removed = kept_logs()
    for path in removed:
        path.unlink(missing_ok=True)
    return removed


def _own_file(path: Path) -> os.stat_result | None:
    """Return the status of a file; None if another user owns it, or if it is not a plain file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status if S_ISREG(status.st_mode) and status.st_uid == os.geteuid() else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
