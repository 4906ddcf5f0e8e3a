"""The coordinator's knowledge of every variable: the components' values and versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from varsim.protocol.messages import BY_PROGRAM, Commit
from varsim.spec import Array, Operation, VariableSpec
from varsim.sync import policies, reduce
from varsim.sync.actions import CoordinatorAction, Send
from varsim.sync.block import Block
from varsim.sync.statistics import Account


@dataclass(slots=True)
class CoordinatorVariable:
    """The coordinator's knowledge of one variable.

    `mirror` is the value that every component certainly holds; None if they may differ. While it
    is known, a cross-replica read needs no message, and a merge is sent as its resulting value.
    Otherwise every replica applies the operation to its own component, and `components` holds the
    components that are still known.

    While the variable is in a `block`, the block holds its mirror, versions and merges.
    """

    account: Account
    mirror: Array | None
    versions: list[int]  # of every replica's component
    merges: bool  # whether replicas only change it together
    components: list[Array | None] = field(default_factory=list)  # used while `mirror` is None
    waited_until_s: list[float] = field(default_factory=list)  # by replica
    block: CoordinatorBlock | None = None
    slot: int = 0

    @property
    def spec(self) -> VariableSpec:
        """Return the spec of the variable."""
        return self.account.spec

    def diverge(self) -> None:
        """Note that the components may differ from now on."""
        if self.mirror is not None:
            self.components = [self.mirror] * len(self.versions)
            self.mirror = None

    def distrust(self) -> None:
        """Note that any component may have changed."""
        self.mirror = None
        self.components = [None] * len(self.versions)

    def learn(self, replica_id: int, value: Array) -> None:
        """Take a component that a replica has sent, if `mirror` is None."""
        if self.mirror is None:
            value.setflags(write=False)
            self.components[replica_id] = value

    def apply(self, operation: Operation, value: Array) -> None:
        """Apply an operation with the same value to all components."""
        value.setflags(write=False)  # several components may share it
        if operation is Operation.ASSIGN:
            self.mirror = value
            self.components = []
            return
        self.diverge()
        for replica_id in range(len(self.versions)):
            self.apply_to(replica_id, operation, value)

    def apply_to(self, replica_id: int, operation: Operation, value: Array) -> None:
        """Apply an operation to one component; `mirror` must be None."""
        before = self.components[replica_id]
        if operation is Operation.ASSIGN:
            self.components[replica_id] = value
        elif before is not None:
            after = reduce.apply(operation, before, value)
            after.setflags(write=False)
            self.components[replica_id] = after


class CoordinatorBlock(Block):
    """Variables whose mirrors are merged together as one array, and the cost of these merges."""

    __slots__ = ("merges", "waited_s", "waited_until_s")

    def __init__(self, members: Sequence[CoordinatorVariable], variable_ids: Array) -> None:
        mirrors = [member.mirror for member in members if member.mirror is not None]
        super().__init__(variable_ids, mirrors, [member.versions[0] for member in members])
        self.merges = 0
        self.waited_s: Array = np.zeros(len(members))
        self.waited_until_s: Array = np.array([member.waited_until_s for member in members])

    def wait(self, since_s: Sequence[float], now_s: float) -> None:
        """Add the replicas' waiting time for a merge, without the time for earlier merges."""
        self.merges += 1
        self.waited_s += (now_s - np.maximum(since_s, self.waited_until_s)).sum(axis=1)
        self.waited_until_s[:] = now_s


class CoordinatorVariables:
    """All variables of one cluster, and the commits to them.

    Variables that replicas write together share a block until one of them is used alone. One array
    operation and one commit serve a whole block.
    """

    def __init__(self, num_replicas: int) -> None:
        self.num_replicas = num_replicas
        self._by_id: dict[int, CoordinatorVariable] = {}
        self._blocks: dict[bytes, CoordinatorBlock] = {}  # each by its key

    def __contains__(self, variable_id: object) -> bool:
        return variable_id in self._by_id

    def __iter__(self) -> Iterator[CoordinatorVariable]:
        return iter(self._by_id.values())

    def add(self, spec: VariableSpec, value: Array) -> None:
        """Add a variable, whose components all hold `value`."""
        value.setflags(write=False)
        count = self.num_replicas
        self._by_id[spec.variable_id] = CoordinatorVariable(
            Account(spec),
            value,
            [0] * count,
            policies.merges(spec),
            waited_until_s=[0.0] * count,
        )

    def remove(self, variable_id: int) -> CoordinatorVariable | None:
        """Remove a variable that the program has dropped; return it."""
        if variable_id not in self._by_id:
            return None
        variable = self.alone(variable_id)
        del self._by_id[variable_id]
        return variable

    def peek(self, variable_id: int) -> CoordinatorVariable:
        """Return a variable's own record; if it is in a block, as it was before that."""
        return self._by_id[variable_id]

    def mirror(self, variable_id: int) -> Array | None:
        """Return the value that every component of a variable holds; None if they may differ."""
        variable = self._by_id[variable_id]
        return variable.mirror if variable.block is None else variable.block.value(variable.slot)

    def versions(self, variable_id: int) -> list[int]:
        """Return the number of commits of each component of a variable."""
        variable = self._by_id[variable_id]
        if variable.block is None:
            return variable.versions
        return [int(variable.block.versions[variable.slot])] * self.num_replicas

    def alone(self, variable_id: int) -> CoordinatorVariable:
        """Return a variable's own record, up to date; dissolve its block, if it is in one."""
        variable = self._by_id[variable_id]
        if variable.block is not None:
            self._dissolve(variable.block)
        return variable

    def settle(self) -> None:
        """Bring all accounts up to date."""
        for block in self._blocks.values():
            self._settle(block)

    def _settle(self, block: CoordinatorBlock) -> None:
        for slot, variable_id in enumerate(block.variable_ids.tolist()):
            waited_s, size_bytes = float(block.waited_s[slot]), block.size_bytes(slot)
            account = self._by_id[variable_id].account
            account.merged(block.merges, self.num_replicas, size_bytes, waited_s)
        block.merges = 0
        block.waited_s[:] = 0

    def _dissolve(self, block: CoordinatorBlock) -> None:
        self._settle(block)
        del self._blocks[block.key]
        for slot, variable_id in enumerate(block.variable_ids.tolist()):
            member = self._by_id[variable_id]
            member.mirror = block.value(slot)
            member.versions = [int(block.versions[slot])] * self.num_replicas
            member.waited_until_s = block.waited_until_s[slot].tolist()
            member.block = None

    def block(self, variable_ids: Array) -> CoordinatorBlock | None:
        """Return the block of these variables, if the components of each are known to be equal."""
        block = self._blocks.get(variable_ids.tobytes())
        if block is not None:
            return block
        members = [self.alone(variable_id) for variable_id in variable_ids.tolist()]
        if any(member.mirror is None or len(set(member.versions)) > 1 for member in members):
            return None
        block = CoordinatorBlock(members, variable_ids)
        self._blocks[block.key] = block
        for slot, member in enumerate(members):
            member.block, member.slot = block, slot
        return block

    # ------------------------------------------------------------ commits

    def commit_all(
        self,
        variable: CoordinatorVariable,
        operation: Operation,
        value: Array,
        call_id: int = BY_PROGRAM,
        settled: int = 0,
    ) -> list[CoordinatorAction]:
        """Return the commits of an operation on all components of a variable without a block."""
        versions = [version + 1 for version in variable.versions]
        if len(set(versions)) == 1:
            variable.versions = versions
            commit = _commit(variable, versions[0], operation, value, call_id, settled)
            return self.to_all(commit)
        return [
            self.commit_to(variable, i, operation, value, call_id, settled)
            for i in range(self.num_replicas)
        ]

    def commit_to(
        self,
        variable: CoordinatorVariable,
        replica_id: int,
        operation: Operation,
        value: Array,
        call_id: int = BY_PROGRAM,
        settled: int = 0,
    ) -> Send:
        """Return the commit of an operation on one component of a variable without a block."""
        variable.versions[replica_id] += 1
        version = variable.versions[replica_id]
        return Send(replica_id, _commit(variable, version, operation, value, call_id, settled))

    def commit_block(
        self, block: CoordinatorBlock, values: Array, call_id: int, settled: int
    ) -> list[CoordinatorAction]:
        """Return the commits of new values of all variables of a block."""
        block.install(values, block.versions + 1)
        return self.to_all(
            Commit(
                call_id=call_id,
                settled=settled,
                variable_ids=block.variable_ids,
                versions=block.versions,
                operation=Operation.ASSIGN,
                value=block.values,
            )
        )

    def to_all(self, message: Commit) -> list[CoordinatorAction]:
        """Return the same message for every replica."""
        return [Send(i, message) for i in range(self.num_replicas)]

    def validate(self, specs: Iterable[int]) -> None:
        """Assert what must hold after every event."""
        assert self._by_id.keys() <= set(specs)
        for variable in self:
            mirror = self.mirror(variable.spec.variable_id)
            assert mirror is None or mirror.dtype == variable.spec.dtype
            assert (mirror is None) == bool(variable.components)
            assert variable.block is None or self._blocks[variable.block.key] is variable.block


def _commit(
    variable: CoordinatorVariable,
    version: int,
    operation: Operation,
    value: Array,
    call_id: int,
    settled: int,
) -> Commit:
    value.setflags(write=False)  # several components may share it
    return Commit(
        call_id=call_id,
        settled=settled,
        variable_ids=np.array([variable.spec.variable_id], np.int64),
        versions=np.array([version], np.int64),
        operation=operation,
        value=value,
    )
