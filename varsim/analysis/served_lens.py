"""The lens of parameter servers: the versions of a variable, and who has read and written them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from varsim.analysis import arithmetic
from varsim.analysis.arithmetic import Flat
from varsim.analysis.served import ServedVariable
from varsim.tracing.served_record import NOT_READ, ServedOperation, ServerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedVersion:
    """One version of a variable, and the operation that made it.

    Attributes:
        event: The number of the operation, for `varsim check --event`.
        time_s: Seconds since the creation of the variable.
        process: The worker that has written it; PROGRAM for the program.
        closure_id: The closure that has written it; 0 for the program.
        operation: create, or the name of a write.
        based_on: The version that the closure had read before; None if it had read none.
        behind: How many versions others had made since that read; None without a read.
        shown: What is shown of the value; None if the value is not known.
        readers: (process, number of its reads of this version), in the order of processes.
        overwritten_by: The version that has overwritten this one, whose update is lost; else None.
    """

    version: int
    event: int
    time_s: float
    process: int
    closure_id: int
    operation: str
    location: str
    based_on: int | None
    behind: int | None
    shown: Any
    readers: tuple[tuple[int, int], ...] = ()
    overwritten_by: int | None = None

    @property
    def reads(self) -> int:
        """Return how often this version was read."""
        return sum(count for _, count in self.readers)


@dataclass(frozen=True, slots=True)
class ServedVersions:
    """All recorded versions of a variable."""

    name: str
    number: int
    server: int
    dtype: str
    shape: tuple[int, ...]  # of the initial value; () if the creation was not recorded
    versions: tuple[ServedVersion, ...]
    missing: str  # why the record is not whole; "" if it is


@dataclass(slots=True)
class _Versions:
    made: list[ServedVersion] = field(default_factory=list)
    readers: dict[int, dict[int, int]] = field(default_factory=dict)  # version → process → reads

    def take(self, one: ServedOperation, shown: Any, began_ns: int) -> None:
        if one.operation == "read":
            of_version = self.readers.setdefault(one.version, {})
            of_version[one.process] = of_version.get(one.process, 0) + 1
            return
        is_based = one.is_write and one.read_version != NOT_READ
        version = one.version
        self.made.append(
            ServedVersion(
                version=version,
                event=one.number,
                time_s=(one.time_ns - began_ns) / 1e9,
                process=one.process,
                closure_id=one.closure_id,
                operation=one.operation,
                location=one.location,
                based_on=one.read_version if is_based else None,
                behind=version - 1 - one.read_version if is_based else None,
                shown=shown,
            )
        )


def versions_of(
    records: Sequence[ServerRecord], number: int, show: Callable[[Flat], Any]
) -> ServedVersions:
    """Return the versions of the variable with this number, which must be in the records.

    Args:
        records: In the order of the servers; see `varsim.tracing.served_record.server_records`.
        show: Returns what is shown of a value, so that not every version of a large value is kept.
    Raises:
        TraceError: A file is not a trace of this version.
    """
    before = 0
    for server, record in enumerate(records):
        variable = ServedVariable(number, "")
        versions, began_ns = _Versions(), 0
        form: tuple[str, tuple[int, ...]] = "", ()
        with arithmetic.quiet():
            for one in record.operations(before):
                before = one.number
                if one.variable == number:
                    if not versions.made:
                        form, began_ns = (one.dtype_name, one.shape), one.time_ns
                    variable.take(one)
                    value = variable.value if one.operation != "read" else None
                    versions.take(one, None if value is None else show(value), began_ns)
        if versions.made:
            lost = dict(variable.lost())
            made = tuple(
                replace(
                    one,
                    readers=tuple(sorted(versions.readers.get(one.version, {}).items())),
                    overwritten_by=lost.get(one.version),
                )
                for one in versions.made
            )
            name = record.names.get(number, "")
            return ServedVersions(name, number, server, *form, made, record.missing)
    raise AssertionError("the records have the variable")
