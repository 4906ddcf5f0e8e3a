"""Reasons and remedies for refused operations on variables, and the warning of divergence."""

from __future__ import annotations

from typing import Final

import numpy as np

from varsim.nearest import misspelt
from varsim.spec import (
    ManualOperation,
    Operation,
    ReduceOp,
    Shape,
    Synchronization,
    VariableAggregation,
    VariableSpec,
)
from varsim.texts.facts import Fact, shape_text
from varsim.value_class import value_class

REASONS: Final[dict[str, str]] = {
    "no_aggregation": (
        "cannot be read in cross-replica context: its components may differ, and "
        "aggregation=NONE does not say how to combine them"
    ),
    "adds_to_sum": (
        "cannot be changed by assign_add or assign_sub in cross-replica context: "
        "with synchronization=ON_READ and aggregation=SUM its value is the sum of its components, "
        "and it is not clear which component should change"
    ),
    "local_only": (
        "cannot be read in cross-replica context: with synchronization=NONE each replica keeps "
        "its own value, so there is no single value to read"
    ),
    "needs_aggregation": (
        "cannot be written in replica context: it has one copy, and aggregation=NONE does not say "
        "how to combine the replicas' values"
    ),
    "overwrites": (
        "cannot be assigned in replica context: under bounded staleness all replicas add to one "
        "copy at their own pace, and an assign would drop what the other replicas have added"
    ),
    "no_rows": "cannot be changed by a sparse write with its synchronization",
    "no_order": (
        "cannot be changed by scatter_update, scatter_min or scatter_max with this aggregation: "
        "the rows of all replicas are joined, and these operations do not combine rows"
    ),
    "keeps_residual": (
        "cannot be changed by scatter_mul or scatter_div: replicas keep residuals of earlier "
        "compressed changes, which are added later, and would have to be multiplied, too"
    ),
    "synced_by_writes": (
        "every write in replica context already gives all its components one value, so there is "
        "nothing to synchronise"
    ),
    "synced_by_policy": (
        "its policy itself decides when the components are exchanged, and would not know of a "
        "manual exchange"
    ),
    "parts_of_a_sum": (
        "with synchronization=ON_READ and aggregation=SUM its components are parts of a sum, so a "
        "cross-replica read would count a synchronised value once per replica"
    ),
    "not_private": (
        "its components should have one value, and one-sided operations are for variables whose "
        "replicas have values of their own"
    ),
}
"""Key of a reason → its text. A policy of another package adds its texts."""


REMEDIES: Final[dict[str, str]] = {
    "overwrites": (
        "Add the difference: v.assign_add(new - v.read_value()). Or assign outside strategy.run, "
        "or in a merge_call, where no replica writes at the same time."
    ),
}
"""Key of a reason → its remedy, which the error shows instead of fixes."""


@value_class
class Refused(Fact):
    """A cell of the policy table refuses an operation."""

    key: str
    result_of: Operation | None = None  # the write whose result would be read

    def __str__(self) -> str:
        if self.result_of is None:
            return REASONS[self.key]
        return (
            f"{self.result_of.value} in cross-replica context returns the value of the variable, "
            f"but the variable {REASONS[self.key]}"
        )


@value_class
class RefusedManually(Fact):
    """A policy refuses a manual operation."""

    key: str
    operation: ManualOperation

    def __str__(self) -> str:
        return f"v.{self.operation.value} is not possible: {REASONS[self.key]}"


@value_class
class SyncGivesOther(Fact):
    """A sync by an op whose result has another dtype than the variable, or no result."""

    op: ReduceOp
    dtype: np.dtype[np.generic]

    def __str__(self) -> str:
        return (
            f"v.sync({self.op.name}) of dtype {self.dtype}: the {self.op.name} of such values does "
            "not have this dtype"
        )


@value_class
class CopyOfOpenShape(Fact):
    """An operation on the copy of a variable whose shape has unknown dimensions."""

    operation: ManualOperation | Operation  # a write by a replica, or a push or a pull
    shape: Shape

    def __str__(self) -> str:
        name = self.operation.value
        is_manual = isinstance(self.operation, ManualOperation)
        which = f"v.{name}" if is_manual else f"{name} in replica context"
        return (
            f"{which} needs a known shape, because the replicas' values are added to one copy, "
            f"and the variable has shape {shape_text(self.shape)}"
        )


@value_class
class CopyIsNotKnown(Fact):
    """The value of a read is the authoritative copy, which the components do not determine."""

    def __str__(self) -> str:
        return "its value is the authoritative copy, which its components do not determine"


@value_class
class BadExchange(Fact):
    """The cell of a policy cannot compute the result of a merge."""

    synchronization: Synchronization
    wrong: str

    def __str__(self) -> str:
        return (
            f"its policy {self.synchronization.name} cannot compute the exchange of the "
            f"components: {self.wrong}"
        )


@value_class
class MeanOfIntegers(Fact):
    """A variable has aggregation=MEAN and a dtype without fractions."""

    dtype: np.dtype[np.generic]

    def __str__(self) -> str:
        return f"aggregation=MEAN of dtype {self.dtype}: a mean of integers is not an integer"


@value_class
class NoArithmetic(Fact):
    """A program applies assign_add or assign_sub to a bool."""

    operation: Operation

    def __str__(self) -> str:
        return f"{self.operation.value} of dtype bool: bools cannot be added or subtracted"


@value_class
class SumOfBools(Fact):
    """A variable of bools has aggregation=SUM and several replicas."""

    def __str__(self) -> str:
        return "aggregation=SUM of dtype bool over several replicas: bools have no sum"


@value_class
class RefusedIfStrict(Fact):
    """A synchronization that a strict strategy does not support."""

    synchronization: Synchronization

    def __str__(self) -> str:
        return (
            f"synchronization={self.synchronization.name} is not supported under a strict strategy "
            "(nor by TensorFlow)"
        )


@value_class
class AggregationDoesNotFit(Fact):
    """An aggregation that a policy cannot have."""

    aggregation: VariableAggregation
    synchronization: Synchronization
    possible: tuple[VariableAggregation, ...]

    def __str__(self) -> str:
        return (
            f"aggregation={self.aggregation.name} does not fit synchronization "
            f"{self.synchronization.name}: it needs {', '.join(one.name for one in self.possible)}"
        )


@value_class
class NotCompressed(Fact):
    """A policy that cannot be the inner policy of `Compressed`."""

    policy: str

    def __str__(self) -> str:
        return (
            f"policy {self.policy!r} cannot be compressed: {why_not_compressed(self.policy)}. "
            "Write tf.Compressed(inner, by), where inner is ON_WRITE or LocalSGD(k); for example "
            'tf.Compressed("on_write", by="fp16") or tf.Compressed(tf.LocalSGD(8), by="one_bit")'
        )


def why_not_compressed(policy: str) -> str:
    """Return why a policy, given by its name, cannot be the inner policy of `Compressed`."""
    keyword, _, parameters = policy.partition(":")
    if keyword == "local_sgd" and parameters:
        return f"the number of writes k of LocalSGD(k) is {parameters!r}"
    near = misspelt(keyword, ("on_write", "local_sgd"))
    return _NOT_COMPRESSED.get(keyword, f"varsim compresses only ON_WRITE and LocalSGD{near}")


_NOT_COMPRESSED: Final = {
    "on_read": "its writes stay local, and a read needs the exact components",
    "none": "it exchanges nothing",
    "central": "one copy gets the replicas' exact values",
    "bounded_staleness": "replicas add to one copy, and exchange no changes",
    "compressed": "it is compressed already",
    "local_sgd": "the number of writes k of LocalSGD(k) is missing",
}
"""Keyword of a policy → the reason why it cannot be the inner policy of `Compressed`."""


@value_class
class NotCompressible(Fact):
    """A dtype whose values cannot be compressed."""

    dtype: np.dtype[np.generic]

    def __str__(self) -> str:
        return (
            f"values of dtype {self.dtype} cannot be compressed: the compressors approximate "
            "float32 and float64 numbers"
        )


@value_class
class CompressedOpenShape(Fact):
    """A compressed variable whose shape has unknown dimensions."""

    shape: Shape

    def __str__(self) -> str:
        return (
            f"a compressed variable needs a known shape, because residuals are added to later "
            f"changes, and the variable has shape {shape_text(self.shape)}"
        )


@value_class
class NeedsAllInEachCall(Fact):
    """A call in which some replicas have joined, and a variable whose policy counts writes."""

    synchronization: Synchronization
    joins: int | None = None  # the replica that joins during the call; None if before it
    joins_at: str = ""

    def __str__(self) -> str:
        why = (
            "some replicas have joined and take no part in this call (uneven: join)"
            if self.joins is None
            else f"replica {self.joins} joins at {self.joins_at or 'an unknown location'}"
        )
        return (
            f"synchronization={self.synchronization.name} needs the same number of writes on every "
            f"replica, but {why}"
        )


@value_class
class ShapesDiffer(Fact):
    """A write of a value with another shape."""

    operation: Operation
    given: Shape
    wanted: Shape

    def __str__(self) -> str:
        return (
            f"{self.operation.value} of a value of shape {shape_text(self.given)} to a variable of "
            f"shape {shape_text(self.wanted)}: shapes must be equal"
        )


@value_class
class PerReplicaFromOutside(Fact):
    """A program assigns a per-replica value in cross-replica context, where one value is needed."""

    spec: VariableSpec
    kind: str  # the class of the value
    location: str

    def __str__(self) -> str:
        synchronization = self.spec.synchronization.name
        article = "an" if synchronization[0] in "AEIOaeio" else "a"
        return (
            f"variable {self.spec.name!r} at {self.location}: a {self.kind} cannot be assigned to "
            f"{article} {synchronization} variable in cross-replica context; assign in "
            "strategy.run, where every replica writes its own value"
        )


USE_FLOATS: Final = "Use a float dtype; or use aggregation=SUM, and divide the value that you read."
USE_INTEGERS: Final = "Use assign, or an integer dtype."
COUNT_INSTEAD: Final = "Use an integer dtype for a count, or ONLY_FIRST_REPLICA."
NOT_STRICT: Final = "Use ON_READ, or a strategy without strict=True."
USE_LARGE_FLOATS: Final = "Use dtype float32 or float64, or the policy without Compressed."
ALL_IN_EACH_CALL: Final = "Use ON_WRITE or ON_READ for this variable, or uneven: drop or pad."
ALL_IN_EACH_STEP: Final = (
    "Use ON_WRITE or ON_READ for this variable, or let every replica do equally many steps without "
    "join."
)
KNOWN_SHAPE: Final = "Give the variable a shape without unknown dimensions."
RESHAPE: Final = "Nothing is broadcast; reshape the value, or use numpy.broadcast_to."
"""Remedies, for errors without fixes."""


@value_class
class Diverged(Fact):
    """A write in replica context makes the components of a mirrored variable differ."""

    spec: VariableSpec
    operation: Operation
    fixes: tuple[object, ...]

    def __str__(self) -> str:
        spec = self.spec
        text = (
            f"variable {spec.name!r}: {self.operation.value} in replica context with "
            f"synchronization={spec.synchronization.name} and aggregation={spec.aggregation.name} "
            "changes this replica's component only: the components diverge, and a cross-replica "
            "read shows replica 0's value."
        )
        return "\n  - ".join([text, *map(str, self.fixes)])
