"""The events in the trace of a process can be read even if the process was killed."""

from __future__ import annotations

import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest

from varsim.errors import TraceError
from varsim.spec import Operation
from varsim.tracing.crash_safe_log import CrashSafeLog
from varsim.tracing.reading import begun, records
from varsim.tracing.recorded_values import FRAME_LIMIT_BYTES, READ_LIMIT_BYTES
from varsim.tracing.samples import MOST_ELEMENTS
from varsim.tracing.trace import MESSAGES, OPS, Trace, TraceOptions
from varsim.tracing.trace_format import MAGIC, RecordKind, file_name

VALUE = np.arange(3, dtype=np.float32)


def make(folder: Path, level: str = OPS, limit_bytes: int = 2**24) -> Trace:
    return Trace(TraceOptions(folder, level, limit_bytes), 0, 2)


def kinds(folder: Path) -> list[int]:
    return [record[0] for record in records(folder / file_name(0))]


def values(folder: Path, kind: RecordKind) -> list[list[object]]:
    found = [record for record in records(folder / file_name(0)) if record[0] == kind]
    return [record[-1] for record in found]


def test_the_dtype_of_an_array_that_was_pickled_is_recorded_as_numpys_own(tmp_path: Path) -> None:
    """NumPy makes another dtype object when it unpickles an array."""
    trace = make(tmp_path)
    trace.wrote(1, 0, Operation.ASSIGN, "p.py:2", pickle.loads(pickle.dumps(VALUE)))
    trace.close()

    assert [["f", [3], None, VALUE.tobytes()]] == values(tmp_path, RecordKind.WROTE)


def test_events_are_read_in_the_recorded_order(tmp_path: Path) -> None:
    trace = make(tmp_path)
    trace.read(1, 0, 7, "p.py:1", VALUE)
    trace.wrote(1, 0, Operation.ASSIGN, "p.py:2", VALUE)
    trace.received(-1)
    trace.finished(1, None)
    trace.close()
    found = list(records(tmp_path / file_name(0)))
    times = [record[1] for record in found]

    assert [
        RecordKind.BEGUN,
        RecordKind.READ,
        RecordKind.WROTE,
        RecordKind.RECEIVED,
        RecordKind.FINISHED,
        RecordKind.ENDED,
    ] == [record[0] for record in found]
    assert sorted(times) == times
    assert [1, 0, 7, "p.py:1", ["f", [3], None, VALUE.tobytes()]] == found[1][2:]
    assert [1, 0, "assign", "p.py:2", ["f", [3], None, VALUE.tobytes()]] == found[2][2:]
    assert [0, 2, OPS] == begun(tmp_path / file_name(0))[2:5]


def test_a_written_value_is_recorded_unchanged(tmp_path: Path) -> None:
    """The program is allowed to change its array afterwards."""
    trace, value = make(tmp_path), VALUE.copy()
    trace.wrote(1, 0, Operation.ASSIGN, "", value)
    value.fill(9)
    trace.close()

    assert VALUE.tobytes() == values(tmp_path, RecordKind.WROTE)[0][3]


@pytest.mark.parametrize("level", [OPS, MESSAGES])
def test_large_values_are_recorded_whole_only_with_the_level_messages(
    tmp_path: Path, level: str
) -> None:
    trace = make(tmp_path, level)
    middle = np.zeros(READ_LIMIT_BYTES + 1, np.uint8)
    large = np.zeros(FRAME_LIMIT_BYTES + 1, np.uint8)
    trace.read(1, 0, 0, "", middle)
    trace.read(1, 0, 0, "", large)
    trace.wrote(1, 0, Operation.ASSIGN, "", large)
    trace.close()
    (_, _, digest, content), (*_, of_large) = values(tmp_path, RecordKind.READ)
    everything = level == MESSAGES

    assert (middle.tobytes() if everything else None) == content
    assert everything or zlib.crc32(middle.tobytes()) == digest
    written = values(tmp_path, RecordKind.WROTE)[0][3]
    if everything:
        assert [large.tobytes()] * 2 == [of_large, written]
    else:
        assert [
            zlib.crc32(large),
            large[:MOST_ELEMENTS].tobytes(),
            [0, 0, 0.0, 0.0, 0.0],
            None,
        ] == (of_large)
        assert of_large == written


def test_a_repeated_read_is_counted(tmp_path: Path) -> None:
    trace = make(tmp_path)
    for _ in range(1000):
        trace.read(1, 0, 7, "p.py:1", VALUE)
    trace.read(1, 0, 8, "p.py:1", VALUE)
    trace.close()

    assert [
        RecordKind.BEGUN,
        RecordKind.READ,
        RecordKind.AGAIN,
        RecordKind.READ,
        RecordKind.ENDED,
    ] == kinds(tmp_path)
    assert [999] == values(tmp_path, RecordKind.AGAIN)


def test_a_value_may_have_any_size(tmp_path: Path) -> None:
    trace = make(tmp_path, MESSAGES)
    sizes = [3_000_000, 1, 2**20, 70_000]
    for size in sizes:
        trace.wrote(1, 0, Operation.ASSIGN, "", np.full(size, size % 251, np.uint8))
    trace.close()

    assert [bytes([size % 251]) * size for size in sizes] == [
        value[3] for value in values(tmp_path, RecordKind.WROTE)
    ]


def test_a_trace_that_reaches_its_limit_ends_with_the_record_cut(tmp_path: Path) -> None:
    trace = make(tmp_path, limit_bytes=10_000)
    for number in range(100_000):
        trace.finished(number, "what happened")
    trace.close()

    assert RecordKind.CUT == kinds(tmp_path)[-1]
    assert 10_100 >= (tmp_path / file_name(0)).stat().st_size


def test_repeated_reads_at_the_end_are_counted(tmp_path: Path) -> None:
    trace = make(tmp_path)
    for _ in range(3):
        trace.read(1, 0, 7, "p.py:1", VALUE)
    trace.close()

    assert [2] == values(tmp_path, RecordKind.AGAIN)


def test_closing_a_trace_twice_has_no_further_effect(tmp_path: Path) -> None:
    trace = make(tmp_path)
    trace.close()
    trace.close()
    trace.finished(1, None)

    assert [RecordKind.BEGUN, RecordKind.ENDED] == kinds(tmp_path)


def test_a_file_that_is_not_a_trace_is_refused(tmp_path: Path) -> None:
    path = tmp_path / file_name(0)
    path.write_bytes(b"varsim-trace-0\n" + bytes(20))
    with pytest.raises(TraceError, match="its beginning is damaged, or another version"):
        list(records(path))
    CrashSafeLog(path.with_name("other"), 2**20).close(MAGIC + bytes(20))
    path = path.with_name("other")
    with pytest.raises(TraceError, match="does not describe its process"):
        begun(path)


def test_a_trace_is_readable_by_its_user_only(tmp_path: Path) -> None:
    make(tmp_path).close()

    assert 0o600 == (tmp_path / file_name(0)).stat().st_mode & 0o777


def test_a_value_at_a_reused_address_is_another_value(tmp_path: Path) -> None:
    """Python uses the address of a freed value again while the trace still counts its reads."""
    trace = make(tmp_path)
    for number in range(50):
        trace.read(1, 0, 7, "p.py:1", np.float32(number))
        trace.finished(number, None)
        trace.received(1)
    trace.close()

    expected = [np.float32(number).tobytes() for number in range(50)]
    assert expected == [value[3] for value in values(tmp_path, RecordKind.READ)]
