"""What an error teaches: the legal ways out, asked of the policy table, with what each one gives.

Nothing here lists what is legal. Other settings are tried on the table, and the values come from
the same arithmetic that the operation itself would use. Runs only when something is refused.
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
from varsim.sync.components import check_shape, describe_shape
from varsim.sync.policies import is_readable
from varsim.sync.policies.cells import Reason
from varsim.sync.policies.legality import check_arithmetic

FEW_BYTES: Final = 1024
"""A larger value is not fetched, and not computed with, to say what a fix would give."""

_SHOWN_ELEMENTS: Final = 6
"""So many elements tell two values apart, and fit on a line."""


def shown(value: Array) -> str:
    """A value on part of a line: all of a small one, or its dtype and shape."""
    if value.size > _SHOWN_ELEMENTS:
        return f"{value.dtype}{describe_shape(value.shape)}"
    return str(value.item()) if value.ndim == 0 else " ".join(str(value.tolist()).split())


def _setting(kind: VariableAggregation | VariableSynchronization) -> str:
    word = "aggregation" if isinstance(kind, VariableAggregation) else "synchronization"
    return f"{word}={kind.name}"


def alternatives(spec: VariableSpec, *, strict: bool = False) -> Iterator[tuple[str, VariableSpec]]:
    """The variable with one setting changed, where that can be created: how to write it, and it.

    What TensorFlow refuses comes last.
    """
    for aggregation in VariableAggregation:
        if aggregation is not spec.aggregation:
            yield from _if_created(
                replace(spec, aggregation=aggregation), aggregation, strict=strict
            )
    for kind in sorted(VariableSynchronization, key=_is_refused_if_strict):
        if kind is not spec.synchronization:
            changed = replace(spec, requested=kind, synchronization=kind)
            yield from _if_created(changed, kind, strict=strict)


def _is_refused_if_strict(kind: VariableSynchronization) -> bool:
    return policies.policy_of(kind).becomes.unless_strict


def created(spec: VariableSpec, *, strict: bool) -> VariableSpec | None:
    """Return the spec with the settings in force; None if a strategy refuses them."""
    try:
        return policies.resolve(spec, strict=strict)
    except VariableError:
        return None


def _if_created(
    spec: VariableSpec,
    kind: VariableAggregation | VariableSynchronization,
    *,
    strict: bool,
) -> Iterator[tuple[str, VariableSpec]]:
    in_force = created(spec, strict=strict)
    if in_force is None:
        return
    if kind in (in_force.synchronization, in_force.aggregation):  # it stays what is asked for
        yield _setting(kind), spec


def _written_alike(spec: VariableSpec, other: VariableSpec) -> bool:
    """Whether replicas change both in the same way, so that components hold the same."""
    context, operation = Context.REPLICA, Operation.ASSIGN
    return policies.cell(spec, context, operation) == policies.cell(other, context, operation)


def _read_outside(spec: VariableSpec, components: Sequence[Array]) -> Array:
    """What a cross-replica read gives, where it is legal."""
    cell = policies.cell(spec, Context.CROSS_REPLICA, Operation.READ)
    return cell.combined(spec, [components[i] for i in cell.needed(spec, len(components))])


def _written(
    spec: VariableSpec,
    context: Context,
    operation: Operation,
    components: Sequence[Array],
    value: Array,
) -> list[Array]:
    """The components after a write of one value, from outside or by every replica."""
    cell = policies.cell(spec, context, operation)
    return cell.written(spec, operation, components, [value] * len(components))


def if_legal(make: Callable[[], Fix]) -> Iterator[Fix]:
    """The fix, unless its value cannot be had: then it is none."""
    try:
        yield make()
    except VarsimError:
        return


# ---------------------------------------------------------------- the policy refuses


_PROBLEMS: Final = {
    "no_aggregation": (
        "cannot be read in cross-replica context: its components may differ, and "
        "aggregation=NONE does not say how to combine them"
    ),
    "adds_to_sum": (
        "cannot be added to in cross-replica context: synchronization=ON_READ with "
        "aggregation=SUM reads the sum of its components, and it is not clear which of them "
        "should change"
    ),
    "local_only": (
        "cannot be read in cross-replica context: with synchronization=NONE each replica keeps "
        "its own value, so there is no single value to read"
    ),
}
"""By the key of a reason, what is wrong."""


def refusal(
    spec: VariableSpec,
    reason: Reason,
    operation: Operation,
    components: Sequence[Array] | None = None,
    value: Array | None = None,
) -> VariableError:
    """The error that a refusing cell stands for.

    Args:
        components: Of all replicas; None if they are not known.
        value: What would be written; None for a read, or if it is not known.
    """
    if value is not None and not _fits(spec, operation, components or (), value):
        components = value = None  # it has another trouble, too
    kind = AggregationError if reason.of_read else OperationError
    problem = _PROBLEMS[reason.key]
    if operation is Operation.READ:
        return kind(spec.name, problem).fixed_by(_of_read(spec, components))
    if reason.of_read:  # D5
        problem = (
            f"{operation.value} in cross-replica context returns the variable to be read, and it "
            f"{problem}"
        )
    return kind(spec.name, problem).fixed_by(_of_write(spec, operation, components, value))


def _fits(
    spec: VariableSpec, operation: Operation, components: Sequence[Array], value: Array
) -> bool:
    try:
        for component in components:
            check_shape(spec, operation, component, value)
    except VarsimError:
        return False
    return True


def _of_read(spec: VariableSpec, components: Sequence[Array] | None) -> Iterator[Fix]:
    """Settings that are read, and ways to look at the components without."""
    for change, other in alternatives(spec):
        if _written_alike(spec, other) and is_readable(other):
            yield from if_legal(partial(reads, change, other, components))
    look, combine = "strategy.experimental_local_results(v)", "strategy.reduce('SUM', v, axis=None)"
    if components is None:
        yield Fix(look, "gives every replica's own value")
        yield Fix(combine, "gives their sum")
        return
    yield Fix(look, f"gives ({_each(components)})", np.stack(components))
    yield from if_legal(partial(_sums, combine, components))


def _sums(change: str, components: Sequence[Array]) -> Fix:
    total = reduce.reduce(components, ReduceOp.SUM)
    return Fix(change, f"gives {shown(total)}", total)


def _each(components: Sequence[Array]) -> str:
    return ", ".join(map(shown, components))


def reads(change: str, spec: VariableSpec, components: Sequence[Array] | None) -> Fix:
    """What a read from outside gives with settings that allow it."""
    if components is None:
        return Fix(change, f"reads {COMBINED[spec.aggregation]} of the replicas' values")
    value = _read_outside(spec, components)
    return Fix(change, f"reads {shown(value)}", value)


COMBINED: Final = {
    VariableAggregation.NONE: "the first",  # of a mirror, whose components are meant to be alike
    VariableAggregation.SUM: "the sum",
    VariableAggregation.MEAN: "the mean",
    VariableAggregation.ONLY_FIRST_REPLICA: "the first",
}
"""What an aggregation makes of values that are not known, in the words of a fix."""


def _of_write(
    spec: VariableSpec,
    operation: Operation,
    components: Sequence[Array] | None,
    value: Array | None,
) -> Iterator[Fix]:
    """Ways of writing it as it is, and settings with which the same operation is legal."""
    x = "x" if value is None else shown(value)
    after = partial(_after, components=components, value=value)
    if not is_readable(spec):
        change = f"v.{operation.value}({x}, read_value=False)"
        yield from if_legal(partial(after, change, spec, operation, look=True))
    elif policies.cell(spec, Context.REPLICA, operation).is_private:
        total = f"v.assign(v.read_value() {_SIGNS[operation]} {x})"
        yield from if_legal(partial(after, total, spec, operation, total=True))
        inside = f"v.{operation.value}({x}) inside strategy.run"
        yield from if_legal(partial(after, inside, spec, operation, context=Context.REPLICA))
    for change, other in alternatives(spec):
        if _written_alike(spec, other) and is_readable(other) and _is_legal(other, operation):
            yield from if_legal(partial(after, change, other, operation))


_SIGNS: Final = {Operation.ASSIGN_ADD: "+", Operation.ASSIGN_SUB: "-"}


def _is_legal(spec: VariableSpec, operation: Operation) -> bool:
    return policies.cell(spec, Context.CROSS_REPLICA, operation).refused is None


def _after(
    change: str,
    spec: VariableSpec,
    operation: Operation,
    *,
    components: Sequence[Array] | None,
    value: Array | None,
    context: Context = Context.CROSS_REPLICA,
    total: bool = False,
    look: bool = False,
) -> Fix:
    """A write, and what it leads to.

    Args:
        total: The new value of the variable is assigned; else the operation itself is done.
        look: The components are looked at afterwards; else the variable is read.
    """
    if components is None or value is None:
        return Fix(change, "writes every component" if look else "is legal, and so is the read")
    check_arithmetic(spec, operation, 1)
    if total:
        value = reduce.apply(operation, _read_outside(spec, components), value)
        operation = Operation.ASSIGN
    after = _written(spec, context, operation, components, value)
    if look:
        return Fix(change, f"the components become ({_each(after)})", np.stack(after))
    read = _read_outside(spec, after)
    return Fix(change, f"reads {shown(read)} then", read)


def of_parts(
    spec: VariableSpec, operation: Operation, parts: Sequence[Array] | None
) -> Iterator[Fix]:
    """How every replica writes its own part of a value that cannot be written from outside."""
    change = f"strategy.run(v.{operation.value}, args=(value,))"
    if operation is not Operation.ASSIGN:
        yield Fix(change, "every replica changes its component by its part")
    elif is_readable(spec):
        yield from if_legal(partial(reads, change, spec, parts))
    else:
        yield Fix(change, "every replica keeps its part")


# ---------------------------------------------------------------- writes in replica context


def warning_of_divergence(
    spec: VariableSpec, operation: Operation, value: Array, num_replicas: int
) -> str:
    """Return the warning of a write that makes the components of a mirrored variable differ."""
    text = (
        f"variable {spec.name!r}: {operation.value} in replica context with "
        f"synchronization={spec.synchronization.name} and aggregation=NONE changes "
        "this replica's copy only; the mirror is broken, and a cross-replica read shows "
        "replica 0's value."
    )
    ways = islice(_of_divergence(spec, operation, value, num_replicas), MAX_FIXES)
    return "\n  - ".join([text, *map(str, ways)])


def _of_divergence(
    spec: VariableSpec, operation: Operation, value: Array, num_replicas: int
) -> Iterator[Fix]:
    """Settings that keep a mirrored variable whole, or that say that it is none."""
    few = value if are_few([value]) else None
    for change, other in alternatives(spec):
        cell = policies.cell(other, Context.REPLICA, operation)
        if cell.combines:
            yield from if_legal(partial(merged, change, other, operation, few, num_replicas))
        elif cell.is_private:
            yield Fix(change, "every replica keeps a value of its own")


def merged(
    change: str, spec: VariableSpec, operation: Operation, value: Array | None, num_replicas: int
) -> Fix:
    """What a write in replica context does, if every replica writes the same."""
    does = DOES[operation]
    if value is None:
        return Fix(change, f"{does} {COMBINED[spec.aggregation]} of the replicas' values")
    agreed = np.array(reduce.aggregate([value] * num_replicas, spec.aggregation))
    if spec.aggregation is VariableAggregation.ONLY_FIRST_REPLICA:
        return Fix(change, f"{does} replica 0's {shown(value)}", agreed)
    return Fix(change, f"{does} {shown(agreed)} if every replica writes {shown(value)}", agreed)


DOES: Final = {
    Operation.ASSIGN: "assigns",
    Operation.ASSIGN_ADD: "adds",
    Operation.ASSIGN_SUB: "subtracts",
}
"""What a write does with a value, in the words of a fix."""


def are_few(values: Iterable[Array]) -> bool:
    """Whether values are small enough to compute with for the sake of an error."""
    return all(value.nbytes <= FEW_BYTES for value in values)
