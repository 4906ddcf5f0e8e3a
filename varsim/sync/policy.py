"""The table: what an operation on a variable does, by synchronization, context and aggregation.

This page is the heart of varsim. It says what `docs/semantics.md` says in words; the golden cases
in `tests/golden` test it against TensorFlow cell by cell. Nothing else asks for a mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from varsim.errors import AggregationError, OperationError, SynchronizationError
from varsim.spec import (
    Context,
    Operation,
    Shape,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)


@dataclass(frozen=True, slots=True)
class Local:
    """Only this replica's component; no message.

    With `parts`, the other components of a mirrored variable do not follow, and it diverges.
    """

    parts: bool = False


@dataclass(frozen=True, slots=True)
class Merge:
    """All replicas meet; their values are aggregated, and every component gets the result."""


@dataclass(frozen=True, slots=True)
class Defer:
    """As `Merge`, but the replica keeps its value until somebody is about to read the variable."""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """The same operation on every component, by the program.

    With `shares`, each component gets its share: the value divided by the number of replicas.
    With `per_component`, a PerReplica value gives each component its own.
    With `reads_back`, the operation is refused where the variable cannot be read.
    """

    shares: bool = False
    per_component: bool = False
    reads_back: bool = False


@dataclass(frozen=True, slots=True)
class Gather:
    """The components are fetched and aggregated."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """The one value that all components hold; component 0 if they have diverged."""


class Reason(Enum):
    """Why a cell refuses: the sentence that the error carries. `fixes` says what to do."""

    NO_AGGREGATION = (
        "cannot be read in cross-replica context: its components may differ, and "
        "aggregation=NONE says no way to combine them"
    )
    ADDS_TO_SUM = (
        "cannot be added to in cross-replica context: synchronization=ON_READ with "
        "aggregation=SUM reads the sum of its components, and it is not clear which of them "
        "should change"
    )
    LOCAL_ONLY = (
        "cannot be read in cross-replica context: with synchronization=NONE every replica has "
        "a value of its own, and none of them is the variable's"
    )


@dataclass(frozen=True, slots=True)
class Refuse:
    """An error, before anything changes."""

    reason: Reason


Policy = Local | Merge | Defer | Broadcast | Gather | Mirror | Refuse
Cell = Policy | dict[VariableAggregation, Policy]

_AUTO, _NONE_SYNC, _ON_WRITE, _ON_READ = VariableSynchronization
_NONE, _SUM, _MEAN, _FIRST = VariableAggregation
_REPLICA, _CROSS, _UPDATE = Context
_ASSIGN, _ADD, _SUB, _READ = (
    Operation.ASSIGN,
    Operation.ASSIGN_ADD,
    Operation.ASSIGN_SUB,
    Operation.READ,
)

_MERGE: Cell = {_NONE: Local(parts=True), _SUM: Merge(), _MEAN: Merge(), _FIRST: Merge()}
_DEFER: Cell = {_NONE: Local(parts=True), _SUM: Defer(), _MEAN: Defer(), _FIRST: Defer()}
_MIRRORED = Broadcast(per_component=True)
_ALL = Broadcast(reads_back=True)
_TO_ALL: Cell = {_NONE: _ALL, _SUM: Refuse(Reason.ADDS_TO_SUM), _MEAN: _ALL, _FIRST: _ALL}

TABLE: dict[tuple[VariableSynchronization, Context, Operation], Cell] = {
    # ON_WRITE: one value, agreed on at every write. Inside merge_call is cross-replica context.
    (_ON_WRITE, _REPLICA, _READ): Local(),
    (_ON_WRITE, _REPLICA, _ASSIGN): _MERGE,
    (_ON_WRITE, _REPLICA, _ADD): _MERGE,
    (_ON_WRITE, _REPLICA, _SUB): _MERGE,
    (_ON_WRITE, _CROSS, _READ): Mirror(),
    (_ON_WRITE, _CROSS, _ASSIGN): _MIRRORED,
    (_ON_WRITE, _CROSS, _ADD): _MIRRORED,
    (_ON_WRITE, _CROSS, _SUB): _MIRRORED,
    # AUTO, in force only where a strategy says auto="adaptive": ON_WRITE's values, exchanged late.
    (_AUTO, _REPLICA, _READ): Local(),
    (_AUTO, _REPLICA, _ASSIGN): _DEFER,
    (_AUTO, _REPLICA, _ADD): _DEFER,
    (_AUTO, _REPLICA, _SUB): _DEFER,
    (_AUTO, _CROSS, _READ): Mirror(),
    (_AUTO, _CROSS, _ASSIGN): _MIRRORED,
    (_AUTO, _CROSS, _ADD): _MIRRORED,
    (_AUTO, _CROSS, _SUB): _MIRRORED,
    # ON_READ: every replica its own value, combined when somebody outside reads.
    (_ON_READ, _REPLICA, _READ): Local(),
    (_ON_READ, _REPLICA, _ASSIGN): Local(),
    (_ON_READ, _REPLICA, _ADD): Local(),
    (_ON_READ, _REPLICA, _SUB): Local(),
    (_ON_READ, _CROSS, _READ): {
        _NONE: Refuse(Reason.NO_AGGREGATION),
        _SUM: Gather(),
        _MEAN: Gather(),
        _FIRST: Gather(),
    },
    (_ON_READ, _CROSS, _ASSIGN): {
        _NONE: _ALL,
        _SUM: Broadcast(shares=True, reads_back=True),
        _MEAN: _ALL,
        _FIRST: _ALL,
    },
    (_ON_READ, _CROSS, _ADD): _TO_ALL,
    (_ON_READ, _CROSS, _SUB): _TO_ALL,
    # NONE: every replica its own value, which never travels by itself (TensorFlow refuses it: D1).
    (_NONE_SYNC, _REPLICA, _READ): Local(),
    (_NONE_SYNC, _REPLICA, _ASSIGN): Local(),
    (_NONE_SYNC, _REPLICA, _ADD): Local(),
    (_NONE_SYNC, _REPLICA, _SUB): Local(),
    (_NONE_SYNC, _CROSS, _READ): Refuse(Reason.LOCAL_ONLY),
    (_NONE_SYNC, _CROSS, _ASSIGN): _MIRRORED,
    (_NONE_SYNC, _CROSS, _ADD): _MIRRORED,
    (_NONE_SYNC, _CROSS, _SUB): _MIRRORED,
    # Inside strategy.extended.update a variable is the component at hand, whatever its settings.
    **{
        (synchronization, _UPDATE, operation): Local()
        for synchronization in (_ON_WRITE, _AUTO, _ON_READ, _NONE_SYNC)
        for operation in (_READ, _ASSIGN, _ADD, _SUB)
    },
}


@dataclass(frozen=True, slots=True)
class Become:
    """What a synchronization that is asked for becomes when a variable is created.

    `unless_strict`: a strict strategy refuses it, as TensorFlow does (D1).
    `if_adaptive`: what it becomes under auto="adaptive", if every dimension of its shape is fixed.
    """

    synchronization: VariableSynchronization
    unless_strict: bool = False
    if_adaptive: VariableSynchronization | None = None


CREATION: dict[VariableSynchronization, Become] = {
    # The same in replica context, where replica 0 creates for all, and in cross-replica context.
    _AUTO: Become(_ON_WRITE, if_adaptive=_AUTO),
    _ON_WRITE: Become(_ON_WRITE),
    _ON_READ: Become(_ON_READ),
    _NONE_SYNC: Become(_NONE_SYNC, unless_strict=True),
}


def policy(spec: VariableSpec, context: Context, operation: Operation) -> Policy:
    """What `operation` does to a variable in `context`: one cell of the table."""
    cell = TABLE[spec.synchronization, context, operation]
    return cell[spec.aggregation] if isinstance(cell, dict) else cell


def merges(spec: VariableSpec) -> bool:
    """Whether replicas only change a variable together, each with its part."""
    return isinstance(policy(spec, _REPLICA, _ASSIGN), Merge | Defer)


def defers(spec: VariableSpec) -> bool:
    """Whether replicas keep what they write to a variable until somebody is about to read it."""
    return isinstance(policy(spec, _REPLICA, _ASSIGN), Defer)


def resolve(
    name: str,
    synchronization: VariableSynchronization,
    aggregation: VariableAggregation,
    dtype: np.dtype[np.generic],
    *,
    strict: bool,
    shape: Shape = (),
    adaptive: bool = False,
) -> VariableSynchronization:
    """The synchronization that is in force when a variable is created under a strategy.

    AUTO becomes ON_WRITE, as in TensorFlow's synchronous strategies, or stays AUTO if `adaptive`.
    With an open shape it becomes ON_WRITE then too: values of different shapes do not add up.

    Raises:
        SynchronizationError: NONE with `strict`, as TensorFlow always refuses it (D1).
        AggregationError: MEAN of a dtype that has no fractions.
    """
    if aggregation is _MEAN and dtype.kind in "iub":
        raise AggregationError(
            name,
            f"aggregation=MEAN of dtype {dtype}: a mean of integers is not an integer",
            "Use a float dtype, or aggregation=SUM and divide where you read.",
        )
    become = CREATION[synchronization]
    if become.unless_strict and strict:
        raise SynchronizationError(
            name,
            "synchronization=NONE is not supported under a strict strategy (nor by TensorFlow)",
            "Use ON_READ for values of each replica's own, or a strategy without strict=True.",
        )
    if adaptive and become.if_adaptive is not None and None not in shape:
        return become.if_adaptive
    return become.synchronization


def is_trainable(synchronization: VariableSynchronization) -> bool:
    """Whether a variable is trainable where the program did not say: not if it is ON_READ."""
    return synchronization is not _ON_READ


def check_arithmetic(spec: VariableSpec, operation: Operation, num_replicas: int) -> None:
    """Refuses what a bool variable has no arithmetic for.

    Raises:
        AggregationError: A SUM over several replicas is needed.
        OperationError: assign_add or assign_sub.
    """
    if spec.dtype.kind != "b":
        return
    if operation in (_ADD, _SUB):
        raise OperationError(
            spec.name,
            f"{operation.value} of dtype bool: there is no such arithmetic",
            "Use assign, or an integer dtype.",
        )
    check_gather(spec, num_replicas)


def check_gather(spec: VariableSpec, num_replicas: int) -> None:
    """Refuses to sum bools over several replicas.

    Raises:
        AggregationError: The read would have to.
    """
    if spec.dtype.kind == "b" and spec.aggregation is _SUM and num_replicas > 1:
        raise AggregationError(
            spec.name,
            "aggregation=SUM of dtype bool over several replicas: bools have no sum",
            "Use an integer dtype for a count, or ONLY_FIRST_REPLICA.",
        )
