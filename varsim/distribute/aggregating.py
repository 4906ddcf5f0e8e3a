"""Define variables that have one copy instead of a component on every replica."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from varsim.distribute.cluster_variable import ClusterVariable
from varsim.distribute.context import current_frame
from varsim.distribute.indexed_slices import IndexedSlices, index_array
from varsim.distribute.lease import Lease
from varsim.distribute.ports import ClusterPort
from varsim.distribute.resource import described
from varsim.distribute.sparse import read_indices, with_elements
from varsim.distribute.values import PerReplica
from varsim.errors import PartError
from varsim.location import located
from varsim.spec import Array, Operation, VariableSpec


class AggregatingVariable(ClusterVariable):
    """A variable with one copy, for example under `CentralStorageStrategy`.

    A write of the replicas changes the copy once, by the aggregate of their values. The
    synchronization has no effect.

    Source: `AggregatingVariable` in TensorFlow.
    """

    def __init__(
        self, strategy: ClusterPort, spec: VariableSpec, lease: Lease[ClusterVariable]
    ) -> None:
        super().__init__(strategy, spec, lease)
        self._synchronization = spec.requested

    def convert(self) -> Array:
        """Return the copy; read-only."""
        return self.read_value()

    @property
    def takes_slices(self) -> bool:
        """Return True in cross-replica context: a replica cannot change the copy alone."""
        frame = current_frame()
        return frame is None or frame.replica is None

    @located
    def sparse_read(self, indices: Any, name: str | None = None) -> Array:
        """Return a copy of the rows at `indices`."""
        return self._selected("sparse_read", self.part, indices)

    @located
    def gather_nd(self, indices: Any, name: str | None = None) -> Array:
        """Return the elements at the index tuples in the last axis of `indices`."""
        return self._selected(
            "gather_nd", lambda index: self.convert()[tuple(np.moveaxis(index, -1, 0))], indices
        )

    def _selected(self, method: str, select: Callable[[Array], Array], indices: Any) -> Array:
        index = read_indices(method, indices, self._name)
        try:
            return np.array(select(index))
        except (IndexError, ValueError) as error:
            raise PartError(self._name, f"{method}: {error}") from error

    @located
    def scatter_elements(self, method: str, indices: Any, updates: Any = None) -> None:
        """Change elements of the copy. In replica context, all replicas change it, in order."""
        frame = current_frame()
        if frame is not None and frame.replica is not None and frame.strategy is self.strategy:
            if not isinstance(indices, IndexedSlices):
                indices = index_array(indices, self._name)  # lists would be merged as structures
            updates = None if updates is None else self.operand(updates)
            change = partial(_change_in_turn, method=method)
            name = f"{method} of {self._name}"  # replicas must call the same method
            frame.replica.merge_call(change, args=(self, indices, updates), name=name)
        else:
            after = with_elements(method, self.read_value(), indices, updates, self._name)
            self.write(Operation.ASSIGN, after)

    def __repr__(self) -> str:
        return described(self, type(self).__name__)


def _change_in_turn(
    strategy: Any, variable: AggregatingVariable, indices: Any, updates: Any, *, method: str
) -> None:
    """Change elements for each replica of a call, in replica order."""
    after = variable.read_value()
    given = next((one for one in (indices, updates) if isinstance(one, PerReplica)), None)
    for i in range(strategy.num_replicas_in_sync if given is None else len(given.values)):
        where, new = (
            one.values[i] if isinstance(one, PerReplica) else one for one in (indices, updates)
        )
        after = with_elements(method, after, where, new, variable.label)
    variable.write(Operation.ASSIGN, after)
