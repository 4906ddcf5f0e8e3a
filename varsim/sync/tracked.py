"""What the coordinator knows of every variable: what its components hold, and their versions."""

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
class Tracked:
    """What the coordinator knows of one variable.

    `mirror` is what every component holds, as far as that is certain; None after something made
    them differ. While it is known, a cross-replica read needs no message, and a merge is sent as
    the value it leads to. While it is not, every replica applies the operation to its own, and
    `components` are those that are known all the same.

    While the variable is in a `block`, that knows mirror, versions and merges; see `Variables`.
    """

    account: Account
    mirror: Array | None
    versions: list[int]  # of every replica's component
    merges: bool  # whether replicas only change it together
    components: list[Array | None] = field(default_factory=list)  # while there is no mirror
    waited_until_s: list[float] = field(default_factory=list)  # by replica
    block: TrackedBlock | None = None
    slot: int = 0

    @property
    def spec(self) -> VariableSpec:
        """The variable's spec."""
        return self.account.spec

    def part(self) -> None:
        """From now on the components may differ."""
        if self.mirror is not None:
            self.components = [self.mirror] * len(self.versions)
            self.mirror = None

    def distrust(self) -> None:
        """Any component may have changed."""
        self.mirror = None
        self.components = [None] * len(self.versions)

    def learn(self, replica_id: int, value: Array) -> None:
        """A replica has told its component, while there is no mirror."""
        if self.mirror is None:
            value.setflags(write=False)
            self.components[replica_id] = value

    def apply(self, operation: Operation, value: Array) -> None:
        """An operation with the same value is applied to all components."""
        value.setflags(write=False)  # it may be what several components hold
        if operation is Operation.ASSIGN:
            self.mirror = value
            self.components = []
            return
        self.part()
        for replica_id in range(len(self.versions)):
            self.apply_to(replica_id, operation, value)

    def apply_to(self, replica_id: int, operation: Operation, value: Array) -> None:
        """An operation is applied to one component, while there is no mirror."""
        before = self.components[replica_id]
        if operation is Operation.ASSIGN:
            self.components[replica_id] = value
        elif before is not None:
            after = reduce.apply(operation, before, value)
            after.setflags(write=False)
            self.components[replica_id] = after


class TrackedBlock(Block):
    """Variables whose mirrors are merged side by side, and what that has cost since."""

    __slots__ = ("merges", "waited_s", "waited_until_s")

    def __init__(self, members: Sequence[Tracked], variable_ids: Array) -> None:
        mirrors = [member.mirror for member in members if member.mirror is not None]
        super().__init__(variable_ids, mirrors, [member.versions[0] for member in members])
        self.merges = 0
        self.waited_s: Array = np.zeros(len(members))
        self.waited_until_s: Array = np.array([member.waited_until_s for member in members])

    def wait(self, since_s: Sequence[float], now_s: float) -> None:
        """Counts how long the replicas waited for a merge, and not for an earlier one too."""
        self.merges += 1
        self.waited_s += (now_s - np.maximum(since_s, self.waited_until_s)).sum(axis=1)
        self.waited_until_s[:] = now_s


class Variables:
    """All variables of one cluster, and the commits to them.

    Variables that replicas write side by side share a block, as long as nothing happens to one of
    them alone: then one array operation and one commit serve them all.
    """

    def __init__(self, num_replicas: int) -> None:
        self.num_replicas = num_replicas
        self._tracked: dict[int, Tracked] = {}
        self._blocks: dict[bytes, TrackedBlock] = {}  # each by its key

    def __contains__(self, variable_id: object) -> bool:
        return variable_id in self._tracked

    def __iter__(self) -> Iterator[Tracked]:
        return iter(self._tracked.values())

    def add(self, spec: VariableSpec, value: Array) -> None:
        """A new variable, whose components all hold `value`."""
        value.setflags(write=False)
        count = self.num_replicas
        self._tracked[spec.variable_id] = Tracked(
            Account(spec),
            value,
            [0] * count,
            policies.merges(spec),
            waited_until_s=[0.0] * count,
        )

    def remove(self, variable_id: int) -> Tracked | None:
        """Nobody will name a variable again."""
        if variable_id not in self._tracked:
            return None
        tracked = self.alone(variable_id)
        del self._tracked[variable_id]
        return tracked

    def peek(self, variable_id: int) -> Tracked:
        """What is known of a variable; of one in a block, what was known before."""
        return self._tracked[variable_id]

    def mirror(self, variable_id: int) -> Array | None:
        """What every component of a variable holds, or None if they may differ."""
        tracked = self._tracked[variable_id]
        return tracked.mirror if tracked.block is None else tracked.block.value(tracked.slot)

    def versions(self, variable_id: int) -> list[int]:
        """How many commits each component of a variable has had."""
        tracked = self._tracked[variable_id]
        if tracked.block is None:
            return tracked.versions
        return [int(tracked.block.versions[tracked.slot])] * self.num_replicas

    def alone(self, variable_id: int) -> Tracked:
        """What is known of a variable, after its block is no more, if it was in one."""
        tracked = self._tracked[variable_id]
        if tracked.block is not None:
            self._dissolve(tracked.block)
        return tracked

    def settle(self) -> None:
        """Brings all accounts up to date."""
        for block in self._blocks.values():
            self._settle(block)

    def _settle(self, block: TrackedBlock) -> None:
        for slot, variable_id in enumerate(block.variable_ids.tolist()):
            waited_s, size_bytes = float(block.waited_s[slot]), block.size_bytes(slot)
            account = self._tracked[variable_id].account
            account.merged(block.merges, self.num_replicas, size_bytes, waited_s)
        block.merges = 0
        block.waited_s[:] = 0

    def _dissolve(self, block: TrackedBlock) -> None:
        self._settle(block)
        del self._blocks[block.key]
        for slot, variable_id in enumerate(block.variable_ids.tolist()):
            member = self._tracked[variable_id]
            member.mirror = block.value(slot)
            member.versions = [int(block.versions[slot])] * self.num_replicas
            member.waited_until_s = block.waited_until_s[slot].tolist()
            member.block = None

    def block(self, variable_ids: Array) -> TrackedBlock | None:
        """The block of these variables, if their components are all known to be alike."""
        block = self._blocks.get(variable_ids.tobytes())
        if block is not None:
            return block
        members = [self.alone(variable_id) for variable_id in variable_ids.tolist()]
        if any(member.mirror is None or len(set(member.versions)) > 1 for member in members):
            return None
        block = TrackedBlock(members, variable_ids)
        self._blocks[block.key] = block
        for slot, member in enumerate(members):
            member.block, member.slot = block, slot
        return block

    # ------------------------------------------------------------ commits

    def commit_all(
        self,
        tracked: Tracked,
        operation: Operation,
        value: Array,
        call_id: int = BY_PROGRAM,
        settled: int = 0,
    ) -> list[CoordinatorAction]:
        """The same operation on all components of a variable that is alone."""
        versions = [version + 1 for version in tracked.versions]
        if len(set(versions)) == 1:
            tracked.versions = versions
            commit = _commit(tracked, versions[0], operation, value, call_id, settled)
            return self.to_all(commit)
        return [
            self.commit_to(tracked, i, operation, value, call_id, settled)
            for i in range(self.num_replicas)
        ]

    def commit_to(
        self,
        tracked: Tracked,
        replica_id: int,
        operation: Operation,
        value: Array,
        call_id: int = BY_PROGRAM,
        settled: int = 0,
    ) -> Send:
        """An operation on one component of a variable that is alone."""
        tracked.versions[replica_id] += 1
        version = tracked.versions[replica_id]
        return Send(replica_id, _commit(tracked, version, operation, value, call_id, settled))

    def commit_block(
        self, block: TrackedBlock, values: Array, call_id: int, settled: int
    ) -> list[CoordinatorAction]:
        """New values of all variables of a block."""
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
        """One message, the same for every replica."""
        return [Send(i, message) for i in range(self.num_replicas)]

    def validate(self, specs: Iterable[int]) -> None:
        """Asserts what must hold after every event."""
        assert self._tracked.keys() <= set(specs)
        for tracked in self:
            mirror = self.mirror(tracked.spec.variable_id)
            assert mirror is None or mirror.dtype == tracked.spec.dtype
            assert (mirror is None) == bool(tracked.components)
            assert tracked.block is None or self._blocks[tracked.block.key] is tracked.block


def _commit(
    tracked: Tracked, version: int, operation: Operation, value: Array, call_id: int, settled: int
) -> Commit:
    value.setflags(write=False)  # it may be what several components hold
    return Commit(
        call_id=call_id,
        settled=settled,
        variable_ids=np.array([tracked.spec.variable_id], np.int64),
        versions=np.array([version], np.int64),
        operation=operation,
        value=value,
    )
