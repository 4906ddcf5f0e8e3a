"""The policy's cells in words: the one table of sentences about what an operation does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never

from varsim.spec import Context, Operation, VariableAggregation, VariableSpec
from varsim.sync import policy

AGGREGATIONS: Final = {
    VariableAggregation.NONE: "there is no way to combine the replicas' values",
    VariableAggregation.SUM: "the sum of the replicas' values",
    VariableAggregation.MEAN: "the mean of the replicas' values",
    VariableAggregation.ONLY_FIRST_REPLICA: "replica 0's value",
}
"""What an aggregation makes of the values of all replicas."""


def in_brief(cell: policy.Policy) -> str:
    """What a cell of the table does, in a few words."""
    match cell:
        case policy.Local(parts=True):
            return "own component only: the mirror parts (warned)"
        case policy.Local():
            return "own component"
        case policy.Merge():
            return "all meet; every component gets the aggregate"
        case policy.Defer():
            return "kept until somebody reads; then every component gets the aggregate"
        case policy.Broadcast(shares=True):
            return "every component, its share"
        case policy.Broadcast(per_component=True):
            return "every component; a PerReplica component by component"
        case policy.Broadcast():
            return "every component"
        case policy.Gather():
            return "the aggregate of the components"
        case policy.Mirror():
            return "the mirror; component 0 if it has parted"
        case policy.Refuse():
            return "refused"
        case _:
            assert_never(cell)


def replicas_write(cell: policy.Policy) -> str:
    """What becomes of a write in replica context, in as few words as a narrow column has room."""
    match cell:
        case policy.Local(parts=True):
            return "mirror parts"
        case policy.Local():
            return "stays local"
        case policy.Merge():
            return "all meet"
        case policy.Defer():
            return "kept till a read"
        case _:
            raise AssertionError(f"{cell} is no policy of a write in replica context")


# ---------------------------------------------------------------- sentences


def sentence(spec: VariableSpec, context: Context, operation: Operation) -> str:
    """What an operation does, and to whom that takes a message."""
    cell = policy.policy(spec, context, operation)
    match cell:
        case policy.Local():
            return _local(cell, spec, context, operation)
        case policy.Merge():
            return (
                "All replicas meet: what they write is combined, and every component gets the "
                "result. A message from each replica, and one back to it."
            )
        case policy.Defer():
            return (
                "Every replica keeps what it writes until somebody is about to read. What all "
                "have written since the last time is combined then, once, and every component "
                "gets the result. No message: the read pays."
            )
        case policy.Broadcast():
            return _broadcast(cell) + (_BEFORE_IT if policy.defers(spec) else "")
        case policy.Gather():
            return (
                "The components are fetched and combined; none of them changes. A question and an "
                "answer for each component that counts and was written since the last read."
            )
        case policy.Mirror():
            pays = " Deferred writes are exchanged first." if policy.defers(spec) else ""
            return (
                f"The one value that all components hold, which needs no message.{pays} If they "
                "have parted, component 0: a question and an answer if it was written since the "
                "last read."
            )
        case policy.Refuse():
            return "Refused; nothing changes. The error says what to do; it stands below."
        case _:
            assert_never(cell)


def _local(cell: policy.Local, spec: VariableSpec, context: Context, operation: Operation) -> str:
    reads = operation is Operation.READ
    if context is Context.UPDATE:
        if reads and policy.defers(spec):
            return "The component at hand. Deferred writes are exchanged first."
        if reads:
            return (
                "The component at hand. A question and an answer for each component that was "
                "written since the last read."
            )
        return (
            "The component at hand, whatever the settings: nothing is aggregated. What the "
            "function wrote leaves after its last call, in a message to each replica."
        )
    if reads:
        pays = (
            " What it has written since the last exchange is exchanged first, with all others': a "
            "message from each replica, and one back to it."
        )
        return "This replica's own component." + (pays if policy.defers(spec) else " No message.")
    if cell.parts:
        return (
            "This replica's component only: the others do not follow, and the mirror parts. No "
            "message."
        )
    return "This replica's component only, as is meant. No message."


_BEFORE_IT: Final = (
    " What replicas have written and nobody has read is exchanged before it; an assign of one "
    "value drops it instead."
)


def _broadcast(cell: policy.Broadcast) -> str:
    if cell.shares:
        return (
            "Every component gets its share, the value divided by the number of replicas, so that "
            "the sum is the value again. A message to each replica."
        )
    if cell.per_component:
        return (
            "The same operation with the same value on every component, and nothing is "
            "aggregated; of a per-replica value, each component gets its own. A message to each "
            "replica."
        )
    return (
        "The same operation with the same value on every component. A message to each replica. A "
        "per-replica value is refused: every replica can write its part in strategy.run."
    )


# ---------------------------------------------------------------- TensorFlow


@dataclass(frozen=True, slots=True)
class Difference:
    """Where varsim differs from TensorFlow on purpose."""

    title: str  # as docs/semantics.md has it
    tensorflow: str


DIFFERENCES: Final = {
    "D1": Difference(
        "NONE works",
        "TensorFlow refuses such a variable when it is created under a strategy.",
    ),
    "D2": Difference(
        "equal objects are contributions too",
        "Where all replicas give the same Python object, TensorFlow refuses a SUM, and takes it "
        "for one value otherwise.",
    ),
    "D3": Difference(
        "different deeds do not meet",
        "TensorFlow pairs the replicas by call order alone, and mixes their values.",
    ),
    "D4": Difference(
        "on all replicas, or on none",
        "In TensorFlow a write that fails half-way leaves some components changed.",
    ),
    "D5": Difference(
        "ON_READ without aggregation",
        "TensorFlow changes the components, and raises then, because it cannot read the result.",
    ),
    "D7": Difference(
        "exact in the variable's dtype",
        "In TensorFlow a Python number passes through float32 on its way to the shares.",
    ),
    "D8": Difference(
        "one order of summation",
        "TensorFlow's multi-worker strategy adds in the order of a ring, and its tf.function "
        "multiplies by 1/N for a mean: equal within rounding.",
    ),
    "D9": Difference(
        "a per-replica value has N components",
        "TensorFlow cuts one that is too long, and applies half of one that is too short.",
    ),
    "D10": Difference(
        "a parted mirror reads as component 0",
        "TensorFlow reads the component of the current device, which is 0 without a device scope.",
    ),
    "D11": Difference(
        "ONLY_FIRST_REPLICA crosses processes",
        "On TensorFlow's multi-worker strategy every process keeps its own first replica's value.",
    ),
    "D12": Difference(
        "no writing through a slice",
        "In TensorFlow v[0:1].assign on a replica changes its component past the aggregation.",
    ),
}
"""By the number that the difference has in docs/semantics.md."""


def differs_by(spec: VariableSpec, context: Context, operation: Operation) -> tuple[str, ...]:
    """The numbers of the differences that concern one operation, beside those of the settings."""
    order = {
        VariableAggregation.NONE: (),
        VariableAggregation.SUM: ("D8",),
        VariableAggregation.MEAN: ("D8",),
        VariableAggregation.ONLY_FIRST_REPLICA: ("D11",),
    }[spec.aggregation]
    cell = policy.policy(spec, context, operation)
    match cell:
        case policy.Local():
            alone = context is Context.UPDATE and operation is not Operation.READ
            return ("D4",) if alone else ()
        case policy.Merge() | policy.Defer():
            return ("D2", "D3", *order, "D12")
        case policy.Broadcast(shares=True):
            return ("D7",)
        case policy.Broadcast(per_component=True):
            return ("D4", "D9")
        case policy.Broadcast():
            read = policy.policy(spec, Context.CROSS_REPLICA, Operation.READ)
            return ("D5",) if isinstance(read, policy.Refuse) else ()
        case policy.Gather():
            return tuple(number for number in order if number in _OF_READS)
        case policy.Mirror():
            return ("D10",)
        case policy.Refuse():
            return ()
        case _:
            assert_never(cell)


_OF_READS: Final = frozenset({"D8"})
"""Those of an aggregation's differences that concern reads too."""
