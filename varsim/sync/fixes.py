"""Find fixes of refused operations: legal changes from the policy table, with their results.

The module has no list of legal changes: it tries other settings in the table. This module and real
operations compute results with the same functions. The functions of this module are called only for
an error or a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Final

import numpy as np

from varsim.errors import (
    MAX_FIXES,
    AggregationError,
    Fix,
    OperationError,
    UnsupportedOperation,
    VariableError,
    VarsimError,
)
from varsim.spec import (
    Array,
    Context,
    Operation,
    ReduceOp,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)
from varsim.sync import policies, reduce
from varsim.sync.components import check_shape
from varsim.sync.policies import is_readable
from varsim.sync.policies.cell import Reason
from varsim.sync.policies.legality import check_arithmetic
from varsim.texts.facts import Fact
from varsim.texts.fixes import (
    EACH_CHANGES,
    EACH_KEEPS,
    ELEMENTS_OF_ALL,
    GIVES_OWN,
    GIVES_SUM,
    IS_LEGAL,
    KEEPS_OWN,
    ROWS_OF_ALL,
    ROWS_OF_OWN,
    ROWS_OF_UNREADABLE,
    WRITES_ALL,
    Agrees,
    AgreesOnRows,
    AssignTotal,
    ChangeSetting,
    Gives,
    GivesComponents,
    LookAtComponents,
    Reads,
    ReduceComponents,
    RunWrite,
    UpdateElements,
    UpdateRows,
    WriteChanges,
    WriteInside,
    WriteSlice,
    WriteUnread,
    WriteValue,
    WriteWhole,
)
from varsim.texts.refusals import REMEDIES, Diverged, Refused

FEW_BYTES: Final = 1024
"""Fixes are computed only with values up to this size. Larger values are not fetched."""


def alternatives(
    spec: VariableSpec, *, strict: bool = False
) -> Iterator[tuple[ChangeSetting, VariableSpec]]:
    """Yield each change of a setting with which the variable can be created, and the new spec.

    Changes that TensorFlow refuses come last.
    """
    for aggregation in VariableAggregation:
        if aggregation is not spec.aggregation:
            yield from _if_created(
                replace(spec, aggregation=aggregation), aggregation, strict=strict
            )
    by_strategy = spec.requested != spec.synchronization
    if by_strategy and policies.policy_of(spec.synchronization).has_one_copy:
        return  # this strategy stores its variables centrally under every synchronization
    for kind in sorted(VariableSynchronization, key=_is_refused_if_strict):
        if kind is not spec.synchronization:
            changed = replace(spec, requested=kind, synchronization=kind)
            yield from _if_created(changed, kind, strict=strict)


def _is_refused_if_strict(kind: VariableSynchronization) -> bool:
    return policies.policy_of(kind).becomes.unless_strict


def created(spec: VariableSpec, *, strict: bool) -> VariableSpec | None:
    """Return the spec with the settings that apply; None if a strategy refuses the settings."""
    try:
        return policies.resolve(spec, strict=strict)
    except VariableError:
        return None


def _if_created(
    spec: VariableSpec,
    kind: VariableAggregation | VariableSynchronization,
    *,
    strict: bool,
) -> Iterator[tuple[ChangeSetting, VariableSpec]]:
    in_force = created(spec, strict=strict)
    if in_force is None:
        return
    if kind in (in_force.synchronization, in_force.aggregation):  # the requested setting stays
        yield ChangeSetting(kind), spec


def _written_alike(spec: VariableSpec, other: VariableSpec) -> bool:
    """Return whether replica writes change the components in the same way under both specs."""
    context, operation = Context.REPLICA, Operation.ASSIGN
    return policies.cell(spec, context, operation) == policies.cell(other, context, operation)


def _read_outside(spec: VariableSpec, components: Sequence[Array]) -> Array:
    """Return the value of a cross-replica read. The read must be legal."""
    cell = policies.cell(spec, Context.CROSS_REPLICA, Operation.READ)
    return cell.combined(spec, [components[i] for i in cell.needed(spec, len(components))])


def _written(
    spec: VariableSpec,
    context: Context,
    operation: Operation,
    components: Sequence[Array],
    value: Array,
) -> list[Array]:
    """Return the components after a write of one value by the program, or by every replica."""
    cell = policies.cell(spec, context, operation)
    return cell.written(spec, operation, components, [value] * len(components))


def if_legal(make: Callable[[], Fix]) -> Iterator[Fix]:
    """Yield the fix, unless the computation of its value raises an error."""
    try:
        yield make()
    except VarsimError:
        return


# ---------------------------------------------------------------- the policy refuses


def refusal(
    spec: VariableSpec,
    reason: Reason,
    operation: Operation,
    components: Sequence[Array] | None = None,
    value: Array | None = None,
) -> VariableError:
    """Return the error of an operation that its policy cell refuses.

    Args:
        components: The components of all replicas; None if they are not known.
        value: The value to write; None for a read, or if the value is not known.
    """
    if value is not None and not _fits(spec, operation, components or (), value):
        components = value = None  # no setting allows this value, so fixes cannot show a result
    kind = AggregationError if reason.of_read else OperationError
    if operation is Operation.READ:
        return kind(spec.name, Refused(reason.key)).fixed_by(_of_read(spec, components))
    # A write that returns the value needs a legal read: difference D5 in docs/semantics.md.
    problem = Refused(reason.key, operation if reason.of_read else None)
    return kind(spec.name, problem).fixed_by(_of_write(spec, operation, components, value))


def _fits(
    spec: VariableSpec, operation: Operation, components: Sequence[Array], value: Array
) -> bool:
    try:
        for component in components:
            check_shape(spec, operation, component.shape, value)
    except VarsimError:
        return False
    return True


def _of_read(spec: VariableSpec, components: Sequence[Array] | None) -> Iterator[Fix]:
    """Yield fixes: settings that make the read legal, and other ways to read the components."""
    for change, other in alternatives(spec):
        if _written_alike(spec, other) and is_readable(other):
            yield from if_legal(partial(reads, change, other, components))
    combine = ReduceComponents(ReduceOp.SUM)
    if components is None:
        yield Fix(LookAtComponents(), GIVES_OWN)
        yield Fix(combine, GIVES_SUM)
        return
    yield Fix(LookAtComponents(), GivesComponents(tuple(components)), np.stack(components))
    yield from if_legal(partial(_sums, combine, components))


def _sums(change: Fact, components: Sequence[Array]) -> Fix:
    total = reduce.reduce(components, ReduceOp.SUM)
    return Fix(change, Gives((total,)), total)


def reads(change: Fact, spec: VariableSpec, components: Sequence[Array] | None) -> Fix:
    """Return a fix: a change of settings, with the value that a cross-replica read then returns."""
    value = None if components is None else _read_outside(spec, components)
    return Fix(change, Reads(spec.aggregation, value), value)


def _of_write(
    spec: VariableSpec,
    operation: Operation,
    components: Sequence[Array] | None,
    value: Array | None,
) -> Iterator[Fix]:
    """Yield fixes: other writes of the variable, and settings that make the operation legal."""
    after = partial(_after, components=components, value=value)
    if not is_readable(spec):
        unread = WriteUnread(operation, value)
        yield from if_legal(partial(after, unread, spec, operation, shows_components=True))
    elif policies.cell(spec, Context.REPLICA, operation).is_private:
        total = AssignTotal(operation, value)
        yield from if_legal(partial(after, total, spec, operation, assigns_total=True))
        inside = WriteInside(operation, value)
        yield from if_legal(partial(after, inside, spec, operation, context=Context.REPLICA))
    for change, other in alternatives(spec):
        if _written_alike(spec, other) and is_readable(other) and _is_legal(other, operation):
            yield from if_legal(partial(after, change, other, operation))


def _is_legal(spec: VariableSpec, operation: Operation) -> bool:
    return policies.cell(spec, Context.CROSS_REPLICA, operation).refused is None


def _after(
    change: Fact,
    spec: VariableSpec,
    operation: Operation,
    *,
    components: Sequence[Array] | None,
    value: Array | None,
    context: Context = Context.CROSS_REPLICA,
    assigns_total: bool = False,
    shows_components: bool = False,
) -> Fix:
    """Return a fix that writes the variable, with the result of the write.

    Args:
        assigns_total: True if the fix assigns the new value of the variable; False if it applies
            the operation.
        shows_components: True to show the components as the result, and False to show the
            variable's value.
    """
    if components is None or value is None:
        return Fix(change, WRITES_ALL if shows_components else IS_LEGAL)
    check_arithmetic(spec, operation, 1)
    if assigns_total:
        value = reduce.apply(operation, _read_outside(spec, components), value)
        operation = Operation.ASSIGN
    after = _written(spec, context, operation, components, value)
    if shows_components:
        return Fix(change, GivesComponents(tuple(after), become=True), np.stack(after))
    read = _read_outside(spec, after)
    return Fix(change, Reads(spec.aggregation, read, after_write=True), read)


def of_parts(
    spec: VariableSpec, operation: Operation, parts: Sequence[Array] | None
) -> Iterator[Fix]:
    """Yield a fix: every replica writes its own component of a per-replica value."""
    change = RunWrite(operation)
    if operation is not Operation.ASSIGN:
        yield Fix(change, EACH_CHANGES)
    elif is_readable(spec):
        yield from if_legal(partial(reads, change, spec, parts))
    else:
        yield Fix(change, EACH_KEEPS)


# ---------------------------------------------------------------- sparse writes


def refusal_of_rows(
    spec: VariableSpec, reason: Reason, context: Context, operation: Operation
) -> UnsupportedOperation:
    """Return the error of a sparse write that its policy cell refuses."""
    error = UnsupportedOperation(spec.name, Refused(reason.key))
    if spec.shape == ():
        return error.fixed_by(_of_scalar(spec, context, operation))
    return error.fixed_by(_of_sparse_write(spec, context, operation))


def _of_scalar(spec: VariableSpec, context: Context, operation: Operation) -> Iterator[Fix]:
    """Yield fixes that are dense writes: a scalar has no rows, under any settings."""
    is_read = context is Context.REPLICA or is_readable(spec)
    for dense in (*filter(None, [_DENSE.get(operation)]), Operation.ASSIGN):
        change = WriteValue(dense) if is_read else WriteUnread(dense, None)
        cell = policies.cell(spec, context, dense)
        if cell.refused is not None or cell.diverges:
            continue
        if cell.combines:
            yield Fix(change, Agrees(dense, spec.aggregation, None))
        else:
            yield Fix(change, KEEPS_OWN if cell.is_private else WRITES_ALL)


def _of_sparse_write(spec: VariableSpec, context: Context, operation: Operation) -> Iterator[Fix]:
    """Yield fixes: other operations with the same settings, and other settings."""
    outside = context is Context.CROSS_REPLICA
    dense = _DENSE.get(operation)
    if dense is not None:
        whole = WriteWhole(dense, is_read=not outside or is_readable(spec))
        yield from _if_rows_are_legal(whole, spec, context, dense)
    else:
        added = Operation.SCATTER_ADD
        yield from _if_rows_are_legal(WriteChanges(), spec, context, added)
        if policies.cell(spec, context, Operation.ASSIGN).is_private:
            yield Fix(WriteSlice(), ROWS_OF_OWN)
    if outside:
        yield Fix(UpdateRows(operation), ROWS_OF_ALL)
    for change, other in alternatives(spec):
        if not outside or (_written_alike(spec, other) and is_readable(other)):
            yield from _if_rows_are_legal(change, other, context, operation)


def refusal_of_elements(spec: VariableSpec, method: str, context: Context) -> UnsupportedOperation:
    """Return the error of `batch_scatter_update` or a `scatter_nd` method of a whole variable."""
    error = UnsupportedOperation(spec.name, f"a distributed variable has no {method}")
    return error.fixed_by(_of_elements(spec, method, context))


def _of_elements(spec: VariableSpec, method: str, context: Context) -> Iterator[Fix]:
    """Yield fixes: operations that write rows or a slice, and writes of each component."""
    if spec.shape == ():
        return
    yield from _if_rows_are_legal(WriteChanges(), spec, context, Operation.SCATTER_ADD)
    cell = policies.cell(spec, context, Operation.ASSIGN)
    if cell.is_private:
        yield Fix(WriteSlice(), ROWS_OF_OWN)
    if context is Context.CROSS_REPLICA:
        yield Fix(UpdateElements(method), ELEMENTS_OF_ALL)
    elif cell.diverges:
        yield Fix(UpdateElements(method), EACH_CHANGES)


_DENSE: Final = {
    Operation.SCATTER_ADD: Operation.ASSIGN_ADD,
    Operation.SCATTER_SUB: Operation.ASSIGN_SUB,
}
"""The dense writes that give the same value as a sparse write, if the other rows are 0."""


def _if_rows_are_legal(
    change: Fact, spec: VariableSpec, context: Context, operation: Operation
) -> Iterator[Fix]:
    """Yield a fix if the operation is legal with this spec and does not make copies diverge."""
    cell = policies.cell(spec, context, operation)
    if cell.refused is not None or cell.diverges or cell.shares:
        return
    if cell.combines:
        yield Fix(change, AgreesOnRows(spec.aggregation))
    elif cell.is_private:
        is_asked = isinstance(change, ChangeSetting) and not is_readable(spec)
        yield Fix(change, ROWS_OF_UNREADABLE if is_asked else ROWS_OF_OWN)
    else:
        yield Fix(change, ROWS_OF_ALL)


# ---------------------------------------------------------------- writes in replica context


def warning_of_divergence(
    spec: VariableSpec, operation: Operation, value: Array | None, num_replicas: int
) -> str:
    """Return the warning about a write that makes the components of a mirrored variable differ.

    Args:
        value: The written value; None for a sparse write.
    """
    ways = islice(_of_replica_write(spec, operation, value, num_replicas), MAX_FIXES)
    return str(Diverged(spec, operation, tuple(ways)))


def refusal_of_replica_write(
    spec: VariableSpec, reason: Reason, operation: Operation, value: Array, num_replicas: int
) -> OperationError:
    """Return the error of a dense write that its policy cell refuses in replica context."""
    remedy = REMEDIES.get(reason.key, "")
    error = OperationError(spec.name, Refused(reason.key), remedy)
    if remedy:
        return error
    return error.fixed_by(_of_replica_write(spec, operation, value, num_replicas))


def _of_replica_write(
    spec: VariableSpec, operation: Operation, value: Array | None, num_replicas: int
) -> Iterator[Fix]:
    """Yield fixes: settings with which replicas can write, and the copies do not diverge."""
    few = value if value is not None and are_few([value]) else None
    for change, other in alternatives(spec):
        cell = policies.cell(other, Context.REPLICA, operation)
        if cell.refused is not None:
            continue
        if cell.combines and value is None:
            yield Fix(change, AgreesOnRows(other.aggregation))
        elif cell.combines:
            yield from if_legal(partial(merged, change, other, operation, few, num_replicas))
        elif cell.is_private:
            yield Fix(change, KEEPS_OWN)


def merged(
    change: Fact, spec: VariableSpec, operation: Operation, value: Array | None, num_replicas: int
) -> Fix:
    """Return a fix with the agreed value of a write, computed as if all replicas write `value`."""
    agreed = None
    if value is not None:
        agreed = np.array(reduce.aggregate([value] * num_replicas, spec.aggregation))
    return Fix(change, Agrees(operation, spec.aggregation, agreed, if_all_write=value), agreed)


def are_few(values: Iterable[Array]) -> bool:
    """Return whether values are small enough for the computation of fixes."""
    return all(value.nbytes <= FEW_BYTES for value in values)
