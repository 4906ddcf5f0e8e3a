"""Define the interface of cells of the policy table: the effect of one operation.

For a write, a cell computes the new components. For a read, it selects the components that are
needed, and computes the value. The cell also counts the messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from varsim.spec import Array, Operand, Operation, Rows, VariableAggregation, VariableSpec
from varsim.sync.actions import ReplicaAction
from varsim.sync.compression import Compressor
from varsim.sync.policies.known import Known
from varsim.sync.policies.replica import ReplicaWrites, VariableT_contra
from varsim.texts.cells import CELLS, CellText, undescribed


@dataclass(frozen=True, slots=True)
class Reason:
    """The reason why a cell refuses an operation.

    Attributes:
        key: Selects the text of the error.
        of_read: True if reading the value is refused. A write with this reason is refused only
            because it returns the value.
        shows_components: Whether the components may be fetched, so that the error can show the
            results of fixes.
    """

    key: str
    of_read: bool = True
    shows_components: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """The result of a merge that a cell computes itself.

    Attributes:
        components: The new component of each replica, in replica order.
        copy: The new authoritative copy; None if it does not change.
    """

    components: Sequence[Array]
    copy: Array | None = None


NO_ROWS: Final = Reason("no_rows", of_read=False, shows_components=False)
"""Why a sparse write is refused: the policy has no cell for it."""

NO_ORDER: Final = Reason("no_order", of_read=False, shows_components=False)
"""Why scatter_update, scatter_min and scatter_max are refused: the order of rows would matter."""


class Cell:
    """The effect of one operation: the base of all cells."""

    __slots__ = ()

    combines: ClassVar[bool] = False
    """Whether the written values of the replicas are aggregated."""

    is_sent: ClassVar[bool] = False
    """Whether every write in replica context sends its value to the coordinator."""

    is_deferred: ClassVar[bool] = False
    """Whether a replica keeps its writes until a read needs them."""

    takes_first: ClassVar[bool] = False
    """Whether the program's write of a PerReplica value uses the value of replica 0."""

    gathers: ClassVar[bool] = False
    """Whether a read aggregates the components."""

    writes_itself: ClassVar[bool] = False
    """Whether the cell's `write` method performs a write in replica context."""

    reads_itself: ClassVar[bool] = False
    """Whether the cell's `read` method performs a read in replica context."""

    writes_alone: ClassVar[bool] = False
    """Whether `write` needs no other replica, so that replicas may write differently often."""

    exchanges: ClassVar[bool] = False
    """Whether the cell's `exchanged` method computes the result of a merge."""

    uses_copy: ClassVar[bool] = False
    """Whether the program's read gives the authoritative copy, or its write also changes it."""
    since_exchange: ClassVar[bool] = False
    """Whether compressed contributions are changes since the last exchange of the variable."""

    @property
    def compressor(self) -> Compressor | None:
        """Return what compresses replicas' contributions; None if they are not compressed."""
        return None

    @property
    def refused(self) -> Reason | None:
        """Return the reason why the operation is refused; None if it is legal."""
        return None

    @property
    def diverges(self) -> bool:
        """Return whether a write makes the components of a mirrored variable differ."""
        return False

    @property
    def is_private(self) -> bool:
        """Return whether the policy intends that the components differ after a write."""
        return False

    @property
    def uses_location(self) -> bool:
        """Return whether an error or a warning can contain the location of a write.

        Errors show writes that other replicas hear of, and writes that the cell performs itself. A
        warning shows a write that diverges.
        """
        return self.is_sent or self.writes_itself or self.diverges

    @property
    def bound(self) -> int | None:
        """Return by how many writes a replica may be ahead of the slowest replica.

        None means that replicas do not write at their own pace to one copy.
        """
        return None

    @property
    def shares(self) -> bool:
        """Return whether the value is divided by the number of replicas for each component."""
        return False

    @property
    def per_component(self) -> bool:
        """Return whether each component gets its own value from a PerReplica value."""
        return False

    @property
    def reads_back(self) -> bool:
        """Return whether the operation is refused if the variable cannot be read."""
        return False

    @property
    def key(self) -> str:
        """Return the key of the cell's texts."""
        return type(self).__name__.lower()

    @property
    def text(self) -> CellText:
        """Return the texts about the cell. A cell of another package has its own texts."""
        kind = type(self)
        if kind.__module__.startswith("varsim."):
            return CELLS[self.key]
        return undescribed(kind.__name__)

    def joins_by(self, aggregation: VariableAggregation) -> VariableAggregation:
        """Return the aggregation by which the replicas' rows are joined, if `combines`.

        Args:
            aggregation: The aggregation of the variable.
        """
        return aggregation

    def write(
        self,
        replica: ReplicaWrites[VariableT_contra],
        variable: VariableT_contra,
        operation: Operation,
        operand: Operand,
        location: str,
    ) -> Sequence[ReplicaAction]:
        """Perform a write in replica context on one replica; called only if `writes_itself`.

        Args:
            operand: A value; or rows, if `for_rows` permits the sparse write.
        """
        raise AssertionError(f"{self} is not a cell that performs writes itself")

    def read(
        self, replica: ReplicaWrites[VariableT_contra], variable: VariableT_contra
    ) -> Sequence[ReplicaAction]:
        """Prepare a read on one replica, which then shows the component; if `reads_itself`."""
        raise AssertionError(f"{self} is not a cell that performs reads itself")

    def obtained(
        self, replica: ReplicaWrites[VariableT_contra], variable: VariableT_contra, value: Array
    ) -> Sequence[ReplicaAction]:
        """Use the answer to the `pull` or `fetch` with which `write` or `read` has ended."""
        raise AssertionError(f"{self} is not a cell that pulls or fetches")

    def exchanged(
        self, spec: VariableSpec, components: Sequence[Array], copy: Array | None
    ) -> Exchange:
        """Return the result of a merge, to which each replica contributed its component.

        The result must depend on nothing but the arguments, which must not be changed.

        Args:
            components: One array for each replica, in replica order.
            copy: The authoritative copy; None if the policy keeps no copy.
        """
        raise AssertionError(f"{self} is not a cell that exchanges components")

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return the cell for a sparse write, given that this cell is for assign_add.

        This method is used for sparse writes that a policy does not mention. By default a sparse
        write is refused. A cell that can write rows returns itself.
        """
        return Refuse(NO_ROWS)

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
    ) -> list[Array]:
        """Return the components after a write, given one value for each replica."""
        raise AssertionError(f"{self} is not a cell of a write")

    def copied(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
        copy: Array,
    ) -> Array:
        """Return the authoritative copy after a write; by default it does not change."""
        return copy

    def needed(self, spec: VariableSpec, num_replicas: int) -> range:
        """Return the ids of the replicas whose components a cross-replica read uses."""
        raise AssertionError(f"{self} is not a cell of a cross-replica read")

    def combined(self, spec: VariableSpec, components: Sequence[Array]) -> Array:
        """Return the value of a cross-replica read.

        Args:
            components: The components of the replicas that `needed` returns.
        """
        raise AssertionError(f"{self} is not a cell of a cross-replica read")

    def cost_of_write(self, known: Known) -> int:
        """Count the messages of a write, and update `known`."""
        raise AssertionError(f"{self} is not a cell of a write")

    def cost(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
        known: Known,
    ) -> int:
        """Count the messages of a write of these values; by default, the values do not matter."""
        return self.cost_of_write(known)

    def bytes_of_rows(self, spec: VariableSpec, rows: Sequence[Rows], whole_bytes: int) -> int:
        """Return the size of the arrays that a sparse write sends; 0 by default.

        Args:
            rows: The rows that each replica writes, or that each component gets.
            whole_bytes: The size of a component.
        """
        return 0

    def cost_of_read(self, spec: VariableSpec, known: Known) -> int:
        """Count the messages of a read, and update `known`."""
        return known.fetch(self.needed(spec, known.num_replicas))


@dataclass(frozen=True, slots=True)
class Refuse(Cell):
    """A refused operation: it raises an error and changes nothing."""

    reason: Reason

    @property
    def refused(self) -> Reason | None:
        """Return the reason for which the operation is refused."""
        return self.reason

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return this cell: a sparse write is refused for the same reason."""
        return self
