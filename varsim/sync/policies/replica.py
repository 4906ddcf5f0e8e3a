"""Define what a cell knows and does on a replica when it performs a write or a read itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from varsim.spec import Array, Operand, Operation
from varsim.sync.actions import ReplicaAction
from varsim.sync.compression import Parts


class LocalComponent(Protocol):
    """One replica's component of a variable: the part of `ReplicaVariable` that cells use.

    Attributes:
        policy_state: Arrays by name that the policy keeps beside the component. A cell replaces
            arrays, and does not change an array in place. See `StateRule`.
        writes: The number of local writes since the last report to the coordinator.
        diverged: Whether there are local writes that are neither exchanged nor reported yet.
        version: The version of the last commit that this replica has applied.
    """

    policy_state: dict[str, Array]
    writes: int
    diverged: bool

    @property
    def version(self) -> int: ...  # noqa: D102
    def component(self) -> Array: ...  # noqa: D102
    def show(self) -> Array:
        """Return the component as a read-only array that never changes again."""


@dataclass(frozen=True, slots=True, eq=False)
class Contributed:
    """The value of a contribution as its compressor has packed it; see `CompressedContribution`."""

    parts: Parts
    change_norm: float
    residual_norm: float
    location: str


VariableT_contra = TypeVar("VariableT_contra", bound=LocalComponent, contravariant=True)


class ReplicaWrites(Protocol[VariableT_contra]):
    """The methods of `ReplicaState` that a cell calls to perform a write or a read on a replica.

    The cell returns the actions that these methods return, in the same order. `wait_and_repeat`
    must come first. `pull` or `fetch` must come last: the cell's `obtained` gets the answer.
    """

    num_replicas: int

    def write_locally(
        self, variable: VariableT_contra, operation: Operation, operand: Operand
    ) -> None:
        """Write only this replica's component, and count the write."""

    def contribute(self, variable: VariableT_contra, value: Array, location: str) -> None:
        """Contribute an assign of this value to a merge of all replicas."""

    def contribute_compressed(
        self, variable: VariableT_contra, operation: Operation, compressed: Contributed
    ) -> None:
        """Contribute a compressed value to a merge of all replicas."""

    def owes_merge(self, variable: VariableT_contra) -> bool:
        """Return whether the commit of this replica's last contribution has not arrived yet."""

    def wait_and_repeat(self, variable: VariableT_contra) -> Sequence[ReplicaAction]:
        """Let the program wait for the commit of the last contribution; then repeat the write."""

    def write_to_copy(
        self,
        variable: VariableT_contra,
        operation: Operation,
        operand: Array,
        bound: int,
        location: str,
    ) -> Sequence[ReplicaAction]:
        """Change the coordinator's copy; wait if this replica is more than `bound` writes ahead."""

    def adopt(self, variable: VariableT_contra, value: Array) -> Sequence[ReplicaAction]:
        """Replace this replica's component by a value that the program has not written."""

    def push(
        self, variable: VariableT_contra, delta: Array, location: str
    ) -> Sequence[ReplicaAction]:
        """Add to the authoritative copy. The program does not wait. `delta` must not change."""

    def pull(self, variable: VariableT_contra, location: str) -> Sequence[ReplicaAction]:
        """Let the program wait for the authoritative copy, which `obtained` gets."""

    def publish(self, variable: VariableT_contra, location: str) -> Sequence[ReplicaAction]:
        """Publish this replica's component. The program does not wait."""

    def fetch(
        self, variable: VariableT_contra, replica_id: int, location: str
    ) -> Sequence[ReplicaAction]:
        """Let the program wait for a replica's published component, which `obtained` gets."""
