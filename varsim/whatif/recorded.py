"""A recorded program: the operations of the program and of each replica, in order.

Commits, installs and fetches are left out, so that the program can be played under other settings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, NamedTuple

from varsim.extension_dtypes import named
from varsim.spec import (
    Array,
    Operand,
    Operation,
    Rows,
    Synchronization,
    VariableAggregation,
    VariableSpec,
    synchronization_named,
)
from varsim.tracing.history import Event, VariableRow

HOST_CALL: Final = "host_call"
RELEASE: Final = "release"


class Settings(NamedTuple):
    """The settings of a variable. AUTO means adaptive AUTO, because plain AUTO became ON_WRITE."""

    synchronization: Synchronization
    aggregation: VariableAggregation


@dataclass(frozen=True, slots=True)
class RestoredStart:
    """The values that a restart put back into a variable of an earlier incarnation."""

    components: tuple[Array, ...]  # in replica order
    value: Array | None  # what the program would have read; None if it could not read one


@dataclass(frozen=True, slots=True)
class RecordedCreate:
    """The program creates a variable."""

    variable: int
    value: Array | None  # the value of all components; None if it was not recorded
    start: RestoredStart | None = None  # only if a restart created the variable again


@dataclass(frozen=True, slots=True)
class RecordedForget:
    """The program drops a variable."""

    variable: int


@dataclass(frozen=True, slots=True)
class RecordedRead:
    """A read, with the recorded value."""

    event: int
    variable: int
    process: int
    step: int  # number of calls that had begun
    location: str
    replica: int | None  # owner of the component; None for a read of the variable
    recorded: Event
    times: int = 1


@dataclass(frozen=True, slots=True)
class RecordedWrite:
    """A write with its operand, or with one operand per component."""

    event: int
    variable: int
    process: int
    step: int
    location: str
    replica: int | None  # owner of the component; None for a write of the variable
    operation: Operation
    operands: tuple[Operand | None, ...]  # None if not recorded
    shapes: tuple[tuple[int, ...] | None, ...]  # of the values, or of the values of the rows
    of_component: bool = False  # a sparse write of `v.values[i]`, not of the variable
    shares: bool = False  # the value is one replica's share of the value that the program assigned


@dataclass(frozen=True, slots=True)
class RecordedArrival:
    """A replica arrives at a collective, or makes a host call."""

    event: int
    process: int
    step: int
    location: str
    kind: str  # all_reduce, all_gather, merge_call, cross_replica, join, or HOST_CALL
    name: str | None  # the name of the collective, as given by the program
    # What the program does before it answers. All replicas of a collective share this list.
    body: list[RecordedAction]
    group: tuple[int, ...] = ()  # the process group of the collective; () for all replicas


@dataclass(frozen=True, slots=True)
class RecordedManual:
    """A manual operation on a variable, such as `v.sync` or `v.push`."""

    event: int
    variable: int
    process: int
    step: int
    location: str
    operation: str  # as in the history: publish, push, pull, fetch, broadcast, sync_mean, …
    replica: int | None  # root of a broadcast, or owner of a fetched component
    delta: Array | None  # what a push adds; None if it was not recorded
    group: tuple[int, ...] = ()  # the process group of a sync; () for all replicas


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A replica requests or releases a lock, arrives at a barrier, sends, or receives."""

    location: str
    operation: str  # as in the history: lock, read_lock, barrier, send, recv, or RELEASE
    note: str  # the name of the lock or barrier, or the number of the other replica
    group: tuple[int, ...] = ()  # the process group of a barrier


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One `strategy.run`: what each replica did, in its own order.

    If there are fewer lists than replicas of the program, the last replicas had joined.
    """

    number: int
    replicas: tuple[list[ReplicaAct], ...]
    raised: set[int] = field(default_factory=set)  # replicas whose function raised
    failed: list[str] = field(default_factory=list)  # the error text, if the call failed


RecordedAction = (
    RecordedCreate | RecordedForget | RecordedRead | RecordedWrite | RecordedManual | RecordedCall
)
"""An operation of the program itself."""

ReplicaAct = RecordedRead | RecordedWrite | RecordedManual | RecordedArrival | RecordedRequest
"""An operation of a replica."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A variable that a replay cannot have."""

    row: VariableRow
    why: str  # a clause without its subject, such as "its policy … is not installed here"


@dataclass(frozen=True, slots=True)
class RecordedProgram:
    """A program as recorded in its history."""

    num_replicas: int
    variables: Mapping[int, VariableRow]  # without `left_out`
    actions: tuple[RecordedAction, ...]
    events: int  # number of reads, writes and arrivals
    unknown: frozenset[int]  # variables with an unrecorded value
    problem: str  # why the record is not whole; "" if it is whole
    calls_before: int = 0  # number of calls in earlier incarnations
    left_out: Mapping[int, LeftOut] = field(default_factory=dict)
    """The variables that the replay does not have; there are no actions of them."""
    counts_replicas: bool = True  # False if the program never asked for the number of replicas

    def restored(self) -> list[int]:
        """Return the variables whose values a restart put back, in order of creation."""
        creates = [one for one in self.actions if isinstance(one, RecordedCreate)]
        return [one.variable for one in creates if one.start is not None]

    def settings(self) -> dict[int, Settings]:
        """Return the settings in force for each variable."""
        return {number: settings_of(row) for number, row in self.variables.items()}


def settings_of(row: VariableRow) -> Settings:
    """Return the settings in force for a variable."""
    return _settings_named(row.synchronization, row.aggregation)


@cache
def _settings_named(synchronization: str, aggregation: str) -> Settings:
    return Settings(synchronization_named(synchronization), VariableAggregation[aggregation])


def spec_of(row: VariableRow, settings: Settings) -> VariableSpec:
    """Return the spec of a variable under some settings."""
    return VariableSpec(
        variable_id=row.variable,
        name=row.name,
        shape=tuple(json.loads(row.shape)),
        dtype=named(row.dtype),
        requested=settings.synchronization,
        synchronization=settings.synchronization,
        aggregation=settings.aggregation,
        trainable=bool(row.trainable),
        created_at=row.created_at,
    )


def accesses(
    actions: tuple[RecordedAction, ...] | list[RecordedAction],
) -> Iterator[RecordedRead | RecordedWrite]:
    """Yield all reads and writes in program order, and within a call replica by replica."""
    for action in actions:
        match action:
            case RecordedRead() | RecordedWrite():
                yield action
            case RecordedCall(replicas=replicas):
                yield from _in_call(replicas)
            case _:
                pass


def _in_call(
    replicas: tuple[list[ReplicaAct], ...],
) -> Iterator[RecordedRead | RecordedWrite]:
    seen: set[int] = set()  # bodies that replicas share
    for own in replicas:
        for act in own:
            if isinstance(act, RecordedRead | RecordedWrite):
                yield act
            elif isinstance(act, RecordedArrival) and act.body and id(act.body) not in seen:
                seen.add(id(act.body))
                yield from accesses(act.body)


def wrote_the_same(program: RecordedProgram, variable: int) -> bool:
    """Return whether replicas wrote a variable, and all wrote the same values in every call."""
    written = False
    for call in program.actions:
        if isinstance(call, RecordedCall):
            first, *others = [list(_writes(own, variable)) for own in call.replicas]
            written |= bool(first)
            if None in first or any(other != first for other in others):
                return False
    return written


def _writes(
    own: list[ReplicaAct], variable: int
) -> Iterator[tuple[Operation, tuple[bytes, ...]] | None]:
    """Yield the operation and the bytes of each write of a replica; None for unknown values."""
    for act in own:
        if isinstance(act, RecordedWrite) and act.variable == variable:
            known = [_bytes_of(one) for one in act.operands if one is not None]
            yield (act.operation, tuple(known)) if len(known) == len(act.operands) else None


def _bytes_of(operand: Operand) -> bytes:
    if isinstance(operand, Rows):
        return operand.indices.tobytes() + operand.values.tobytes()
    return operand.tobytes()
