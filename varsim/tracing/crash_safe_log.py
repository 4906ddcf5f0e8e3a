"""A crash-safe log: records survive the writing process, without a system call for each record.

A record is copied into the *tail*, a small file that is mapped into memory. The operating system
keeps the content of the tail even if the process is killed. When the tail is full, its content is
appended to the main file as a block. A block begins with two numbers: the size of its content in
bytes, and the CRC-32 of its content. In the tail, the offset of the block in the main file comes
before them.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from varsim.disk import require_room
from varsim.private import private_opener

_TAIL_BYTES: Final = 2**18
_HEAD: Final = struct.Struct("<QQL")
_BLOCK: Final = struct.Struct("<QL")
_CLOSING_BYTES: Final = 256  # room for the last record, even at the limit or on a full disk
_CHUNK_BYTES: Final = 2**20


class LogDamage(ValueError):
    """The content of a log was changed after it was written; the text says where."""


class CrashSafeLog:
    """A log that grows up to a limit."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        """Create the file.

        Raises:
            OSError: The file exists already, or cannot be created.
        """
        self._path = path
        self._file = _create(path)
        self._tail = _mapped(tail_of(path))
        self._limit = limit_bytes
        self._room = _TAIL_BYTES - _CLOSING_BYTES  # number of bytes of the tail that may be filled
        self._moved = 0  # size of the main file
        self._end = _HEAD.size  # end of the content in the tail
        self._crc = 0  # of the content in the tail
        self._owner = os.getpid()
        self.error: str | None = None
        """Why the log could not be written; None if it is open or has reached its limit."""

    def append(self, records: bytes | memoryview) -> bool:
        """Append whole records; return False if the limit is reached or the log is closed."""
        size = len(records)
        if self._file < 0 or self._moved + self._end - _HEAD.size + size > self._limit:
            return False
        end = self._end + size
        if end > self._room:
            if not self._move(self._tail[_HEAD.size : self._end], self._crc):
                return False
            end = self._end + size
            if end > self._room:
                return self._move(records, zlib.crc32(records))
        self._tail[self._end : end] = records
        self._end = end
        self._crc = zlib.crc32(records, self._crc)
        self._tail[: _HEAD.size] = _HEAD.pack(self._moved, end - _HEAD.size, self._crc)
        return True

    def _move(self, content: bytes | memoryview, crc: int) -> bool:
        """Append a block to the main file, and empty the tail."""
        if not content:
            return True
        try:
            require_room(self._path)
            for part in (_BLOCK.pack(len(content), crc), content):
                written = 0
                while written < len(part):  # after a partial write, the next write fails
                    written += os.write(self._file, memoryview(part)[written:])
        except OSError as error:  # the disk is full
            self.error = error.strerror  # the error itself would keep `content` in memory
            with suppress(OSError):
                os.ftruncate(self._file, self._moved)
                os.lseek(self._file, self._moved, os.SEEK_SET)
            return False
        self._moved += _BLOCK.size + len(content)
        self._end, self._crc = _HEAD.size, 0
        self._tail[: _HEAD.size] = _HEAD.pack(self._moved, 0, 0)
        return True

    def close(self, last: bytes) -> None:
        """Append the last record, and close the log. Further calls do nothing."""
        if self._file < 0 or os.getpid() != self._owner:
            return
        self._limit += _CLOSING_BYTES
        self._room = _TAIL_BYTES
        self.append(last)
        if self._move(self._tail[_HEAD.size : self._end], self._crc):
            tail_of(self._path).unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Free the log, but leave its files as if the process was killed now."""
        if self._file >= 0:
            self._tail.close()
            os.close(self._file)
            self._file = -1


def chunks(path: Path) -> Iterator[bytes]:
    """Yield the content of a log, including the tail if its process was killed.

    Each block is read twice: its content is yielded only if its CRC-32 is right.

    Raises:
        OSError: The log cannot be read.
        LogDamage: A block was changed. The blocks before it have been yielded.
    """
    try:
        tail = tail_of(path).read_bytes()
        moved, size, crc = _HEAD.unpack_from(tail)
    except (FileNotFoundError, struct.error):  # struct.error: killed before the first write
        tail, moved, size, crc = b"", None, 0, 0
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size if moved is None else moved
        while file.tell() < end:
            yield from _block(file, end)
    content = tail[_HEAD.size :][:size]
    if len(content) < size or zlib.crc32(content) != crc:
        raise LogDamage(f"{tail_of(path).name} is damaged")
    yield content


def _block(file: BinaryIO, end: int) -> Iterator[bytes]:
    """Yield the content of the next block, which ends before the offset `end`."""
    start = file.tell()
    damage = LogDamage(f"{Path(file.name).name} is damaged after byte {start:,}")
    head = file.read(_BLOCK.size)
    if len(head) < _BLOCK.size:
        raise damage
    size, crc = _BLOCK.unpack(head)
    if file.tell() + size > end:
        raise damage
    found = 0
    for chunk in _parts(file, size):
        found = zlib.crc32(chunk, found)
    if found != crc or file.tell() < start + _BLOCK.size + size:
        raise damage
    file.seek(start + _BLOCK.size)
    yield from _parts(file, size)


def _parts(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (chunk := file.read(min(_CHUNK_BYTES, size))):
        size -= len(chunk)
        yield chunk


def remove_log(path: Path) -> None:
    """Remove a log that is not needed, if it exists and can be removed."""
    for file in (path, tail_of(path)):
        with suppress(OSError):
            file.unlink()


def tail_of(path: Path) -> Path:
    """Return the file of a log's tail, which exists until the log is closed."""
    return path.with_name(f"{path.name}-tail")


def _create(path: Path) -> int:
    return private_opener(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)


def _mapped(path: Path) -> mmap.mmap:
    descriptor = _create(path)
    try:
        require_room(path)
        os.posix_fallocate(descriptor, 0, _TAIL_BYTES)  # without this, a full disk causes SIGBUS
        return mmap.mmap(descriptor, _TAIL_BYTES)
    finally:
        os.close(descriptor)
