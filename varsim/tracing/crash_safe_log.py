"""A file of records that survive the process that appends them, without a system call for each.

What is appended is copied into the *tail*, a small file that is mapped into memory: what is written
there is the system's, whatever becomes of the process. A tail that is full moves into the file. It
begins with two numbers: where in the file its content belongs, and how many bytes it has.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_TAIL_BYTES: Final = 2**18
_HEAD: Final = struct.Struct("<QQ")
_CLOSING_BYTES: Final = 64  # room for the last record, beyond the limit
_CHUNK_BYTES: Final = 2**20


class CrashSafeLog:
    """A file that is appended to, up to a limit."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        """Makes the file.

        Raises:
            OSError: It is there already, or cannot be made.
        """
        self._path = path
        self._file = _create(path)
        self._tail = _mapped(_tail_of(path))
        self._limit = limit_bytes
        self._moved = 0  # bytes of the file itself
        self._end = _HEAD.size  # of what is in the tail
        self._owner = os.getpid()

    def append(self, records: bytes | memoryview) -> bool:
        """Writes whole records; False if there is no more room, or it is closed."""
        size = len(records)
        if self._file < 0 or self._moved + self._end - _HEAD.size + size > self._limit:
            return False
        end = self._end + size
        if end > _TAIL_BYTES:
            if not self._move(self._tail[_HEAD.size : self._end]):
                return False
            end = self._end + size
            if end > _TAIL_BYTES:
                return self._move(records)
        self._tail[self._end : end] = records
        self._end = end
        self._tail[: _HEAD.size] = _HEAD.pack(self._moved, end - _HEAD.size)
        return True

    def _move(self, content: bytes | memoryview) -> bool:
        """Appends to the file itself; the tail is empty then."""
        if not content:
            return True
        try:
            written = os.write(self._file, content)
        except OSError:
            written = 0
        if written < len(content):  # the disk is full
            with suppress(OSError):
                os.ftruncate(self._file, self._moved)
                os.lseek(self._file, self._moved, os.SEEK_SET)
            return False
        self._moved += written
        self._end = _HEAD.size
        self._tail[: _HEAD.size] = _HEAD.pack(self._moved, 0)
        return True

    def close(self, last: bytes) -> None:
        """Writes the last record, and closes it. Does nothing the second time."""
        if self._file < 0 or os.getpid() != self._owner:
            return
        self._limit += _CLOSING_BYTES
        self.append(last)
        if self._move(self._tail[_HEAD.size : self._end]):
            _tail_of(self._path).unlink(missing_ok=True)
        self._tail.close()
        os.close(self._file)
        self._file = -1


def chunks(path: Path) -> Iterator[bytes]:
    """What such a file has, with its tail if its process was killed.

    Raises:
        OSError: It cannot be read.
    """
    try:
        tail = _tail_of(path).read_bytes()
        moved, size = _HEAD.unpack_from(tail)
    except (FileNotFoundError, struct.error):  # struct: it was killed while it made the tail
        tail, moved, size = b"", None, 0
    with path.open("rb") as file:
        while moved is None or file.tell() < moved:
            chunk = file.read(
                _CHUNK_BYTES if moved is None else min(_CHUNK_BYTES, moved - file.tell())
            )
            if not chunk:
                break
            yield chunk
    yield tail[_HEAD.size : _HEAD.size + size]


def _tail_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-tail")


def _create(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _mapped(path: Path) -> mmap.mmap:
    descriptor = _create(path)
    try:
        os.posix_fallocate(descriptor, 0, _TAIL_BYTES)  # else SIGBUS on a full disk
        return mmap.mmap(descriptor, _TAIL_BYTES)
    finally:
        os.close(descriptor)
