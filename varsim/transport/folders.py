"""Create private folders, and remove private folders of processes that were killed.

Each folder contains a lock file. The process that created the folder holds the lock until it ends;
the system releases the lock even if the process is killed. So a folder whose lock is free belongs
to no process, and a later start removes it. A lock also works for containers that share the
directory, where process ids have no meaning.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from varsim.errors import StartError
from varsim.private import FOLDER_MODE, private_opener
from varsim.transport.sockets import MAX_IPC_PATH
from varsim.value_class import value_class

SOCKET_NAME: Final = "c"  # short: the path of an ipc endpoint is limited
_SHORT: Final = "/tmp"  # noqa: S108  # the folder itself is private
_ENVIRONMENT: Final = ("TMPDIR", "TEMP", "TMP")  # as for `tempfile`
_PREFIX: Final = "varsim-"
_RANDOM_BYTES: Final = 8
_LOCK: Final = "owner"  # this file contains the id of the process that created the folder

_YOUNG_S: Final = 60.0
"""A lock file without a process id is not a leftover before this age: the process that created the
file may not have locked it yet."""


def new_path(name: str = "") -> Path:
    """Return the path of a new folder for temporary files; do not create the folder."""
    return places()[0] / (_PREFIX + name + secrets.token_urlsafe(_RANDOM_BYTES))


def new_socket_path(socket_name: str = SOCKET_NAME) -> Path:
    """Return a path for a new folder, short enough for a socket; do not create the folder.

    Raises:
        StartError: The path would be too long, even in /tmp.
    """
    path = new_path()
    for place in places():
        folder = place / path.name
        if path_bytes_left(folder / socket_name) >= 0:
            return folder
    raise StartError(f"the path of {path.parent} is too long: set TMPDIR to a short one")


def path_bytes_left(socket: Path) -> int:
    """Return by how many bytes the path of a socket may grow; negative if it is too long."""
    return MAX_IPC_PATH - len(os.fsencode(socket))


def places() -> list[Path]:
    """Return the directories for private folders, in the order in which they are tried.

    `tempfile.gettempdir` is not used: it creates a file, which stays if the process is killed.
    """
    usable = [path.absolute() for path in _named_places().values() if _is_usable(path)]
    return list(dict.fromkeys((*usable[:1], Path(_SHORT))))


def unusable_place() -> str:
    """Return a setting whose directory cannot be used, such as "TMPDIR=/none"; else ""."""
    for name, path in _named_places().items():
        if not _is_usable(path):
            return f"{name}={path}"
    return ""


def _named_places() -> dict[str, Path]:
    """Return the directories that the environment names, by the name of the variable."""
    return {name: Path(os.environ[name]) for name in _ENVIRONMENT if os.environ.get(name)}


def _is_usable(place: Path) -> bool:
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


class PrivateFolder:
    """A folder that only this user can enter; it is removed at the end of a `with` block."""

    def __init__(self, path: Path) -> None:
        """Create the folder.

        Raises:
            OSError: The folder cannot be created.
        """
        self.path: Final = path
        self._lock = -1
        path.mkdir(FOLDER_MODE)
        try:
            self._lock = private_opener(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            # On a file system without locks, the folder is never removed as a leftover.
            with suppress(OSError):
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            os.write(self._lock, b"%d" % os.getpid())
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Remove the folder and its content."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()


def create_for_start(path: Path) -> PrivateFolder:
    """Create a private folder for processes that are started now.

    Raises:
        StartError: The folder cannot be created.
    """
    try:
        return PrivateFolder(path)
    except OSError as error:
        raise StartError(
            f"the private folder of a cluster cannot be created: {error}\n"
            "  Free space there, or set TMPDIR to a folder that can be written."
        ) from error


# ---------------------------------------------------------------- folders of killed processes


@value_class
class Leftover:
    """A private folder whose process was killed."""

    path: Path
    process_id: str  # id of the killed process; "" if the process had not written its id yet


def leftovers() -> list[Leftover]:
    """Return the private folders of this user's killed processes, in all `places`."""
    found = []
    for place in places():
        for folder in _private_folders(place):
            lock = _free_lock(folder)
            if lock is not None:
                found.append(Leftover(folder, _process_id(lock)))
                os.close(lock)
    return found


def remove_leftovers() -> list[Leftover]:
    """Remove the folders of killed processes; return those that were removed."""
    return [one for one in leftovers() if _removed(one.path)]


def _removed(folder: Path) -> bool:
    lock = _free_lock(folder)  # again: another process may be removing the folder now
    if lock is None:
        return False
    try:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
    return not folder.exists()


def _private_folders(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if entry.name.startswith(_PREFIX)
                and entry.is_dir(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
            ]
    except OSError:  # the place cannot be read, or an entry has just been removed
        return []


def _free_lock(folder: Path) -> int | None:
    """Take the lock of a folder, and return its descriptor; None if the folder is in use."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:  # without a lock file, it is not a private folder of varsim
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _process_id(lock) or time.time() - os.fstat(lock).st_mtime > _YOUNG_S:
            return lock
    except OSError:  # another process holds the lock, or the file system has no locks
        pass
    os.close(lock)
    return None


def _process_id(lock: int) -> str:
    return os.pread(lock, 20, 0).decode("ascii", "replace")
