"""Make one operation of the program of the equal operations that every worker has asked for.

Under a strategy of several workers every worker runs the whole program, and so asks for each
operation of cross-replica context. It is performed once, if all workers ask for the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, Final, TypeVar

import numpy as np

from varsim.errors import DisagreementError, MismatchError
from varsim.spec import Array, Rows, VariableSpec
from varsim.sync.coordinator_events import (
    ProgramAssignComponents,
    ProgramFetch,
    ProgramFetchPublished,
    ProgramFetchStates,
    ProgramOperation,
    ProgramPull,
    ProgramPush,
    ProgramRead,
    ProgramScatter,
    ProgramSetStates,
    ProgramSync,
    ProgramWrite,
    ProgramWriteComponent,
)
from varsim.texts.agreement import Disagreement, OtherVariable, Request, Use
from varsim.value_class import value_class

E = TypeVar("E")

_NAMES: Final[dict[type[ProgramOperation], str]] = {
    ProgramRead: "read",
    ProgramFetch: "read of components",
    ProgramFetchStates: "read of states",
    ProgramSetStates: "restore of states",
    ProgramAssignComponents: "update",
    ProgramSync: "sync",
    ProgramPush: "push",
    ProgramPull: "pull",
    ProgramFetchPublished: "fetch",
}

_NOT_COMPARED: Final = frozenset({"location", "token", "now_s", "variable_id"})


@value_class
class Asked:
    """An operation as one worker asks for it.

    Attributes:
        location: file:line in the worker's program.
    """

    replica_id: int
    spec: VariableSpec
    event: ProgramOperation
    location: str


def name_of(event: ProgramOperation, variable: str) -> str:
    """Return the name of an operation on a variable, by which workers find each other."""
    match event:
        case ProgramWrite() | ProgramScatter() | ProgramWriteComponent():
            what = event.operation.value
        case _:
            what = _NAMES[type(event)]
    return f"{what} of variable {variable!r}"


def agreed(asked: Sequence[Asked]) -> ProgramOperation:
    """Return the operation that all workers have asked for.

    A per-replica value of the result has the values of all workers, in replica order.

    Args:
        asked: The operations of all workers, in replica order. Their names are equal.
    Raises:
        MismatchError: The workers' operations concern different variables.
        DisagreementError: The workers give different values; nothing has changed.
    """
    first = asked[0]
    if any(one.spec.variable_id != first.spec.variable_id for one in asked):
        uses = tuple(
            Use(one.replica_id, one.spec.variable_id, one.spec.created_at, one.location)
            for one in asked
        )
        raise MismatchError(OtherVariable(name_of(first.event, first.spec.name), uses))
    events = [one.event for one in asked]
    for event in events:
        if isinstance(event, ProgramWrite) and event.problem is not None:
            return event  # performing it raises the error, unless the policy refuses the write
    match events[0]:
        case ProgramWrite():
            writes = _of_one_class(events, ProgramWrite)
            if all(write.per_replica for write in writes):
                values = tuple(write.values[0] for write in writes)
                _require(asked, lambda write: _other_fields(write, "values"))
                return replace(writes[0], values=values)
        case ProgramScatter():
            scatters = _of_one_class(events, ProgramScatter)
            if all(scatter.per_replica for scatter in scatters):
                rows = tuple(scatter.rows[0] for scatter in scatters)
                _require(asked, lambda scatter: _other_fields(scatter, "rows"))
                return replace(scatters[0], rows=rows)
        case ProgramAssignComponents():
            return _united(asked, _of_one_class(events, ProgramAssignComponents))
    _require(asked, _other_fields)
    return events[0]


def _of_one_class(events: Sequence[object], kind: type[E]) -> list[E]:
    found = [event for event in events if isinstance(event, kind)]
    assert len(found) == len(events), "operations with equal names have the same class"
    return found


def _united(
    asked: Sequence[Asked], events: Sequence[ProgramAssignComponents]
) -> ProgramAssignComponents:
    """Return one assignment of all components that workers assign."""
    together: dict[int, Array] = {}
    for event in events:
        for replica_id, value in event.values.items():
            if not is_same(together.setdefault(replica_id, value), value):
                raise _disagreement(asked)
    return replace(events[0], values=dict(sorted(together.items())))


def _other_fields(event: ProgramOperation, *without: str) -> list[Any]:
    """Return the fields of an operation that must be equal on all workers."""
    left_out = _NOT_COMPARED.union(without)
    return [getattr(event, one.name) for one in fields(event) if one.name not in left_out]


def _require(asked: Sequence[Asked], compared: Callable[[ProgramOperation], list[Any]]) -> None:
    first = compared(asked[0].event)
    if not all(is_same(first, compared(one.event)) for one in asked[1:]):
        raise _disagreement(asked)


def is_same(one: Any, other: Any) -> bool:
    """Return whether two values are equal bit for bit, also NaN, -0.0, arrays and rows."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and (
            (one.dtype, one.shape) == (other.dtype, other.shape)
            and one.tobytes() == other.tobytes()
        )
    if isinstance(one, Rows):
        return isinstance(other, Rows) and (
            is_same(one.indices, other.indices) and is_same(one.values, other.values)
        )
    if isinstance(one, list | tuple):
        return (
            isinstance(other, list | tuple)
            and len(one) == len(other)
            and all(is_same(*both) for both in zip(one, other, strict=True))
        )
    return bool(one == other)


def _disagreement(asked: Sequence[Asked]) -> DisagreementError:
    spec, event = asked[0].spec, asked[0].event
    requests = tuple(Request(one.replica_id, _value(one.event), one.location) for one in asked)
    fact = Disagreement(name_of(event, spec.name).partition(" of ")[0], requests)
    error = DisagreementError(spec.name, fact, REMEDY)
    error.location = asked[0].location
    return error


def _value(event: ProgramOperation) -> Array | tuple[Array, Array] | None:
    """Return the value that a worker gives; None if there is not exactly one."""
    match event:
        case ProgramWrite(values=(value,)) if not event.per_replica:
            return value
        case ProgramScatter(rows=(rows,)) if not event.per_replica:
            return rows.indices, rows.values
        case ProgramPush(delta=delta):
            return delta
        case _:
            return None


REMEDY: Final = (
    "In cross-replica context a variable gets one value from all workers. Use a value that is "
    "equal on all of them; or combine the workers' values first: "
    "strategy.reduce(op, value, axis=None); or write the variable in strategy.run, where its "
    "aggregation combines the values."
)
"""What to do about different values."""
