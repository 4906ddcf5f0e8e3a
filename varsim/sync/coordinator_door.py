"""Check the messages of replicas before they change the coordinator's state.

The codec has already checked the types of all fields. These functions check that the fields match
each other and the variables. `call_state` and `pairing` check the order of a replica's messages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, assert_never

import numpy as np

from varsim.errors import ProtocolError, VarsimError
from varsim.protocol.buckets import Bucket
from varsim.protocol.limits import MAX_NAME
from varsim.protocol.messages import (
    BarrierArrival,
    Combine,
    Component,
    CompressedContribution,
    Contribution,
    Delta,
    DeltaPart,
    LockRelease,
    LockRequest,
    Meeting,
    ReceiveRequest,
    Report,
    Scatter,
    SendRequest,
    Write,
    WriteCounts,
)
from varsim.protocol.parts import LEAF
from varsim.spec import (
    SCATTERS,
    Array,
    Context,
    Operation,
    Rows,
    Shape,
    VariableAggregation,
    VariableSpec,
)
from varsim.sync import combining, policies, scatter
from varsim.sync.compression import FlatForm
from varsim.sync.policies.legality import check_arithmetic

DENSE: Final = (Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB)
_INT64: Final = np.dtype(np.int64)
_FIRST: Final = VariableAggregation.ONLY_FIRST_REPLICA


def spec_of(specs: Mapping[int, VariableSpec], variable_id: int, message: str) -> VariableSpec:
    """Return the spec of a variable that a message names.

    Raises:
        ProtocolError: There is no such variable.
    """
    spec = specs.get(variable_id)
    if spec is None:
        raise ProtocolError(f"a {message} names variable {variable_id}, which does not exist")
    return spec


def fits(shape: tuple[int, ...], declared: Shape) -> bool:
    """Return whether a value of this shape can be assigned to a variable."""
    return len(shape) == len(declared) and all(
        size is None or size == got for size, got in zip(declared, shape, strict=True)
    )


# ---------------------------------------------------------------- merges


def check_write(
    specs: Mapping[int, VariableSpec],
    write: Write,
    kinds: Sequence[Operation],
    num_replicas: int,
    *,
    is_compressed: bool = False,
) -> None:
    """Check that replicas can contribute this write to a merge.

    Args:
        is_compressed: Whether the contribution is one that the policy can compress.
    Raises:
        ProtocolError: The variable does not exist, or the write is not merged, or not in this way.
    """
    spec = spec_of(specs, write.variable_id, "write")
    if write.operation not in kinds or min(write.shape, default=0) < 0:
        raise ProtocolError(f"{write.operation.value} of shape {write.shape} cannot be merged here")
    cell = policies.cell(spec, Context.REPLICA, write.operation)
    is_merged = (cell.is_sent or cell.writes_itself) and cell.bound is None
    if cell.refused is not None or not is_merged:
        raise ProtocolError(f"{write.operation.value} of variable {spec.name!r} is not merged")
    if is_compressed != (cell.compressor is not None):
        raise ProtocolError(
            f"a contribution to variable {spec.name!r} is {'' if is_compressed else 'not '}"
            "compressed"
        )
    if cell.joins_by(spec.aggregation) is VariableAggregation.NONE:
        raise ProtocolError(f"variable {spec.name!r} has no aggregation, so nothing is merged")
    try:
        check_arithmetic(spec, write.operation, num_replicas)
    except VarsimError as error:
        raise ProtocolError(f"a write that its replica must refuse: {error}") from error


def check_buckets(replica_id: int, buckets: Sequence[Bucket], contribution: Contribution) -> None:
    """Check that the arrays of a contribution have its layout.

    Raises:
        ProtocolError: The number of arrays, or the shape or dtype of an array, does not match.
    """
    arrays = contribution.buckets
    if len(arrays) != len(buckets):
        raise ProtocolError(f"a contribution has {len(arrays)} arrays instead of {len(buckets)}")
    for bucket, array in zip(buckets, arrays, strict=True):
        if array.dtype == bucket.dtype and (
            array.shape == bucket.shape
            or (replica_id and array.shape == (0,) and bucket.first_only)
        ):
            continue
        raise ProtocolError(
            f"a contribution has an array of {array.dtype}{list(array.shape)} instead of "
            f"{bucket.dtype}{list(bucket.shape)}"
        )


def check_scatter(specs: Mapping[int, VariableSpec], message: Scatter, num_replicas: int) -> None:
    """Check a contribution to a sparse write, except the range of its indices.

    Raises:
        ProtocolError: The write is not merged, or the rows do not match the variable.
    """
    check_write(specs, message.write, SCATTERS, num_replicas)
    spec = specs[message.write.variable_id]
    shape = message.write.shape
    if not shape or not fits(shape, spec.shape):
        raise ProtocolError(f"a sparse write has the shape {shape}; the variable has {spec.shape}")
    check_rows(spec, message.rows, shape[1:])


def check_compressed(
    specs: Mapping[int, VariableSpec], message: CompressedContribution, num_replicas: int
) -> None:
    """Check a compressed contribution, except that it can follow the last exchange.

    Raises:
        ProtocolError: The write is not merged, or its parts do not match the variable.
    """
    write, parts = message.write, message.parts
    check_write(specs, write, DENSE, num_replicas, is_compressed=True)
    spec = specs[write.variable_id]
    cell = policies.cell(spec, Context.REPLICA, write.operation)
    assert cell.compressor is not None, "checked by `check_write`"
    size = math.prod(write.shape)
    assigns = write.operation is Operation.ASSIGN
    if message.is_whole:
        right = assigns and (parts[0].dtype, parts[0].shape) == (spec.dtype, (size,))
    else:
        right = assigns == cell.since_exchange
        right = right and cell.compressor.fits(parts, FlatForm(size, spec.dtype))
    if not right or write.shape != spec.shape:
        raise ProtocolError(f"a compressed value of variable {spec.name!r} has wrong parts")


def check_rows(spec: VariableSpec, rows: Rows, row: Shape) -> None:
    """Check the dtypes and shapes of rows.

    Raises:
        ProtocolError: The rows do not match the variable.
    """
    indices, values = rows.indices, rows.values
    if (
        indices.dtype != _INT64
        or indices.ndim != 1
        or values.dtype != spec.dtype
        or values.shape[:1] != indices.shape
        or not fits(values.shape[1:], row)
    ):
        raise ProtocolError(f"rows of variable {spec.name!r} have a wrong shape or dtype")


def check_combine(message: Combine, replica_id: int, present: int, num_replicas: int) -> None:
    """Check that the leaves of a collective have its structure, and that its arguments fit.

    Args:
        present: The number of replicas that take part in the call.
    Raises:
        ProtocolError: There are more or fewer leaves, two nodes have the same path, or an argument
            is missing, unexpected or out of range.
    """
    group = message.how.group
    _check_group(group, replica_id, num_replicas)
    members = [i for i in group if i < present] if group else range(present)
    kinds = [kind for _, kind in message.structure]
    if kinds.count(LEAF) != len(message.leaves) or not message.leaves:
        raise ProtocolError(
            f"a collective has {len(message.leaves)} leaves, and its structure has "
            f"{kinds.count(LEAF)}"
        )
    if len({path for path, _ in message.structure}) < len(kinds):
        raise ProtocolError("two nodes of a structure have the same path")
    if not combining.is_valid(message.how, message.weight, len(message.leaves), members):
        arguments = ", ".join([*message.how.arguments(), f"weight={message.weight}"])
        raise ProtocolError(
            f"{message.how.method} of {len(message.leaves)} leaves by {len(members)} replicas "
            f"cannot have the arguments ({arguments})"
        )


def _check_group(group: Sequence[int], replica_id: int, num_replicas: int) -> None:
    """Check that the ids are those of a process group of which the replica is a member, or ().

    Raises:
        ProtocolError: They are not.
    """
    if group and not (
        [*group] == sorted(set(group))
        and 0 <= group[0] <= group[-1] < num_replicas
        and len(group) < num_replicas  # a group of all replicas is sent as ()
        and replica_id in group
    ):
        raise ProtocolError(f"replica {replica_id} cannot be in a collective of the group {group}")


# ---------------------------------------------------------------- locks, barriers and sends


def check_meeting(
    message: Meeting | LockRelease, replica_id: int, present: int, num_replicas: int
) -> None:
    """Check the name of a lock or a barrier, its group, or the other replica of a send or receive.

    Args:
        present: The number of replicas that take part in the call.
    Raises:
        ProtocolError: The name is empty or too long, there is no such other replica, or the replica
            cannot be a member of the group.
    """
    if isinstance(message, BarrierArrival):
        _check_group(message.group, replica_id, num_replicas)
    match message:
        case LockRequest(lock=name) | LockRelease(lock=name) | BarrierArrival(barrier=name):
            if name is not None and not 0 < len(name) <= MAX_NAME:
                raise ProtocolError(f"a name of a lock or a barrier has {len(name)} characters")
        case SendRequest(to=other) | ReceiveRequest(source=other):
            if other == replica_id or not 0 <= other < present:
                raise ProtocolError(f"replica {replica_id} cannot exchange a value with {other}")
        case _:
            assert_never(message)


# ---------------------------------------------------------------- deferred writes


def check_write_counts(message: WriteCounts) -> None:
    """Check the columns of write counts.

    Raises:
        ProtocolError: The columns are not int64 lists of one length, or a variable occurs twice.
    """
    columns = (
        message.variable_ids,
        message.counts,
        message.operations,
        message.sparse,
        message.row_bytes,
    )
    if any(
        column.dtype != _INT64 or column.ndim != 1 or column.shape != columns[0].shape
        for column in columns
    ):
        raise ProtocolError("the columns of write counts are not lists of int64 of one length")
    if len(set(message.variable_ids.tolist())) < len(message.variable_ids):
        raise ProtocolError("write counts contain a variable twice")


def check_delta(spec: VariableSpec, replica_id: int, delta: Delta) -> None:
    """Check the parts of a delta.

    Raises:
        ProtocolError: A part does not match the variable.
    """
    if not 0 <= delta.since < delta.count or not delta.parts:
        raise ProtocolError(
            f"a delta of the writes {delta.since + 1} to {delta.count} has {len(delta.parts)} parts"
        )
    absent = spec.aggregation is _FIRST and replica_id > 0
    for part in delta.parts:
        if part.operation not in DENSE and part.operation not in SCATTERS:
            raise ProtocolError(f"a delta cannot contain {part.operation.value}")
        if part.operand or not absent:
            _check_part(spec, part)


def _check_part(spec: VariableSpec, part: DeltaPart) -> None:
    match part.operand:
        case [indices, values] if part.operation in SCATTERS and spec.shape:
            rows = Rows(indices, values)
            check_rows(spec, rows, spec.shape[1:])
            size = spec.shape[0]
            if size is not None:
                _check_range(spec, part.operation, (size, *values.shape[1:]), rows)
        case [value] if part.operation in DENSE and is_value(spec, value):
            pass
        case _:
            raise ProtocolError(f"a part of a delta of variable {spec.name!r} has a wrong operand")


def _check_range(
    spec: VariableSpec, operation: Operation, shape: tuple[int, ...], rows: Rows
) -> None:
    try:
        scatter.check_rows(spec, operation, shape, rows)
    except VarsimError as error:
        raise ProtocolError(f"rows that their replica must refuse: {error}") from error


def is_value(spec: VariableSpec, value: Array) -> bool:
    """Return whether an array can be the value of a variable."""
    return value.dtype == spec.dtype and fits(value.shape, spec.shape)


# ---------------------------------------------------------------- answers


def check_component(spec: VariableSpec, message: Component) -> None:
    """Check a component that answers a fetch.

    Raises:
        ProtocolError: The component does not match the variable.
    """
    if message.version < 0 or not is_value(spec, message.value):
        raise ProtocolError(f"a component of variable {spec.name!r} has a wrong shape or dtype")


def check_report(report: Report) -> None:
    """Check the numbers of a report.

    Raises:
        ProtocolError: A number of reads or writes is negative.
    """
    for _, writes, reads in report.accesses:
        if writes < 0 or reads < 0:
            raise ProtocolError("a report has a negative number of reads or writes")
