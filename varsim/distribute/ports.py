"""Define protocols through which the lower modules of `distribute` use the higher ones.

A variable needs its strategy, and a strategy creates variables. The lower module uses the higher
one through one of these protocols, so imports go in one direction only. ADR 0027 defines the
layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from varsim.distribute.count_use import CountUse
from varsim.protocol.parts import Combination
from varsim.shells.replica import Replica
from varsim.spec import Array, NamedArrays, Operand, Operation, VariableSpec
from varsim.sync.actions import ProgramDone


class StrategyPort(Protocol):
    """The part of a strategy that contexts, values and variables use."""

    @property
    def strategy_id(self) -> int:
        """Return the number of a strategy with workers; 0 for a strategy without workers."""

    @property
    def is_outside(self) -> bool:
        """Return True for the default strategy: code in its scope is outside every strategy."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Return the device of each replica."""

    @property
    def count_use(self) -> CountUse:
        """Return the record of where the program uses the number of replicas."""

    @property
    def num_replicas_in_sync(self) -> int:
        """Return the number of replicas."""

    @property
    def local_replica_ids(self) -> Sequence[int]:
        """Return the replicas whose components this program sees: all, or only its own one."""

    @property
    def below(self) -> ReplicaPort | None:
        """Return the replica that runs the program of this strategy; None if it is no replica.

        Code that this replica runs in its own context is outside the strategy's scope.
        """

    def replica_context(self) -> ReplicaPort | None:
        """Return the default strategy's only replica; None for all other strategies."""

    def create_variable(self, **kwargs: Any) -> Any:
        """Create a variable under this strategy."""

    def run(self, fn: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Call a function on every replica."""

    def reduce(self, reduce_op: Any, value: Any, axis: Any) -> Any:
        """Combine the replicas' values into one."""


class ClusterPort(StrategyPort, Protocol):
    """The part of a strategy with workers that variables use."""

    @property
    def cross(self) -> CrossReplicaPort:
        """Return an object that accesses the variables in cross-replica context."""

    def duplicate(self, variable: Any) -> Any:
        """Return a new variable with the same settings and components."""

    def note_saved(self, saved: Any) -> None:
        """Record which components are in a checkpoint; `saved` is a `checkpoints.saving.Saved`."""


class CrossReplicaPort(Protocol):
    """Access to variables in cross-replica context. Each `variable` is a DistributedVariable."""

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

    def states(self, variable: Any) -> tuple[NamedArrays, ...]:
        """Return what the policy keeps beside each component; () if it keeps nothing."""

    def set_states(self, variable: Any, states: Sequence[NamedArrays] = ()) -> None:
        """Replace what the policy keeps beside each component; () for an empty state."""

    def restore(self, variable: Any, value: Array) -> None:
        """Assign a saved value, as the policy says."""

    def sync(self, variable: Any, how: Combination) -> Array:
        """Store the result of a collective over all components in each of them; return it."""

    def push(self, variable: Any, delta: Array) -> None:
        """Add to the authoritative copy."""

    def pull(self, variable: Any) -> ProgramDone:
        """Return the authoritative copy."""

    def fetch(self, variable: Any, replica_id: int) -> ProgramDone:
        """Return the last published component of a replica."""


class ReplicaPort(Protocol):
    """The part of the current replica's context that values and variables use."""

    @property
    def strategy(self) -> StrategyPort:
        """Return the strategy whose `run` called the function."""

    @property
    def session(self) -> Replica:
        """Return the shell around the replica's state; None under a strategy without workers."""

    @property
    def replica_id_in_sync_group(self) -> int:
        """Return the id of this replica."""

    @property
    def num_replicas_in_sync(self) -> int:
        """Return the number of replicas."""

    @property
    def num_replicas_present(self) -> int:
        """Return the number of replicas that take part in the call."""

    @property
    def runs_program(self) -> bool:
        """Return whether this replica runs the program of a strategy of several workers."""

    def merge_call(
        self, merge_fn: Any, args: Any = (), kwargs: Any = None, *, name: Any = None
    ) -> Any:
        """Call a function once for all replicas."""


class VariablePort(Protocol):
    """The part of a distributed variable that an update uses."""

    @property
    def spec(self) -> VariableSpec:
        """Return the variable's spec, which is equal in all processes."""

    @property
    def strategy(self) -> ClusterPort:
        """Return the strategy that created the variable."""


class UpdatePort(Protocol):
    """The part of a running `extended.update` that components use."""

    @property
    def replica_id(self) -> int:
        """Return the replica id of the current component."""

    def read(self, variable: VariablePort, replica_id: int) -> Array:
        """Return a component after the writes of this update; read-only."""

    def write(
        self, variable: VariablePort, replica_id: int, operation: Operation, operand: Operand
    ) -> None:
        """Apply an operation to one component."""
