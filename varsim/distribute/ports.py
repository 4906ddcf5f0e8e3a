"""Protocols through which the lower modules of `distribute` use the higher ones.

A variable needs its strategy, and a strategy makes variables. The lower module uses the higher one
through one of these protocols, so imports go in one direction only. ADR 0027 defines the layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from varsim.shells.replica import Replica
from varsim.spec import Array, Operand, Operation, VariableSpec


class StrategyPort(Protocol):
    """What contexts, values and variables use of a strategy."""

    @property
    def strategy_id(self) -> int:
        """Return the number of this strategy among those with workers; 0 without workers."""

    @property
    def is_outside(self) -> bool:
        """Return whether code in the strategy's scope counts as outside every strategy."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Return the device of each replica."""

    @property
    def num_replicas_in_sync(self) -> int:
        """Return how many replicas there are."""

    def replica_context(self) -> ReplicaPort | None:
        """Return the replica on which code in the strategy's scope runs; usually None."""

    def create_variable(self, **kwargs: Any) -> Any:
        """Make a variable under this strategy."""

    def run(self, fn: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Call a function on every replica."""

    def reduce(self, reduce_op: Any, value: Any, axis: Any) -> Any:
        """Combine the replicas' values into one."""


class ClusterPort(StrategyPort, Protocol):
    """What variables use of a strategy with workers."""

    @property
    def cross(self) -> CrossReplicaPort:
        """Return the access to the variables from outside the replicas."""

    def duplicate(self, variable: Any) -> Any:
        """Return a new variable with the same settings and components."""


class CrossReplicaPort(Protocol):
    """Access to variables in cross-replica context; a `variable` here is a DistributedVariable."""

    def read(self, variable: Any) -> Array:
        """Return the cross-replica value, as the policy says; read-only."""

    def write(self, variable: Any, operation: Operation, value: Any, *, read_value: bool) -> None:
        """Write a variable, as the policy says."""

    def component(self, variable: Any, replica_id: int) -> Array:
        """Return the component on one replica, and record a read by the program; read-only."""

    def components(self, variable: Any, replica_ids: Sequence[int]) -> tuple[Array, ...]:
        """Return the components on some replicas; read-only."""

    def write_component(
        self, variable: Any, replica_id: int, operation: Operation, operand: Operand
    ) -> None:
        """Write one component."""

    def scatter(self, variable: Any, operation: Operation, rows: Any) -> None:
        """Apply a sparse write, as the policy says."""

    def write_components(self, variable: Any, values: dict[int, Array]) -> None:
        """Set several components."""


class ReplicaPort(Protocol):
    """What values and variables use of the replica on which the program runs."""

    @property
    def session(self) -> Replica:
        """Return the shell around the replica's state; None if nothing is distributed."""

    @property
    def replica_id_in_sync_group(self) -> int:
        """Return which replica this is."""

    @property
    def num_replicas_in_sync(self) -> int:
        """Return how many replicas there are."""

    def merge_call(
        self, merge_fn: Any, args: Any = (), kwargs: Any = None, *, name: Any = None
    ) -> Any:
        """Call a function once for all replicas."""


class VariablePort(Protocol):
    """What an update uses of a distributed variable."""

    @property
    def spec(self) -> VariableSpec:
        """Return the variable's spec, which is equal in all processes."""

    @property
    def strategy(self) -> ClusterPort:
        """Return the strategy that made the variable."""


class UpdatePort(Protocol):
    """What components use of a running `extended.update`."""

    @property
    def replica_id(self) -> int:
        """Return the replica id of the current component."""

    def read(self, variable: VariablePort, replica_id: int) -> Array:
        """Return a component with the writes of this update so far; read-only."""

    def write(
        self, variable: VariablePort, replica_id: int, operation: Operation, operand: Operand
    ) -> None:
        """Apply an operation to one component."""
