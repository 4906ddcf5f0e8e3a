"""What `extended.update` does to components: collected while it runs, then done all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from varsim.spec import Array, Operation
from varsim.sync import reduce
from varsim.sync.components import check_shape

if TYPE_CHECKING:
    from varsim.distribute.distributed import DistributedVariable


class Update:
    """The components that an update has written so far.

    Nothing leaves before every function has returned, so an update that raises changes nothing
    (D4); the functions see their own writes.
    """

    def __init__(self) -> None:
        self.replica_id = 0  # whose component is at hand
        self._before: dict[int, tuple[Array, ...]] = {}
        self._written: dict[int, tuple[DistributedVariable, dict[int, Array]]] = {}

    def read(self, variable: DistributedVariable, replica_id: int) -> Array:
        """A component as the functions see it; read-only."""
        written = self._written.get(variable.spec.variable_id)
        if written is not None and replica_id in written[1]:
            value = written[1][replica_id]
        else:
            value = self._components(variable)[replica_id]
        value.setflags(write=False)
        return value

    def _components(self, variable: DistributedVariable) -> tuple[Array, ...]:
        number = variable.spec.variable_id
        if number not in self._before:
            everybody = range(variable.strategy.num_replicas_in_sync)
            self._before[number] = variable.strategy.cross.components(variable, everybody)
        return self._before[number]

    def write(
        self, variable: DistributedVariable, replica_id: int, operation: Operation, value: Array
    ) -> None:
        """Applies an operation to one component, for now only here.

        Raises:
            ShapeError: The value does not fit.
        """
        before = self.read(variable, replica_id)
        check_shape(variable.spec, operation, before, value)
        _, values = self._written.setdefault(variable.spec.variable_id, (variable, {}))
        values[replica_id] = reduce.apply(operation, before, value)

    def commit(self) -> None:
        """Sends what was written to the replicas."""
        for variable, values in self._written.values():
            variable.strategy.cross.write_components(variable, values)
