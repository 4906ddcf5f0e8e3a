"""One replica's components of all variables: what they hold, and which commits they have."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from varsim.errors import ProtocolError, ShapeError
from varsim.protocol.buckets import PACK_LIMIT_BYTES, size_of
from varsim.protocol.messages import Commit, Write
from varsim.spec import Array, Context, Operation, VariableAggregation, VariableSpec
from varsim.sync import policies, reduce
from varsim.sync.block import Block
from varsim.sync.outbox import KnownWrite
from varsim.sync.replica_events import ReplicaWrite

if TYPE_CHECKING:
    from collections.abc import Iterable

_WRITES: Final = (Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB)


class Way:
    """How one operation changes a variable in replica context, and where it has done so."""

    __slots__ = ("combines", "diverges", "is_deferred", "is_sent", "known", "operation", "own")

    def __init__(self, spec: VariableSpec, operation: Operation) -> None:
        cell = policies.cell(spec, Context.REPLICA, operation)
        self.operation = operation
        self.combines = cell.combines
        self.is_sent = cell.is_sent
        self.is_deferred = cell.is_deferred
        self.diverges = cell.diverges
        self.own = cell if cell.writes_itself else None
        self.known: dict[Hashable, KnownWrite] = {}  # by location, and by shape if that is open

    def learn(self, key: Hashable, write: ReplicaWrite) -> KnownWrite:
        """Remember a write under a key, to tell it from others by identity."""
        entry = Write(write.variable_id, write.operation, write.value.shape, write.location)
        known = self.known[key] = KnownWrite(entry)
        return known


@dataclass(slots=True)
class Held:
    """This replica's component of one variable.

    `value` is never written to once somebody else may look at it: then it is read-only, and a
    local add makes a new array. While the variable is in a `block`, that knows better.
    """

    spec: VariableSpec
    value: Array
    is_needed: bool  # what is contributed here counts
    ways: dict[Operation, Way] = field(init=False)
    is_bool: bool = field(init=False)
    is_open: bool = field(init=False)  # whether an assign may change its shape
    is_small: bool = field(init=False)  # whatever is written to it is packed with other values
    version: int = 0  # of the last commit that was applied here
    block: Block | None = None  # together with others that are always written together
    slot: int = 0  # the place in the block
    owed_to: int = 0  # the call of the last contribution, …
    owed_index: int = -1  # … and its index
    coming: Array | None = None  # what was last assigned, if its shape may be new
    writes: int = 0
    reads: int = 0
    parted: bool = False
    local_writes: int = 0  # since the last exchange, if the policy counts them

    def __post_init__(self) -> None:
        self.ways = {operation: Way(self.spec, operation) for operation in _WRITES}
        self.is_bool = self.spec.dtype.kind == "b"
        shape, itemsize = self.spec.shape, self.spec.dtype.itemsize
        self.is_open = None in shape
        self.is_small = not self.is_open and size_of(shape) * itemsize <= PACK_LIMIT_BYTES

    def component(self) -> Array:
        """The value; the caller does not write to it."""
        block = self.block
        if block is not None and self.version != block.versions[self.slot]:
            self.value = block.value(self.slot)
            self.version = int(block.versions[self.slot])
        return self.value

    def write_locally(self, operation: Operation, value: Array) -> None:
        """Changes this component alone. The caller keeps the array that it gives."""
        self.parted = True
        if operation is Operation.ASSIGN:
            self.value = value if _is_nobodys(value) else np.array(value, order="C")
        elif self.value.flags.writeable:
            reduce.apply_in_place(operation, self.value, value)
        else:
            self.value = reduce.apply(operation, self.value, value)

    def show(self) -> Array:
        """The value for somebody who may keep it: read-only from now on, and the same for ever."""
        value = self.component()
        value.setflags(write=False)
        return value


def _is_nobodys(value: Array) -> bool:
    """Whether nobody can write to an array's memory, so that it need not be copied."""
    return not value.flags.writeable and value.base is None


class Components(Mapping[int, VariableSpec]):
    """All components of one replica; as a mapping, their specs by variable_id."""

    def __init__(self, replica_id: int) -> None:
        self.replica_id = replica_id
        self.held: dict[int, Held] = {}
        self._blocks: dict[bytes, Block] = {}  # each by its key

    def __getitem__(self, variable_id: int) -> VariableSpec:
        return self.find(variable_id).spec

    def __contains__(self, variable_id: object) -> bool:
        return variable_id in self.held

    def __iter__(self) -> Iterator[int]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)

    def create(self, spec: VariableSpec, value: Array) -> None:
        """A new variable; one that is already here stays as it is."""
        if spec.variable_id not in self.held:
            first_only = spec.aggregation is VariableAggregation.ONLY_FIRST_REPLICA
            is_needed = self.replica_id == 0 or not first_only
            self.held[spec.variable_id] = Held(spec, value, is_needed)

    def forget(self, variable_id: int) -> None:
        """Nobody will name a variable again."""
        held = self.held.get(variable_id)
        if held is not None:
            self.alone(held)
            del self.held[variable_id]

    def find(self, variable_id: int) -> Held:
        """The component of a variable.

        Raises:
            ProtocolError: There is none here.
        """
        held = self.held.get(variable_id)
        if held is None:
            raise ProtocolError(f"replica {self.replica_id} holds no variable {variable_id}")
        return held

    def alone(self, held: Held) -> Held:
        """The component, after its block is no more, if it was in one: it will change alone."""
        block = held.block
        if block is not None:
            del self._blocks[block.key]
            for variable_id in block.variable_ids.tolist():
                member = self.held[variable_id]
                member.component()
                member.block = None
        return held

    def commit(self, commit: Commit) -> None:
        """Applies a commit to the components that do not have it yet.

        Raises:
            ProtocolError: An earlier commit never came.
        """
        if len(commit.variable_ids) > 1:
            self._commit_together(commit)
            return
        held = self.find(int(commit.variable_ids[0]))
        self._apply(held, int(commit.versions[0]), commit.operation, commit.value)

    def _apply(self, held: Held, version: int, operation: Operation, value: Array) -> None:
        self.alone(held)
        if version <= held.version:
            return
        if version != held.version + 1:
            raise ProtocolError(
                f"variable {held.spec.name!r}: commit {version} came after {held.version}"
            )
        held.value = reduce.apply(operation, held.value, value)
        held.version = version

    def _commit_together(self, commit: Commit) -> None:
        block = self._blocks.get(commit.variable_ids.tobytes())
        if block is None:
            block = self._assemble(commit.variable_ids)
        if np.array_equal(commit.versions, block.versions + 1):
            block.install(commit.value, commit.versions)
            return
        members = [self.held[variable_id] for variable_id in commit.variable_ids.tolist()]
        values = block.split(commit.value)
        for held, version, value in zip(members, commit.versions.tolist(), values, strict=True):
            self._apply(held, version, commit.operation, np.array(value))

    def _assemble(self, variable_ids: Array) -> Block:
        members = [self.alone(self.find(variable_id)) for variable_id in variable_ids.tolist()]
        values = [held.value for held in members]
        block = Block(variable_ids, values, [held.version for held in members])
        self._blocks[block.key] = block
        for slot, held in enumerate(members):
            held.block, held.slot = block, slot
        return block

    def validate(self) -> None:
        """Asserts what must hold after every event."""
        for held in self.held.values():
            assert held.component().dtype == held.spec.dtype
            assert held.version >= 0
            assert held.block is None or self._blocks[held.block.key] is held.block


def check_shape(spec: VariableSpec, operation: Operation, component: Array, value: Array) -> None:
    """Refuses a value whose shape does not fit; an assign never broadcasts.

    Raises:
        ShapeError: The shape differs from the variable's, or for an add from the component's.
    """
    declared = operation is Operation.ASSIGN or None not in spec.shape
    wanted = spec.shape if declared else component.shape
    if len(wanted) == value.ndim and all(
        size is None or size == got for size, got in zip(wanted, value.shape, strict=True)
    ):
        return
    raise ShapeError(
        spec.name,
        f"{operation.value} of a value of shape {list(value.shape)} "
        f"to a variable of shape {describe_shape(wanted)}: shapes must be equal",
        "Nothing is broadcast; reshape the value, or use numpy.broadcast_to.",
    )


def describe_shape(shape: Iterable[int | None]) -> str:
    """A shape as people write it: [3, ?]."""
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
