"""Protocols through which the lower modules of `distribute` use the higher ones.

A variable needs its strategy, and a strategy makes variables. The lower module uses the higher one
through one of these protocols, so imports go in one direction only. ADR 0027 defines the layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from varsim.shells.replica import Replica
from varsim.spec import Array, Operation, Rows, VariableSpec


class StrategyPort(Protocol):
    """A strategy, as contexts, values and variables see it."""

    @property
    def strategy_id(self) -> int:
        """Return its number among the program's strategies with workers; 0 without workers."""

    @property
    def is_outside(self) -> bool:
        """Return whether its scope counts as outside every strategy."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Return the device of each replica."""

    @property
    def num_replicas_in_sync(self) -> int:
        """Return how many replicas there are."""

    def replica_context(self) -> ReplicaPort | None:
        """Return the replica on which the program runs in its scope; usually None."""

    def create_variable(self, **kwargs: Any) -> Any:
        """Make a variable under this strategy."""

    def run(self, fn: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Call a function on every replica."""

    def reduce(self, reduce_op: Any, value: Any, axis: Any) -> Any:
        """Combine the replicas' values into one."""


class ClusterPort(StrategyPort, Protocol):
    """A strategy with workers, as its variables see it."""

    @property
    def cross(self) -> CrossReplicaPort:
        """Return the access to the variables from outside the replicas."""

    def duplicate(self, variable: Any) -> Any:
        """Return a new variable with the same settings and components."""


class CrossReplicaPort(Protocol):
    """Access to distributed variables in cross-replica context; each is a DistributedVariable."""

    def read(self, variable: Any) -> Array:
        """Return the cross-replica value, as the policy says; read-only."""

    def write(self, variable: Any, operation: Operation, value: Any, *, read_value: bool) -> None:
        """Write a variable, as the policy says."""

    def component(self, variable: Any, replica_id: int) -> Array:
        """Return the component on one replica, as a read by the program; read-only."""

    def components(self, variable: Any, replica_ids: Sequence[int]) -> tuple[Array, ...]:
        """Return the components on some replicas; read-only."""

    def write_component(
        self, variable: Any, replica_id: int, operation: Operation, value: Array
    ) -> None:
        """Write one component."""

    def scatter(self, variable: Any, operation: Operation, rows: Any) -> None:
        """Apply a sparse write, as the policy says."""

    def scatter_component(
        self, variable: Any, replica_id: int, operation: Operation, rows: Rows
    ) -> None:
        """Apply a sparse write to one component."""

    def write_components(self, variable: Any, values: dict[int, Array]) -> None:
        """Set several components."""


class ReplicaPort(Protocol):
    """The replica on which the program runs, as values and variables see it."""

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
    """A distributed variable, as an update sees it."""

    @property
    def spec(self) -> VariableSpec:
        """Return its spec, which is equal in all processes."""

    @property
    def strategy(self) -> ClusterPort:
        """Return the strategy that made it."""


class UpdatePort(Protocol):
    """A running `extended.update`, as components see it."""

    @property
    def replica_id(self) -> int:
        """Return the replica id of the current component."""

    def read(self, variable: VariablePort, replica_id: int) -> Array:
        """Return a component as the function sees it; read-only."""

    def write(
        self, variable: VariablePort, replica_id: int, operation: Operation, value: Array
    ) -> None:
        """Apply an operation to one component."""

    def scatter(
        self, variable: VariablePort, replica_id: int, operation: Operation, rows: Rows
    ) -> None:
        """Apply a sparse write to one component."""
