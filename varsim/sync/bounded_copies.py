"""Change the copies of variables with bounded staleness, and count what this costs."""

from __future__ import annotations

from varsim.errors import ProtocolError
from varsim.protocol.messages import FreshCopy
from varsim.spec import Array, Operation
from varsim.sync import reduce
from varsim.sync.bounded_writes import Admitted
from varsim.sync.coordinator_variables import CoordinatorVariable, CoordinatorVariables
from varsim.sync.statistics import BoundedCounts


class BoundedCopies:
    """The copies of all variables with bounded staleness. The copy of a variable is its mirror.

    No array is changed in place, so a replica never gets a part of a write.
    """

    def __init__(self, variables: CoordinatorVariables) -> None:
        self._variables = variables
        self._seen: dict[tuple[int, int], int] = {}  # (variable, reader) → version

    def add(self, variable_id: int, bound: int) -> None:
        """Begin to count what the replicas do with a variable."""
        self._variables.by_id[variable_id].account.bounded = BoundedCounts(bound)

    def forget(self, variable_id: int) -> None:
        """Drop a variable."""
        for key in [key for key in self._seen if key[0] == variable_id]:
            del self._seen[key]

    def admit(self, admitted: Admitted) -> None:
        """Let a write of a replica take effect."""
        write, replica_id = admitted.write, admitted.replica_id
        variable = self._variables.by_id.get(write.variable_id)
        if variable is None:
            return  # the program has dropped the variable
        spec, account = variable.spec, variable.account
        part = reduce.part_of(write.operand, spec.aggregation, self._variables.num_replicas)
        self.change(variable, write.operation, part)
        key = write.variable_id, replica_id
        self._seen[key] = self._seen.get(key, 0) + 1  # the writer knows its own write
        account.moved(1, write.operand.nbytes)
        account.waited_s += admitted.waited_s
        assert account.bounded is not None, "the variable was added"
        account.bounded.admitted(replica_id, admitted.waited_for, admitted.ahead, admitted.waited_s)

    def change(self, variable: CoordinatorVariable, operation: Operation, value: Array) -> None:
        """Change a copy."""
        block = variable.block
        after = reduce.apply(operation, block.values, value)
        block.install(after, block.versions + 1)

    def fresh(
        self, call_id: int, replica_id: int, variable_id: int, slowest: int, *, requested: bool
    ) -> FreshCopy:
        """Return the copy for the cache of a replica.

        Args:
            slowest: See `FreshCopy`.
            requested: Whether the replica has sent a request, and not a write.
        Raises:
            ProtocolError: The program has dropped the variable.
        """
        variable = self._variables.by_id.get(variable_id)
        if variable is None:
            raise ProtocolError(f"replica {replica_id} uses variable {variable_id}, which is gone")
        value, version = variable.block.show(variable.slot), variable.version(replica_id)
        account, key = variable.account, (variable_id, replica_id)
        account.moved(2 if requested else 1, value.nbytes)
        assert account.bounded is not None, "the variable was added"
        account.bounded.renewed(version - self._seen.get(key, 0))
        self._seen[key] = version
        return FreshCopy(
            call_id=call_id,
            variable_id=variable_id,
            version=version,
            slowest=slowest,
            value=value,
        )
