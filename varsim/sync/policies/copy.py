"""Cells of policies for which the coordinator keeps an authoritative copy (`keeps_copy`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from varsim.errors import OperationError
from varsim.spec import Array, Operand, Operation, VariableAggregation, VariableSpec
from varsim.sync.operand import applied
from varsim.sync.policies.cell import Cell
from varsim.sync.policies.cells import Broadcast
from varsim.sync.policies.known import Known
from varsim.texts.refusals import CopyIsNotKnown


@dataclass(frozen=True, slots=True)
class ReadCopy(Cell):
    """A read of the authoritative copy by the program."""

    uses_copy: ClassVar[bool] = True

    def needed(self, spec: VariableSpec, num_replicas: int) -> range:
        """Return no replica: the coordinator has the copy."""
        return range(0)

    def combined(self, spec: VariableSpec, components: Sequence[Array]) -> Array:
        """Refuse to compute the copy: it is not a function of the components.

        Raises:
            OperationError: Always. The coordinator reads the copy itself.
        """
        raise OperationError(spec.name, CopyIsNotKnown())

    def cost_of_read(self, spec: VariableSpec, known: Known) -> int:
        """Count no message."""
        return 0


@dataclass(frozen=True, slots=True)
class ToAllAndCopy(Broadcast):
    """An operation of the program on every component and on the authoritative copy."""

    uses_copy: ClassVar[bool] = True

    @property
    def key(self) -> str:
        """Return the key of the cell's texts."""
        return "toallandcopy"

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return this cell: a sparse write changes the same rows everywhere."""
        return self

    def copied(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
        copy: Array,
    ) -> Array:
        """Return the copy after the write."""
        return applied(operation, copy, values[0])
