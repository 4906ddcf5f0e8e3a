"""Store what the coordinator knows of every variable: the components' values and versions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from varsim.protocol.messages import BY_PROGRAM, Commit, ComponentCommit, ScatterCommit
from varsim.spec import Array, Operand, Operation, Rows, VariableSpec
from varsim.sync import policies
from varsim.sync.actions import CoordinatorAction, Send
from varsim.sync.block import Block
from varsim.sync.operand import applied
from varsim.sync.policies.cell import Cell
from varsim.sync.statistics import Account


class CoordinatorBlock(Block):
    """Variables that are merged together as one array, and the cost of these merges.

    `values` contains the mirrors: the values that all components are known to hold. While a
    variable has a mirror, a cross-replica read needs no message, and a commit contains the new
    value.

    A block of one variable can be without a mirror. Then the components may differ, and a commit
    contains the operand, which every replica applies to its own component. `components` contains
    the components that the coordinator knows. The attribute `values` then does not exist, so that
    code that reads it raises an error.
    """

    __slots__ = (
        "components",
        "contributions",
        "merges",
        "num_replicas",
        "own_commits",
        "waited_s",
        "waited_until_s",
    )

    def __init__(
        self,
        variable_ids: Array,
        mirrors: Sequence[Array],
        versions: Sequence[int],
        waited_until_s: Sequence[float],
        num_replicas: int,
    ) -> None:
        super().__init__(variable_ids, mirrors, versions)
        self.num_replicas = num_replicas
        self.components: list[Array | None] = []  # one per replica; empty if there is a mirror
        self.own_commits: list[
            int
        ] = []  # number of additional commits of each replica; empty if all numbers are equal
        self.waited_until_s: Array = np.array(waited_until_s)  # each variable's last merge
        self.merges = 0  # number of merges that the accounts do not contain yet
        self.contributions = 0  # number of contributions to these merges
        self.waited_s: Array = np.zeros(len(mirrors))  # each variable's waits in these merges

    # ------------------------------------------------------------ values

    def mirror(self, slot: int = 0) -> Array | None:
        """Return the value of all components of a variable; None if the components may differ."""
        return None if self.components else self.value(slot)

    def diverge(self) -> None:
        """Record that the components may differ from now on."""
        if not self.components:
            self.components = [self.show(0)] * self.num_replicas
            del self._values

    def distrust(self) -> None:
        """Record that every component may have changed."""
        self.diverge()
        self.components = [None] * self.num_replicas

    def distrust_one(self, replica_id: int) -> None:
        """Record that one component may have changed."""
        self.diverge()
        self.components[replica_id] = None

    def learn(self, replica_id: int, value: Array) -> None:
        """Store a component that a replica has sent, unless there is a mirror."""
        if self.components:
            value.setflags(write=False)
            self.components[replica_id] = value

    def apply(self, operation: Operation, value: Array) -> None:
        """Apply an operation with the same value to all components."""
        if operation is Operation.ASSIGN:
            self.components = []
            self.install(value, self.versions)
            return
        value.setflags(write=False)  # several components may share the array
        for replica_id in range(self.num_replicas):
            self.apply_to(replica_id, operation, value)

    def apply_to(self, replica_id: int, operation: Operation, operand: Operand) -> None:
        """Apply an operation to one component, which may then differ from the other components."""
        self.diverge()
        before = self.components[replica_id]
        if operation is Operation.ASSIGN and not isinstance(operand, Rows):
            self.components[replica_id] = operand
        elif before is not None:
            after = applied(operation, before, operand)
            after.setflags(write=False)
            self.components[replica_id] = after

    def scatter(self, operation: Operation, rows: Rows) -> None:
        """Apply the same sparse write to all components of a block of one variable.

        A mirror is changed only in `catch_up`, so that the commits can be sent first.
        """
        if not self.components:
            self.scatter_later(operation, rows)
            return
        for replica_id in range(self.num_replicas):
            self.apply_to(replica_id, operation, rows)

    def bytes_of_one(self) -> int:
        """Return the size of a component in a block of one variable; 0 if no component is known."""
        known = [self._values] if not self.components else self.components
        return next((one.nbytes for one in known if one is not None), 0)

    # ------------------------------------------------------------ commits

    def versions_of(self, replica_id: int) -> Array:
        """Return the versions of one replica's components."""
        return self.versions + self.own_commits[replica_id] if self.own_commits else self.versions

    def commit_all(
        self, operation: Operation, operand: Operand, call_id: int = BY_PROGRAM, settled: int = 0
    ) -> list[CoordinatorAction]:
        """Return the commits of an operation on all components of the block."""
        self.versions = self.versions + 1  # a new array, because messages refer to the old array
        if self.own_commits:
            return [
                Send(i, self._commit(i, operation, operand, call_id, settled))
                for i in range(self.num_replicas)
            ]
        commit = self._commit(0, operation, operand, call_id, settled)
        return [Send(i, commit) for i in range(self.num_replicas)]

    def exchange(
        self, components: Sequence[Array], call_id: int, settled: int
    ) -> list[CoordinatorAction]:
        """Give each component of a block of one variable a new value; return the commits.

        Args:
            components: The new components in replica order, which must not change afterwards.
        """
        self.diverge()
        self.components = list(components)
        self.versions = self.versions + 1  # a new array, because messages refer to the old array
        return [
            Send(
                i,
                ComponentCommit(
                    call_id=call_id,
                    settled=settled,
                    variable_id=int(self.variable_ids[0]),
                    replica_id=i,
                    version=int(self.versions_of(i)[0]),
                    value=component,
                ),
            )
            for i, component in enumerate(components)
        ]

    def commit_to(self, replica_id: int, operation: Operation, operand: Operand) -> Send:
        """Return the commit of an operation by the program on one component."""
        if not self.own_commits:
            self.own_commits = [0] * self.num_replicas
        self.own_commits[replica_id] += 1
        commit = self._commit(replica_id, operation, operand, BY_PROGRAM, 0)
        if len(set(self.own_commits)) == 1:  # all components have the same version again
            self.versions, self.own_commits = self.versions_of(0), []
        return Send(replica_id, commit)

    def _commit(
        self, replica_id: int, operation: Operation, operand: Operand, call_id: int, settled: int
    ) -> Commit | ScatterCommit:
        versions = self.versions_of(replica_id)
        if isinstance(operand, Rows):
            for array in (operand.indices, operand.values):
                array.setflags(write=False)  # several components may share the array
            return ScatterCommit(
                call_id=call_id,
                settled=settled,
                variable_id=int(self.variable_ids[0]),
                version=int(versions[0]),
                operation=operation,
                rows=operand,
            )
        operand.setflags(write=False)  # several components may share the array
        return Commit(
            call_id=call_id,
            settled=settled,
            variable_ids=self.variable_ids,
            versions=versions,
            operation=operation,
            value=operand,
        )

    # ------------------------------------------------------------ costs

    def merged(self, since_s: Sequence[float], now_s: float) -> None:
        """Count a merge of the whole block, and the time that the replicas have waited for it.

        Time that has already been counted for an earlier merge of a variable is not counted again.

        Args:
            since_s: The time at which each replica of the call arrived.
        """
        self.merges += 1
        self.contributions += len(since_s)
        waited_s = now_s - np.maximum(np.array(since_s)[:, np.newaxis], self.waited_until_s)
        self.waited_s += waited_s.sum(axis=0)
        self.waited_until_s[:] = now_s

    def wait(self, since_s: Sequence[float], now_s: float) -> float:
        """Return the time that the replicas have waited for a merge of a block of one variable."""
        until_s = float(self.waited_until_s[0])
        self.waited_until_s[0] = now_s
        return sum([now_s - max(at_s, until_s) for at_s in since_s])


@dataclass(slots=True)
class CoordinatorVariable:
    """The coordinator's knowledge of one variable. Its block holds the components' values."""

    account: Account
    merges: bool  # whether replicas change their components only together, by merges or one copy
    exchange: Cell | None  # the cell that computes the merges, if they are not reductions
    block: CoordinatorBlock
    slot: int = 0  # the index of the variable in its block
    renews: bool = False  # whether replicas have caches of the mirror, which they renew themselves
    agreed: Array | None = None  # the value of the last exchange, if replicas send changes since it

    @property
    def spec(self) -> VariableSpec:
        """Return the spec of the variable."""
        return self.account.spec

    @property
    def mirror(self) -> Array | None:
        """Return the value of all components; None if the components may differ."""
        return self.block.mirror(self.slot)

    def component(self, replica_id: int) -> Array | None:
        """Return a component; None if it is not known. The array never changes again."""
        components = self.block.components
        return components[replica_id] if components else self.block.show(self.slot)

    def version(self, replica_id: int) -> int:
        """Return the version of a component."""
        return int(self.block.versions_of(replica_id)[self.slot])


class CoordinatorVariables:
    """All variables of one cluster, each in one block.

    Variables that replicas write together share a block. A merge needs one array operation and one
    commit for the whole block. If a write changes only one variable of the block, this variable
    gets its own block. The other variables stay in the old block, but the old block is no longer
    merged as one array. The next merge of all these variables makes a new block.
    """

    def __init__(self, num_replicas: int) -> None:
        self.num_replicas = num_replicas
        self.by_id: dict[int, CoordinatorVariable] = {}
        self.behind: list[CoordinatorBlock] = []  # blocks whose method `catch_up` must be called
        self._merged: dict[bytes, CoordinatorBlock] = {}  # key → block of several variables

    def add(self, spec: VariableSpec, value: Array) -> None:
        """Add a variable. All its components hold `value`."""
        value.setflags(write=False)
        number = np.array([spec.variable_id], np.int64)
        block = CoordinatorBlock(number, [value], [0], [0.0], self.num_replicas)
        renews, exchange = policies.bound_of(spec) is not None, policies.exchange_of(spec)
        merges = renews or policies.merges(spec)
        variable = CoordinatorVariable(Account(spec), merges, exchange, block, renews=renews)
        self.by_id[spec.variable_id] = variable

    def remove(self, variable_id: int) -> CoordinatorVariable | None:
        """Remove a variable that the program has dropped; return it."""
        variable = self.by_id.get(variable_id)
        if variable is not None:
            self._retire(variable.block)
            del self.by_id[variable_id]
        return variable

    def separate(self, variable: CoordinatorVariable) -> CoordinatorBlock:
        """Return a block that holds only this variable; remove the variable from a larger block."""
        if not variable.block.is_single:
            self._retire(variable.block)
            number = np.array([variable.spec.variable_id], np.int64)
            variable.block, variable.slot = self._block_of(number, [variable]), 0
        return variable.block

    def scatter(
        self,
        block: CoordinatorBlock,
        operation: Operation,
        rows: Rows,
        call_id: int = BY_PROGRAM,
        settled: int = 0,
    ) -> list[CoordinatorAction]:
        """Apply the same sparse write to all components of one variable; return its commits."""
        block.scatter(operation, rows)
        self.behind.append(block)
        return block.commit_all(operation, rows, call_id, settled)

    def unite(self, variable_ids: Array) -> CoordinatorBlock | None:
        """Return one block of these variables.

        Return None if components of a variable may differ, or if a cell computes its merges.
        """
        block = self._merged.get(variable_ids.tobytes())
        if block is not None:
            return block
        members = [self.by_id[variable_id] for variable_id in variable_ids.tolist()]
        if any(
            member.block.components or member.block.own_commits or member.exchange is not None
            for member in members
        ):
            return None
        for member in members:
            self._retire(member.block)
        block = self._block_of(variable_ids, members)
        for slot, member in enumerate(members):
            member.block, member.slot = block, slot
        self._merged[block.key] = block
        return block

    def _block_of(
        self, variable_ids: Array, members: Sequence[CoordinatorVariable]
    ) -> CoordinatorBlock:
        return CoordinatorBlock(
            variable_ids,
            [member.block.value(member.slot) for member in members],
            [int(member.block.versions[member.slot]) for member in members],
            [float(member.block.waited_until_s[member.slot]) for member in members],
            self.num_replicas,
        )

    def _retire(self, block: CoordinatorBlock) -> None:
        """Stop merging a block as one array. The variables stay in the block."""
        if block.key in self._merged:
            self._settle(block)
            del self._merged[block.key]

    def settle(self) -> None:
        """Add the merges of all blocks to the accounts of the variables."""
        for block in self._merged.values():
            self._settle(block)

    def _settle(self, block: CoordinatorBlock) -> None:
        each = zip(block.variable_ids.tolist(), block.waited_s.tolist(), strict=True)
        for slot, (variable_id, waited_s) in enumerate(each):
            account, size_bytes = self.by_id[variable_id].account, block.size_bytes(slot)
            account.merged(
                block.merges, block.contributions, self.num_replicas, size_bytes, waited_s
            )
        block.merges = block.contributions = 0
        block.waited_s[:] = 0

    def validate(self, specs: Iterable[int]) -> None:
        """Assert the conditions that hold after every event."""
        assert self.by_id.keys() <= set(specs)
        for variable_id, variable in self.by_id.items():
            block, mirror = variable.block, variable.mirror
            assert variable_id == variable.spec.variable_id == block.variable_ids[variable.slot]
            assert mirror is None or mirror.dtype == variable.spec.dtype
            assert (mirror is None) != hasattr(block, "values")
            assert block.is_single or not (block.components or block.own_commits)
            assert not block.own_commits or len(set(block.own_commits)) > 1
            assert not block.merges or self._merged[block.key] is block
        for block in self._merged.values():
            assert len(block.variable_ids) > 1
            assert all(self.by_id[i].block is block for i in block.variable_ids.tolist())
