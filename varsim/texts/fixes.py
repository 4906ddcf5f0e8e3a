"""Fixes: changes of a program, and their results."""

from __future__ import annotations

from typing import Final

import numpy as np

from varsim.spec import (
    Array,
    Operation,
    ReduceOp,
    Synchronization,
    VariableAggregation,
)
from varsim.texts.facts import Fact, shown
from varsim.value_class import value_class

COMBINED: Final = {
    VariableAggregation.NONE: "the first",  # of a mirror, whose components should be equal
    VariableAggregation.SUM: "the sum",
    VariableAggregation.MEAN: "the mean",
    VariableAggregation.ONLY_FIRST_REPLICA: "the first",
}
"""The result of an aggregation of unknown values."""

DOES: Final = {
    Operation.ASSIGN: "assigns",
    Operation.ASSIGN_ADD: "adds",
    Operation.ASSIGN_SUB: "subtracts",
}
"""The effect of a write with a value."""

_SIGNS: Final = {Operation.ASSIGN_ADD: "+", Operation.ASSIGN_SUB: "-"}


def _operand(value: Array | None) -> str:
    return "x" if value is None else shown(value)


# ---------------------------------------------------------------- changes


@value_class
class ChangeSetting(Fact):
    """Create the variable with another setting."""

    setting: VariableAggregation | Synchronization

    def __str__(self) -> str:
        is_aggregation = isinstance(self.setting, VariableAggregation)
        return f"{'aggregation' if is_aggregation else 'synchronization'}={self.setting.name}"


@value_class
class ChangeDtype(Fact):
    """Create the variable with another dtype."""

    dtype: np.dtype[np.generic]
    of_variable: bool = False

    def __str__(self) -> str:
        return f"dtype={self.dtype.name}{' of the variable' if self.of_variable else ''}"


@value_class(eq=False)
class WriteUnread(Fact):
    """Write in cross-replica context, and do not read the result."""

    operation: Operation
    value: Array | None

    def __str__(self) -> str:
        return f"v.{self.operation.value}({_operand(self.value)}, read_value=False)"


@value_class(eq=False)
class AssignTotal(Fact):
    """Assign the new value of the variable instead of an add."""

    operation: Operation
    value: Array | None

    def __str__(self) -> str:
        return f"v.assign(v.read_value() {_SIGNS[self.operation]} {_operand(self.value)})"


@value_class(eq=False)
class WriteInside(Fact):
    """Write in replica context."""

    operation: Operation
    value: Array | None

    def __str__(self) -> str:
        return f"v.{self.operation.value}({_operand(self.value)}) inside strategy.run"


@value_class
class RunWrite(Fact):
    """Let every replica write its own component of a per-replica value."""

    operation: Operation

    def __str__(self) -> str:
        return f"strategy.run(v.{self.operation.value}, args=(value,))"


@value_class
class WriteValue(Fact):
    """Write the whole value."""

    operation: Operation

    def __str__(self) -> str:
        return f"v.{self.operation.value}(value)"


@value_class
class WriteWhole(Fact):
    """Write rows by a dense write, in which the other rows are 0."""

    operation: Operation
    is_read: bool  # False if the write must not read its result

    def __str__(self) -> str:
        rows = "tf.IndexedSlices(values, indices, dense_shape=v.shape)"
        return f"v.{self.operation.value}({rows}{'' if self.is_read else ', read_value=False'})"


@value_class
class WriteChanges(Fact):
    """Add to rows the differences between their new and their old values."""

    def __str__(self) -> str:
        return "v.scatter_add(tf.IndexedSlices(changes, indices))"


@value_class
class WriteSlice(Fact):
    """Assign one row of a replica's own component."""

    def __str__(self) -> str:
        return "v[index].assign(row)"


@value_class
class UpdateRows(Fact):
    """Write rows of each component."""

    operation: Operation

    def __str__(self) -> str:
        update = f"lambda component, rows: component.{self.operation.value}(rows)"
        return f"strategy.extended.update(v, {update}, args=(rows,))"


@value_class
class UpdateElements(Fact):
    """Write elements of each component."""

    method: str

    def __str__(self) -> str:
        names = "rows" if self.method == "batch_scatter_update" else "indices, updates"
        update = f"lambda component, {names}: component.{self.method}({names})"
        args = f"({names})" if "," in names else f"({names},)"
        return f"strategy.extended.update(v, {update}, args={args})"


@value_class
class WriteAlike(Fact):
    """Write by the same operation on every replica."""

    operation: Operation

    def __str__(self) -> str:
        return f"v.{self.operation.value} on every replica"


@value_class
class CombineAlike(Fact):
    """Use the same arguments of a collective on every replica, with one dtype if dtypes differ."""

    method: str
    arguments: tuple[str, ...]
    dtypes: tuple[str, ...]
    of_group: bool = False  # whether only the members of a process group take part

    def __str__(self) -> str:
        cast = f" of {', '.join(self.dtypes)}" if self.dtypes else ""
        where = "on every member" if self.of_group else "on every replica"
        return f"{self.method}({', '.join(self.arguments)}){cast} {where}"


@value_class
class LookAtComponents(Fact):
    """Look at the components without combining them."""

    def __str__(self) -> str:
        return "strategy.experimental_local_results(v)"


@value_class
class ReduceComponents(Fact):
    """Combine the components explicitly."""

    op: ReduceOp

    def __str__(self) -> str:
        return f"strategy.reduce({self.op.name!r}, v, axis=None)"


# ---------------------------------------------------------------- results


@value_class(eq=False)
class Reads(Fact):
    """The value of a cross-replica read."""

    aggregation: VariableAggregation
    value: Array | None  # None if the value is not known
    after_write: bool = False

    def __str__(self) -> str:
        if self.value is None:
            return f"reads {COMBINED[self.aggregation]} of the replicas' values"
        return f"{'then ' if self.after_write else ''}reads {shown(self.value)}"


@value_class(eq=False)
class Agrees(Fact):
    """The effect on all components of a write by every replica.

    `if_all_write` is the value of one replica, assumed for all replicas.
    """

    operation: Operation
    aggregation: VariableAggregation
    value: Array | None  # the aggregate; None if it is not known
    if_all_write: Array | None = None

    def __str__(self) -> str:
        does = DOES[self.operation]
        if self.value is None:
            return f"{does} {COMBINED[self.aggregation]} of the replicas' values"
        if self.aggregation is VariableAggregation.ONLY_FIRST_REPLICA:
            return f"{does} replica 0's {shown(self.value)}"
        same = self.if_all_write
        return f"{does} {shown(self.value)}" + (
            "" if same is None else f" if every replica writes {shown(same)}"
        )


_ROWS: Final = {
    VariableAggregation.SUM: "the rows of all replicas, in replica order",
    VariableAggregation.MEAN: "the rows of all replicas, divided by the number of replicas",
    VariableAggregation.ONLY_FIRST_REPLICA: "replica 0's rows",
}


@value_class
class AgreesOnRows(Fact):
    """The effect on all components of a sparse write by every replica."""

    aggregation: VariableAggregation

    def __str__(self) -> str:
        return f"every component gets {_ROWS[self.aggregation]}"


@value_class(eq=False)
class GivesComponents(Fact):
    """The values of all components, now or after a change."""

    values: tuple[Array, ...]
    become: bool = False

    def __str__(self) -> str:
        each = ", ".join(map(shown, self.values))
        return f"the components become ({each})" if self.become else f"gives ({each})"


@value_class(eq=False)
class Gives(Fact):
    """The value of an expression."""

    values: tuple[Array, ...]

    def __str__(self) -> str:
        return f"gives {', '.join(map(shown, self.values))}"


@value_class(eq=False)
class Does(Fact):
    """The effect of a write whose value is not aggregated."""

    operation: Operation
    value: Array

    def __str__(self) -> str:
        return f"{DOES[self.operation]} {shown(self.value)}"


@value_class
class Says(Fact):
    """A fixed text."""

    text: str

    def __str__(self) -> str:
        return self.text


KEEPS_OWN: Final = Says("every replica keeps its own value")
ROWS_OF_OWN: Final = Says("changes rows of this replica's own component")
ROWS_OF_UNREADABLE: Final = Says(
    "changes rows of this replica's own component, but a cross-replica read is then refused"
)
ROWS_OF_ALL: Final = Says("changes rows of every component")
ELEMENTS_OF_ALL: Final = Says("changes elements of every component")
WRITES_ALL: Final = Says("writes every component")
MAY_BE_USED: Final = Says("allows the operation")
IS_LEGAL: Final = Says("is legal, and the read is legal too")
EACH_CHANGES: Final = Says("every replica changes its component by its own value")
EACH_KEEPS: Final = Says("every replica keeps its component of the value")
EACH_WRITES: Final = Says(
    "each replica writes independently; a cross-replica read combines the values"
)
GIVES_OWN_PARTS: Final = Says("gives every replica its own part")
GIVES_OWN: Final = Says("gives every replica's own value")
GIVES_SUM: Final = Says("gives the sum of the replicas' values")
