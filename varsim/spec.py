"""Define the two settings of a variable, and the description that all processes share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, EnumMeta
from typing import TYPE_CHECKING, Any

import numpy as np

from varsim.nearest import did_you_mean, listed

Shape = tuple[int | None, ...]
"""A variable's declared shape. None is an unknown dimension, which an assign can change."""

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]
"""A NumPy array of any shape and of a dtype that a variable can have."""


class _PublicEnumMeta(EnumMeta):
    """Lets the error about a missing member name the nearest member, and all members."""

    if not TYPE_CHECKING:  # with a `__getattr__`, a type checker would not report missing members

        def __getattr__(cls, name: str) -> Any:
            members = cls.__dict__.get("_member_map_", {})
            if name in members:  # Python 3.11 finds members here
                return members[name]
            if name.startswith("_"):
                raise AttributeError(name)
            raise AttributeError(
                f"{cls.__name__} has no member {name!r}{did_you_mean(name, members) or '.'} "
                f"Its members are {listed(members)}.",
                name=name,
                obj=cls,
            )


class VariableSynchronization(Enum, metaclass=_PublicEnumMeta):
    """When a distributed variable's components are synchronised.

    Source: `tf.VariableSynchronization`; the values are TensorFlow's.
    """

    AUTO = 0
    NONE = 1
    ON_WRITE = 2
    ON_READ = 3

    __hash__ = object.__hash__  # faster in look-ups than Enum's own, which is Python code


@dataclass(frozen=True, slots=True)
class CustomSynchronization:
    """The name of a synchronization that TensorFlow does not have.

    The name contains the policy's parameters. The same name is used in a program, on the command
    line, in YAML, in messages and in histories.
    """

    name: str  # for example "local_sgd:8"
    source: str = field(default="", compare=False)
    """The package that provides the policy, with its version; or the file of the program that
    defines the policy. "" for a policy of varsim, and if there is no file."""

    definition: bytes = field(default=b"", compare=False, repr=False)
    """The pickled policy if the program defines the policy, so workers need not import it."""


Synchronization = VariableSynchronization | CustomSynchronization

_CUSTOM_NAME = re.compile(r"[a-z][a-z0-9_]*(:[A-Za-z0-9_.+-]+)*")


def synchronization_named(name: str) -> Synchronization:
    """Return the synchronization with this name: one of TensorFlow's, or a custom one.

    Raises:
        ValueError: `name` cannot be the name of a synchronization.
    """
    if name in VariableSynchronization.__members__:
        return VariableSynchronization[name]
    if _CUSTOM_NAME.fullmatch(name) is None:
        raise ValueError(f"invalid name of a synchronization: {name!r}")
    return CustomSynchronization(name)


class VariableAggregation(Enum, metaclass=_PublicEnumMeta):
    """How a distributed variable's components, or the values written to it, are combined.

    Source: `tf.VariableAggregation`; the values are TensorFlow's.
    """

    NONE = 0
    SUM = 1
    MEAN = 2
    ONLY_FIRST_REPLICA = 3

    __hash__ = object.__hash__


class ReduceOp(Enum, metaclass=_PublicEnumMeta):
    """How `Strategy.reduce` and `ReplicaContext.all_reduce` combine the replicas' values.

    TensorFlow has only SUM and MEAN. The other members are additions of varsim.
    """

    SUM = "SUM"
    MEAN = "MEAN"
    MIN = "MIN"
    MAX = "MAX"
    PROD = "PROD"
    ANY = "ANY"
    ALL = "ALL"

    __hash__ = object.__hash__

    @staticmethod
    def from_variable_aggregation(aggregation: VariableAggregation) -> ReduceOp:
        """Return the ReduceOp that combines values as an aggregation does.

        Raises:
            ValueError: The aggregation is neither SUM nor MEAN.
        """
        if aggregation in (VariableAggregation.SUM, VariableAggregation.MEAN):
            return ReduceOp[aggregation.name]
        raise ValueError(f"{aggregation} is not a ReduceOp: only SUM and MEAN reduce values")


class Context(Enum):
    """The context in which a program operates on a variable."""

    REPLICA = "replica context"
    CROSS_REPLICA = "cross-replica context"
    UPDATE = "strategy.extended.update"

    __hash__ = object.__hash__


class Operation(Enum):
    """An operation of a program on a variable."""

    CREATE = "create"
    ASSIGN = "assign"
    ASSIGN_ADD = "assign_add"
    ASSIGN_SUB = "assign_sub"
    READ = "read"
    SCATTER_ADD = "scatter_add"
    SCATTER_SUB = "scatter_sub"
    SCATTER_MUL = "scatter_mul"
    SCATTER_DIV = "scatter_div"
    SCATTER_MIN = "scatter_min"
    SCATTER_MAX = "scatter_max"
    SCATTER_UPDATE = "scatter_update"

    __hash__ = object.__hash__


class ManualOperation(Enum):
    """An operation by which a program itself synchronises the components of a variable."""

    SYNC = "sync"
    BROADCAST = "broadcast"
    PUBLISH = "publish"
    FETCH = "fetch"
    PUSH = "push"
    PULL = "pull"

    __hash__ = object.__hash__


SCATTERS: tuple[Operation, ...] = tuple(one for one in Operation if "scatter" in one.value)
"""The sparse writes, each of which changes some rows of a variable."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The operand of a sparse write: values for some rows. An index can occur several times."""

    indices: Array  # int64, (n,)
    values: Array  # (n, …); each value has the shape of a row

    @property
    def nbytes(self) -> int:
        """Return the size of both arrays."""
        return self.indices.nbytes + self.values.nbytes


NamedArrays = tuple[tuple[str, Array], ...]
"""Pairs of a name and an array, in the order of the names."""

Operand = Array | Rows
"""The operand of a write: a value, or the rows of a sparse write."""


@dataclass(frozen=True, slots=True)
class VariableSpec:
    """The description of a variable that all processes share, and that never changes."""

    variable_id: int  # unique within one cluster, in order of creation
    name: str  # the program's name for the variable, for texts
    shape: Shape
    dtype: np.dtype[np.generic]
    requested: Synchronization  # the synchronization that the program asked for
    synchronization: Synchronization  # the synchronization that applies; AUTO only if adaptive
    aggregation: VariableAggregation
    trainable: bool
    created_at: str = ""  # file:line of the creation
