"""Record what a process noticed about a program's use of objects, from which findings are made.

A replica records a notice once for each line. The program records each operation on a plain
variable, and each result of `strategy.reduce` that it drops, or that is not right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from varsim.spec import Array
from varsim.tracing.trace import Trace

DISCARDED, CHANGED, PLAIN = "discarded", "changed", "plain"
NOT_FINITE, OVERFLOW = "not_finite", "overflow"
NOTICES: Final = (DISCARDED, CHANGED, PLAIN, NOT_FINITE, OVERFLOW)
"""The operations of the events `notice`; see `kinds.py`."""


MERGE_CALL: Final = "merge_call"
"""The operation in the details of `not_finite` for what a replica gives to a merge function."""

READ: Final = "read"
"""The operation of a read of a plain variable; that of a write is the name of an `Operation`."""


SIMULATED: Final = "simulated"
"""Not an operation of an event: merging makes it the entry `simulated` of the table `run`."""


def simulated(trace: Trace | None) -> None:
    """Record that the replicas take turns in one process, so that times show nothing."""
    if trace is not None:
        trace.noticed(None, SIMULATED, None, "", "")


def discarded(
    trace: Trace | None, replica_id: int | None, method: str, location: str, given_at: str
) -> None:
    """Record that a replica does not use the result of a collective.

    Args:
        replica_id: None for the program, which drops what `strategy.reduce` returns.
        location: The line that drops the result, as file:line.
        given_at: The line of the collective, which is another one if a function returns the result.
    """
    if trace is not None:
        told = {"method": method, "given_at": given_at}
        trace.noticed(None, DISCARDED, replica_id, location, json.dumps(told))


def changed(
    trace: Trace | None,
    replica_id: int,
    kind: str,
    name: str,
    location: str,
    named_at: str,
    used_at: str = "",
) -> None:
    """Record that a replica changed an object of the program: its own copy, or the object itself.

    Args:
        kind: The word for the object, such as list.
        name: The name of the object in the program.
        named_at: The line where a function of strategy.run names the object, as file:line. The
            change at `location` can be in a method that it calls.
        used_at: The line where the program uses the object, as file:line, if replicas run in the
            program's process and share its objects; "" if a replica has its own copy.
    """
    if trace is not None:
        note = {"kind": kind, "name": name, "named_at": named_at}
        note |= {"used_at": used_at} if used_at else {}
        trace.noticed(None, CHANGED, replica_id, location, json.dumps(note))


def not_finite(
    trace: Trace | None, replicas: Sequence[int], operation: str, location: str, *, is_nan: bool
) -> None:
    """Record that replicas gave NaN or an infinity to an operation whose values no event shows.

    Args:
        operation: The merge_call, or "the MEAN of strategy.reduce", whose result is not finite.
        is_nan: Whether a value is NaN.
    """
    if trace is not None:
        told = {"operation": operation, "replicas": ",".join(map(str, replicas))}
        told["what"] = "NaN" if is_nan else "infinity"
        replica_id = replicas[0] if operation == MERGE_CALL else None
        trace.noticed(None, NOT_FINITE, replica_id, location, json.dumps(told))


def overflow(
    trace: Trace | None, op: str, location: str, dtype: str, exact: float, got: float
) -> None:
    """Record that the result of `strategy.reduce` exceeds the range of its dtype.

    Args:
        exact: The result without the limit of the dtype.
        got: The result.
    """
    if trace is not None:
        told = {"op": op, "dtype": dtype, "exact": repr(exact), "got": repr(got)}
        trace.noticed(None, OVERFLOW, None, location, json.dumps(told))


def plain(
    trace: Trace,
    call_id: int,
    replica_id: int,
    operation: str,
    location: str,
    name: str,
    created_at: str,
    value: Array,
) -> None:
    """Record an operation of a replica on a variable that was created outside the scope.

    Args:
        operation: read, or the name of an `Operation`.
        name: The name of the variable.
        created_at: The line that created the variable, as file:line.
        value: The value of the variable after the operation.
    """
    told = {"variable": name, "created_at": created_at, "operation": operation}
    trace.noticed(call_id, PLAIN, replica_id, location, json.dumps(told), value=value)


def details(note: str | None) -> Mapping[str, str]:
    """Return the details in the note of a notice; empty if it has none."""
    try:
        found = json.loads(note or "")
    except ValueError:
        return {}
    valid = isinstance(found, dict) and all(isinstance(one, str) for one in found.values())
    return found if valid else {}
