"""Steps that random programs have share: with the public interface, and with bare states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from varsim.protocol.parts import CombineKind
from varsim.spec import Array, Operation, ReduceOp

BareRows = tuple[tuple[int, ...], Array]
"""The indices and the values of a sparse write."""


@dataclass(frozen=True, slots=True)
class CrossRead:
    """A read of the cross-replica value."""

    variable: int


@dataclass(frozen=True, slots=True)
class ReadAction:
    """Some replicas read."""

    variable: int
    who: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class WriteAction:
    """All replicas write, each with its own value."""

    variable: int
    operation: Operation
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ScatterAction:
    """Each replica writes its own rows."""

    variable: int
    operation: Operation
    rows: tuple[BareRows, ...]


@dataclass(frozen=True, slots=True)
class AllReduceStep:
    """`all_reduce` of a value of each replica."""

    op: ReduceOp
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CombineStep:
    """Another collective of a value of each replica, or a weighted mean (`ALL_REDUCE`)."""

    kind: CombineKind
    op: ReduceOp
    values: tuple[Any, ...]
    root: int = 0
    exclusive: bool = False
    weights: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class AllGatherStep:
    """`all_gather` of a value of each replica, along axis 0."""

    values: tuple[Any, ...]
