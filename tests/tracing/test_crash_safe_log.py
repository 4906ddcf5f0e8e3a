"""A crash-safe log can be read up to the moment at which its process ended."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varsim import disk
from varsim.tracing.crash_safe_log import CrashSafeLog, LogDamage, chunks
from varsim.tracing.reading import records
from varsim.tracing.trace import Trace, TraceOptions
from varsim.tracing.trace_format import RecordKind, file_name

SIZES = st.integers(0, 600_000) | st.integers(0, 3000)


def whole(path: Path) -> bytes:
    return b"".join(chunks(path))


def left_by_a_kill(folder: Path, to: Path) -> Path:
    """Copy the files that a process leaves if it is killed now; return the copy's folder."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to)
    return to


@given(st.lists(SIZES, max_size=12))
def test_appended_records_can_be_read_before_and_after_the_close(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
):
    folder = tmp_path_factory.mktemp("lasting")
    file = CrashSafeLog(folder / "it", 2**30)
    expected = b""
    for number, size in enumerate(sizes):
        record = bytes([number]) * size
        expected += record
        assert file.append(record)
        assert expected == whole(folder / "it")
    file.close(b"end")

    assert expected + b"end" == whole(folder / "it")
    assert ["it"] == [path.name for path in folder.iterdir()]


def test_a_kill_during_a_move_of_the_tail_duplicates_nothing(tmp_path: Path, monkeypatch):
    folder = tmp_path / "run"
    folder.mkdir()
    file = CrashSafeLog(folder / "it", 2**30)
    file.append(b"a" * 200_000)
    seen = []
    write = os.write

    def killed_before_and_after(descriptor: int, content: bytes) -> int:
        seen.append(whole(left_by_a_kill(folder, tmp_path / "left") / "it"))
        written = write(descriptor, content)
        seen.append(whole(left_by_a_kill(folder, tmp_path / "left") / "it"))
        return written

    monkeypatch.setattr(os, "write", killed_before_and_after)
    file.append(b"b" * 100_000)
    assert [b"a" * 200_000] * 4 == seen  # the head of the block, and its content
    file.close(b"")


def test_the_trace_of_a_killed_process_is_readable(tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir()
    trace = Trace(TraceOptions(folder), 0, 2)
    for call in range(3):
        trace.finished(call, None)
    left = left_by_a_kill(folder, tmp_path / "left")
    trace.close()

    kinds = [record[0] for record in records(left / file_name(0))]
    assert [RecordKind.BEGUN, *[RecordKind.FINISHED] * 3] == kinds


@pytest.mark.parametrize("at", [0, 5, 9, 300_000, 300_030, -1])
def test_a_changed_byte_ends_the_log_before_its_block(tmp_path: Path, at: int):
    """The first block has the large record; the second block has the two small records."""
    file = CrashSafeLog(tmp_path / "it", 2**30)
    file.append(b"a" * 300_000)
    file.append(b"b" * 100)
    file.close(b"end")
    content = bytearray((tmp_path / "it").read_bytes())
    content[at] ^= 4
    (tmp_path / "it").write_bytes(content)

    seen: list[bytes] = []
    with pytest.raises(LogDamage, match=r"it is damaged after byte (0|300,012)$"):
        seen.extend(chunks(tmp_path / "it"))
    assert seen == ([b"a" * 300_000] if at in (300_030, -1) else [])


def test_a_changed_byte_in_the_tail_of_a_killed_process_is_found(tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir()
    file = CrashSafeLog(folder / "it", 2**30)
    file.append(b"a" * 300_000)
    file.append(b"b" * 100)
    left = left_by_a_kill(folder, tmp_path / "left")
    file.close(b"end")
    tail = left / "it-tail"
    tail.write_bytes(tail.read_bytes().replace(b"bb", b"bc", 1))

    read = chunks(left / "it")
    assert b"a" * 300_000 == next(read)
    with pytest.raises(LogDamage, match="it-tail is damaged"):
        next(read)


def test_the_fault_of_a_full_disk_is_like_a_full_disk(tmp_path: Path):
    file = CrashSafeLog(tmp_path / "it", 2**30)
    assert file.append(b"a" * 300_000)
    disk.fill(tmp_path)
    assert not file.append(b"b" * 300_000)
    assert "No space left on device" == file.error
    with pytest.raises(OSError, match="No space left"):
        CrashSafeLog(tmp_path / "another", 2**30)
    file.close(b"end")

    assert b"a" * 300_000 + b"end" == whole(tmp_path / "it")
    disk.free(tmp_path)


def test_an_empty_tail_is_ignored(tmp_path: Path):
    CrashSafeLog(tmp_path / "it", 2**20).close(b"what is there")
    (tmp_path / "it-tail").write_bytes(b"")
    assert b"what is there" == whole(tmp_path / "it")


def test_a_full_disk_ends_the_file_after_the_last_complete_record(tmp_path: Path, monkeypatch):
    """A part of a record is removed. `close` can write the end even if the tail is full."""
    file = CrashSafeLog(tmp_path / "it", 2**30)
    assert file.append(b"a" * 300_000)
    write = os.write
    room = iter([5, 0])

    def full(descriptor: int, content: bytes) -> int:
        taken = next(room, 0)
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content[:taken])

    monkeypatch.setattr(os, "write", full)
    records = 0
    while file.append(b"d" * 100):
        records += 1
    assert not file.append(b"b" * 300_000)
    assert "No space left on device" == file.error
    file.close(b"end" * 20)

    assert b"a" * 300_000 + b"d" * 100 * records + b"end" * 20 == whole(tmp_path / "it")
    assert records > 2_000


def test_a_trace_that_cannot_be_written_ends_with_the_reason(tmp_path: Path, monkeypatch):
    """The process continues, and its later records are lost."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    trace = Trace(TraceOptions(tmp_path), 0, 2)
    monkeypatch.setattr(os, "write", full)
    for call in range(4):
        trace.finished(call, "x" * 100_000)
    trace.close()
    *_, last = records(tmp_path / file_name(0))

    assert [RecordKind.CUT, "No space left on device"] == [last[0], last[2]]
