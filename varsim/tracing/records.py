"""Validate the records of a trace, so that the merge can rely on their types and limits.

`RecordKind` lists the members of each kind of record.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from varsim.environment import MAX_REPLICAS
from varsim.extension_dtypes import EXTENSION_SIZES, NUMPY_DTYPES, key_of
from varsim.protocol.limits import MAX_DIMENSIONS, MAX_FRAME_BYTES
from varsim.tracing.kinds import OWN
from varsim.tracing.samples import Statistics
from varsim.tracing.trace_format import PROGRAM, RecordKind

TraceRecord = list[Any]
"""`[kind, time_ns, …]`: see `RecordKind`."""

MAX_NUMBER: Final = 2**53
"""Limit for counts and numbers: every reader of JSON can represent them."""

MAX_NAME_CHARACTERS: Final = 2**16
"""Length limit of a variable's name, of a location and of a synchronization."""

MAX_NOTE_CHARACTERS: Final = 2**18
"""Length limit of the note of a notice, which has a name and a location."""

_MAX_WORD: Final = 64
_MAX_TIME_NS: Final = 2**63
_INDEX_BYTES: Final = 8

_ACCESS_MEMBERS: Final = 5  # number of members of a READ or a WROTE after the time
_STATISTICS: Final = (0, len(Statistics._fields))
_SHARED_MEMBERS: Final = 8  # number of members of a SHARED after the time
_NOTICE_MEMBERS: Final = 5  # number of members of a NOTICED after the time
_SERVED_MEMBERS: Final = 8  # number of members of a SERVED after the time
_VALUE_MEMBERS, _ROWS_MEMBERS = 4, 5  # see `recorded_values.Kept` and `KeptRows`
_NO_SAMPLES: Final[list[object]] = []

_SIZES: Final = {**{key_of(one): one.itemsize for one in NUMPY_DTYPES}, **EXTENSION_SIZES}
"""The size of an element in bytes, by the name of the dtype in a trace."""


def is_valid(record: object, num_replicas: int = MAX_REPLICAS) -> bool:
    """Return whether a record has the members of its kind, within limits.

    Records of an unknown kind are valid; the merge ignores them.
    """
    if type(record) is not list or len(record) < 2 or not _is_count(record[1], _MAX_TIME_NS):
        return False
    check = _CHECKS.get(record[0]) if type(record[0]) is int else None
    return type(record[0]) is int if check is None else check(num_replicas, *record[2:])


def _is_count(value: object, most: int = MAX_NUMBER) -> bool:
    return type(value) is int and 0 <= value <= most


def _is_process(value: object, num_replicas: int) -> bool:
    return type(value) is int and PROGRAM <= value < num_replicas


def _is_owner(value: object, num_replicas: int) -> bool:
    return value is None or (type(value) is int and 0 <= value < num_replicas)


def _is_text(value: object, most: int = MAX_NAME_CHARACTERS) -> bool:
    return type(value) is str and len(value) <= most


def _are_frames(value: object) -> bool:
    return type(value) is list and all(type(one) is bytes for one in value)


def _are_samples(value: object) -> bool:
    """Return whether a member of a record has, for each omitted array, its samples or None."""
    return type(value) is list and all(
        parts is None or (type(parts) is list and all(map(_is_sample, parts))) for parts in value
    )


def _is_sample(value: object) -> bool:
    """Return whether a list has the members of a `Sampled`."""
    match value:
        case [int(digest), None | bytes(), [*statistics], None | bytes()]:
            numbers = all(one is None or type(one) in {int, float} for one in statistics)
            return 0 <= digest < 2**32 and len(statistics) in _STATISTICS and numbers
    return False


def _is_operand(value: object) -> bool:
    """Return whether a member of a record has the columns of a value or of rows."""
    if type(value) is not list or not _VALUE_MEMBERS <= len(value) <= _ROWS_MEMBERS:
        return False
    dtype, shape, digest, content = value[:_VALUE_MEMBERS]
    indices = value[-1] if len(value) == _ROWS_MEMBERS else None
    if type(dtype) is not str or type(shape) is not list:
        return False
    for one in shape:
        if type(one) is not int:
            return False
    size = _size_bytes(dtype, tuple(shape))
    return (
        size >= 0
        and (digest is None or _is_count(digest, 2**32 - 1))
        and (
            content is None
            or (type(content) is bytes and len(content) == size)
            or _is_sample(content)
        )
        and (
            indices is None or (type(indices) is bytes and len(indices) == shape[0] * _INDEX_BYTES)
        )
    )


@lru_cache(4096)
def _size_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Return the size of a value; -1 if there is no such value."""
    if dtype not in _SIZES or len(shape) > MAX_DIMENSIONS or any(one < 0 for one in shape):
        return -1
    if math.prod(one or 1 for one in shape) * _SIZES[dtype] > MAX_FRAME_BYTES:
        return -1
    return math.prod(shape) * _SIZES[dtype]


# ---------------------------------------------------------------- one function for each kind


def _begun(
    _: int,
    process: object = None,
    num_replicas: object = None,
    level: object = None,
    version: object = None,
    began: object = None,
    window: object = None,
    *others: object,
) -> bool:
    match window:
        case None:
            valid = True
        case [int(first), int(after)]:
            valid = _is_count(after) and 1 <= first < after
        case _:
            valid = False
    return (
        valid
        and not others
        and _is_count(num_replicas, MAX_REPLICAS)
        and num_replicas != 0
        and _is_process(process, MAX_REPLICAS)
        and _is_text(level, _MAX_WORD)
        and _is_count(version)
        and type(began) in {int, float}
        and bool(0 <= began <= MAX_NUMBER)  # type: ignore[operator]  # a number
    )


def _sent(
    num_replicas: int,
    peer: object = None,
    frames: object = (),
    samples: object = _NO_SAMPLES,
    *others: object,
) -> bool:
    known = frames is None or _are_frames(frames)
    return known and _are_samples(samples) and _is_process(peer, num_replicas) and not others


def _received(num_replicas: int, peer: object = None, *others: object) -> bool:
    return _is_process(peer, num_replicas) and not others


def _read(num_replicas: int, *members: object) -> bool:
    access, others = members[:_ACCESS_MEMBERS], members[_ACCESS_MEMBERS:]
    is_read = _is_access(num_replicas, access) and _is_count(access[2])
    return is_read and others in ((), (OWN,))  # not a set: a damaged member may be unhashable


def _wrote(num_replicas: int, *members: object) -> bool:
    return _is_access(num_replicas, members) and _is_text(members[2], _MAX_WORD)


def _compressed(num_replicas: int, *members: object) -> bool:
    return _wrote(num_replicas, *members) and _is_value(members[-1])


def _is_value(value: object) -> bool:
    """Return whether a member of a record has the columns of a value."""
    return type(value) is list and len(value) == _VALUE_MEMBERS and _is_operand(value)


def _is_access(num_replicas: int, members: tuple[object, ...]) -> bool:
    """Return whether a READ or a WROTE is valid; do not check its version or its operation."""
    if len(members) != _ACCESS_MEMBERS:
        return False
    variable, replica, _, location, value = members
    return (
        _is_count(variable)
        and _is_owner(replica, num_replicas)
        and _is_text(location)
        and _is_operand(value)
    )


def _shared(num_replicas: int, *members: object) -> bool:
    if len(members) != _SHARED_MEMBERS:
        return False
    operation, variable, replica, version, age_ns, location, value, group = members
    return (
        _is_text(operation, _MAX_WORD)
        and _is_count(version)
        and _is_count(age_ns, _MAX_TIME_NS)
        and type(group) is list
        and all(type(one) is int and 0 <= one < num_replicas for one in group)
        and _is_access(num_replicas, (variable, replica, None, location, value))
    )


def _noticed(num_replicas: int, *members: object) -> bool:
    about, value = members[:_NOTICE_MEMBERS], members[_NOTICE_MEMBERS:]
    if len(about) != _NOTICE_MEMBERS or len(value) > 1:
        return False
    call, operation, replica, location, note = about
    return (
        all(map(_is_value, value))
        and (call is None or _is_count(call))
        and _is_text(operation, _MAX_WORD)
        and _is_owner(replica, num_replicas)
        and _is_text(location)
        and _is_text(note, MAX_NOTE_CHARACTERS)
    )


def _served_variable(
    _: int, variable: object = None, name: object = None, location: object = None, *others: object
) -> bool:
    return _is_count(variable) and _is_text(name) and _is_text(location) and not others


def _served(num_replicas: int, *members: object) -> bool:
    if len(members) != _SERVED_MEMBERS:
        return False
    process, closure, variable, operation, version, read_version, location, value = members
    return (
        _is_process(process, num_replicas)
        and _is_count(closure)
        and _is_text(operation, _MAX_WORD)
        and _is_count(version)
        and (read_version == -1 or _is_count(read_version))
        and _is_access(num_replicas, (variable, None, None, location, value))
    )


def _finished(_: int, call: object = None, note: object = 0, *others: object) -> bool:
    return _is_count(call) and (note is None or type(note) is str) and not others


def _lost(num_replicas: int, replica: object = None, note: object = None, *others: object) -> bool:
    known = replica is not None and _is_owner(replica, num_replicas)
    return known and type(note) is str and not others


def _again(_: int, times: object = None, *others: object) -> bool:
    return _is_count(times) and times != 0 and not others


def _decided(
    num_replicas: int,
    replica_ids: object = None,
    frames: object = None,
    samples: object = _NO_SAMPLES,
    *others: object,
) -> bool:
    if type(replica_ids) is not list or others or not _are_samples(samples):
        return False
    return _are_frames(frames) and all(
        type(one) is int and 0 <= one < num_replicas for one in replica_ids
    )


def _withheld(_: int, variable: object = None, value: object = None, *others: object) -> bool:
    return _is_count(variable) and _is_operand(value) and not others


def _shares(num_replicas: int, call: object = None, rows: object = None, *others: object) -> bool:
    if type(rows) is not list or len(rows) != num_replicas or others:
        return False
    return _is_count(call) and all(_is_count(one) for one in rows)


def _continued(_: int, calls: object = None, kept: object = None, *others: object) -> bool:
    return _is_count(calls) and type(kept) is list and all(map(_is_count, kept)) and not others


def _end(_: int, *others: object) -> bool:
    return not others


def _cut(_: int, why: object = None, *others: object) -> bool:
    return (why is None or type(why) is str) and not others


_CHECKS: Final[dict[int, Callable[..., bool]]] = {
    int(RecordKind.BEGUN): _begun,
    int(RecordKind.SENT): _sent,
    int(RecordKind.RECEIVED): _received,
    int(RecordKind.READ): _read,
    int(RecordKind.WROTE): _wrote,
    int(RecordKind.FINISHED): _finished,
    int(RecordKind.LOST): _lost,
    int(RecordKind.ENDED): _end,
    int(RecordKind.CUT): _cut,
    int(RecordKind.AGAIN): _again,
    int(RecordKind.DECIDED): _decided,
    int(RecordKind.WITHHELD): _withheld,
    int(RecordKind.SHARES): _shares,
    int(RecordKind.CONTINUED): _continued,
    int(RecordKind.SHARED): _shared,
    int(RecordKind.SERVED_VARIABLE): _served_variable,
    int(RecordKind.SERVED): _served,
    int(RecordKind.COMPRESSED): _compressed,
    int(RecordKind.NOTICED): _noticed,
}
