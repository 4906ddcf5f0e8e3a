"""Describe each operation for `varsim explain`, and the differences from TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from varsim.spec import Context, Operation, VariableAggregation, VariableSpec
from varsim.sync import policies
from varsim.sync.policies.cell import Cell

AGGREGATIONS: Final = {
    VariableAggregation.NONE: "the replicas' values cannot be combined",
    VariableAggregation.SUM: "the replicas' values are combined into their sum",
    VariableAggregation.MEAN: "the replicas' values are combined into their mean",
    VariableAggregation.ONLY_FIRST_REPLICA: "of the replicas' values, replica 0's is used",
}
"""What an aggregation does with the replicas' values."""


def in_brief(cell: Cell, *, sparse: bool = False) -> str:
    """Describe the effect of a cell of the table in a few words, for dense or sparse writes."""
    text = cell.text
    return (sparse and text.rows_brief) or text.brief


def replicas_write(cell: Cell) -> str:
    """Describe the effect of a write in replica context, for a narrow column."""
    return cell.text.narrow


def sentence(spec: VariableSpec, context: Context, operation: Operation) -> str:
    """Describe the effect of an operation, and the messages that it sends."""
    text = policies.cell(spec, context, operation).text
    plain, deferred = text.write, text.deferred_write
    if operation is Operation.READ:
        plain, deferred = text.read, text.deferred_read
    return (policies.defers(spec) and deferred) or plain


# ---------------------------------------------------------------- TensorFlow


@dataclass(frozen=True, slots=True)
class Difference:
    """An intended difference from TensorFlow."""

    title: str  # the title of the difference in docs/semantics.md
    tensorflow: str  # what TensorFlow does, in sentences


DIFFERENCES: Final = {
    "D1": Difference(
        "NONE works",
        "TensorFlow refuses such a variable when it is created under a strategy.",
    ),
    "D2": Difference(
        "the same object from all replicas is aggregated like any other value",
        "If all replicas give the same Python object, TensorFlow refuses a SUM. With another "
        "aggregation, TensorFlow returns this object as the result.",
    ),
    "D3": Difference(
        "different operations are not combined",
        "TensorFlow pairs the replicas' operations by their order alone, and combines the values "
        "of different operations.",
    ),
    "D4": Difference(
        "on all replicas, or on none",
        "In TensorFlow a write that fails half-way leaves some components changed.",
    ),
    "D5": Difference(
        "ON_READ without aggregation",
        "TensorFlow changes the components, and then raises an error, because it cannot combine "
        "the components for the result.",
    ),
    "D7": Difference(
        "exact in the variable's dtype",
        "TensorFlow converts a Python number to float32 before it computes the shares.",
    ),
    "D8": Difference(
        "one order of summation",
        "TensorFlow's multi-worker strategy adds in the order of a ring. Inside tf.function, "
        "TensorFlow multiplies by 1/N for a mean. The results are equal within rounding.",
    ),
    "D9": Difference(
        "a per-replica value has N components",
        "TensorFlow ignores the values beyond N. With fewer than N values, TensorFlow writes "
        "only some components.",
    ),
    "D10": Difference(
        "a read of diverged components returns component 0",
        "TensorFlow reads the component of the current device. Without a device scope this is "
        "component 0.",
    ),
    "D11": Difference(
        "ONLY_FIRST_REPLICA gives all processes the value of replica 0",
        "In TensorFlow's multi-worker strategy, every process keeps the value of the first of its "
        "own replicas.",
    ),
    "D12": Difference(
        "no writing through a slice",
        "In TensorFlow, v[0:1].assign on a replica changes the replica's component without the "
        "aggregation.",
    ),
}
"""The differences, by their number in docs/semantics.md."""


def differs_by(spec: VariableSpec, context: Context, operation: Operation) -> tuple[str, ...]:
    """Return the numbers of the differences that concern one operation."""
    cell = policies.cell(spec, context, operation)
    text = cell.text
    numbers = text.read_differences if operation is Operation.READ else text.differences
    if cell.combines:
        numbers += _OF_AGGREGATION[spec.aggregation]
    elif cell.gathers:
        numbers += tuple(n for n in _OF_AGGREGATION[spec.aggregation] if n in _OF_READS)
    elif cell.reads_back and not policies.is_readable(spec):
        numbers += ("D5",)
    return numbers


_OF_AGGREGATION: Final = {
    VariableAggregation.NONE: (),
    VariableAggregation.SUM: ("D8",),
    VariableAggregation.MEAN: ("D8",),
    VariableAggregation.ONLY_FIRST_REPLICA: ("D11",),
}
_OF_READS: Final = frozenset({"D8"})
"""The differences of an aggregation that also concern reads."""
