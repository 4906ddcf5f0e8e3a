"""Store one replica's components of all variables: their values and versions."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from varsim.errors import ProtocolError, ShapeError
from varsim.protocol.buckets import PACK_LIMIT_BYTES, size_of
from varsim.protocol.limits import MAX_FRAME_BYTES, check_frame
from varsim.protocol.messages import (
    Commit,
    Component,
    ComponentCommit,
    Create,
    Fetch,
    FetchPolicyState,
    ScatterCommit,
    SetPolicyState,
    ShownPolicyState,
    Write,
)
from varsim.spec import (
    Array,
    Context,
    Operand,
    Operation,
    Rows,
    Shape,
    VariableAggregation,
    VariableSpec,
)
from varsim.sync import policies, reduce, scatter
from varsim.sync.block import Block
from varsim.sync.outbox import KnownWrite
from varsim.sync.policies.cell import Cell
from varsim.sync.replica_door import (
    check_commit,
    check_commit_of_component,
    check_commit_of_rows,
    check_create,
    check_dtypes,
    check_state,
    check_variable_ids,
    named,
)
from varsim.sync.replica_events import ReplicaWrite
from varsim.texts.refusals import RESHAPE, ShapesDiffer

_INT64: Final = np.dtype(np.int64)
_WRITES: Final = (Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB)


class WriteRule:
    """The effect of one operation on a variable in replica context, and its writes so far."""

    __slots__ = (
        "combines",
        "diverges",
        "is_compressed",
        "is_deferred",
        "is_sent",
        "joins_by",
        "known",
        "operation",
        "own",
        "refused",
        "travels",
    )

    def __init__(self, spec: VariableSpec, operation: Operation) -> None:
        cell = policies.cell(spec, Context.REPLICA, operation)
        self.operation = operation
        self.combines = cell.combines
        self.joins_by = cell.joins_by(spec.aggregation)
        self.travels = cell.is_sent  # whether a message contains each written value
        self.is_sent = cell.is_sent and not cell.writes_itself  # the outbox sends the value
        self.is_compressed = cell.combines and cell.compressor is not None  # a message has less
        self.is_deferred = cell.is_deferred
        self.diverges = cell.diverges
        self.refused = cell.refused
        self.own = cell if cell.writes_itself else None
        self.known: dict[Hashable, KnownWrite] = {}
        """Location → write; if the variable's shape can change: (location, shape) → write."""

    def learn(self, key: Hashable, write: ReplicaWrite) -> KnownWrite:
        """Store a write under a key, so that equal writes are one object."""
        entry = Write(write.variable_id, write.operation, write.value.shape, write.location)
        known = self.known[key] = KnownWrite(entry)
        return known


@dataclass(slots=True)
class ReplicaVariable:
    """One variable on this replica. Its block holds the component and the component's version.

    If another reference to the component's array may exist, the array is read-only, and a local add
    makes a new array.
    """

    spec: VariableSpec
    is_needed: bool  # whether merges use this replica's contributions
    block: Block
    slot: int = 0  # the index of the variable in its block
    shape: Shape = field(init=False)  # the shape in the spec
    rules: dict[Operation, WriteRule] = field(init=False)  # see `rule`
    is_limited: bool = field(init=False)  # whether `check_arithmetic` may refuse a write
    is_open: bool = field(init=False)  # whether an assign may change the variable's shape
    is_small: bool = field(init=False)  # whether all its writes are packed into buckets
    limits: reduce.Limits | None = field(init=False)
    own_read: Cell | None = field(init=False)  # the cell of a read, if it performs reads itself
    owed_to: int = 0  # id of the call in which this replica contributed last
    owed_index: int = -1  # index of the last contribution in this call
    coming: Array | None = None  # value of the last uncommitted assign, if the shape can change
    writes: int = 0
    reads: int = 0
    diverged: bool = False  # whether the variable was written locally since the last report
    policy_state: dict[str, Array] = field(default_factory=dict)  # see `policies.state`
    bound: int | None = field(init=False)  # see `policies.bound_of`

    def __post_init__(self) -> None:
        self.rules = {operation: WriteRule(self.spec, operation) for operation in _WRITES}
        shape, dtype = self.spec.shape, self.spec.dtype
        self.shape = shape
        is_mean = self.spec.aggregation is VariableAggregation.MEAN
        self.is_limited = dtype.kind == "b" or (is_mean and dtype.kind in "iu")
        self.is_open = None in shape
        self.is_small = not self.is_open and size_of(shape) * dtype.itemsize <= PACK_LIMIT_BYTES
        self.limits = reduce.limits_of(dtype)
        self.bound = policies.bound_of(self.spec)
        cell = policies.cell(self.spec, Context.REPLICA, Operation.READ)
        self.own_read = cell if cell.reads_itself else None

    @property
    def version(self) -> int:
        """Return the version of the last commit that this replica has applied."""
        return int(self.block.versions[self.slot])

    def rule(self, operation: Operation) -> WriteRule:
        """Return the rule of any write. The rule of a sparse write is made at its first use."""
        rule = self.rules.get(operation)
        if rule is None:
            rule = self.rules[operation] = WriteRule(self.spec, operation)
        return rule

    def component(self) -> Array:
        """Return the component. The caller must not write to the array."""
        return self.block.value(self.slot)

    def show(self) -> Array:
        """Return the component as a read-only array that never changes again."""
        return self.block.show(self.slot)

    def write_locally(self, operation: Operation, value: Array) -> None:
        """Change the component, which must be alone in its block. The caller can reuse `value`."""
        self.diverged = True
        block = self.block
        if block.is_owned and operation is not Operation.ASSIGN:
            reduce.apply_in_place(operation, block.values, value, self.limits)
        elif operation is not Operation.ASSIGN:
            block.change(reduce.apply(operation, block.values, value), is_owned=True)
        elif _is_immutable(value):
            block.change(value, is_owned=False)
        else:
            block.change(np.array(value, order="C"), is_owned=True)


def _is_immutable(value: Array) -> bool:
    """Return True if no code can write to an array's memory; then no copy is needed."""
    return not value.flags.writeable and value.base is None


class Components(Mapping[int, VariableSpec]):
    """All components of one replica. As a mapping: variable_id → spec.

    A block contains one component, or all components that one commit has changed together.
    """

    def __init__(self, replica_id: int) -> None:
        self.replica_id = replica_id
        self.variables: dict[int, ReplicaVariable] = {}
        self._blocks: dict[bytes, Block] = {}  # key of a block → block
        self._behind: list[Block] = []  # blocks whose method `catch_up` must be called

    def __getitem__(self, variable_id: int) -> VariableSpec:
        return self.find(variable_id).spec

    def __contains__(self, variable_id: object) -> bool:
        return variable_id in self.variables

    def __iter__(self) -> Iterator[int]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)

    def create(self, create: Create) -> None:
        """Add a new variable. Do nothing if the variable exists.

        Raises:
            ProtocolError: The value does not match the spec.
        """
        spec, value = create.spec, create.value
        if spec.variable_id not in self.variables:
            check_create(create)
            first_only = spec.aggregation is VariableAggregation.ONLY_FIRST_REPLICA
            is_needed = self.replica_id == 0 or not first_only
            block = self._keep(Block(np.array([spec.variable_id], np.int64), [value], [0]))
            self.variables[spec.variable_id] = ReplicaVariable(spec, is_needed, block)

    def forget(self, variable_id: int) -> None:
        """Drop a variable. No later message refers to the variable."""
        variable = self.variables.get(variable_id)
        if variable is not None:
            self.separate(variable)
            del self._blocks[variable.block.key]
            del self.variables[variable_id]

    def find(self, variable_id: int) -> ReplicaVariable:
        """Return a variable.

        Raises:
            ProtocolError: No variable has this number.
        """
        variable = self.variables.get(variable_id)
        if variable is None:
            raise ProtocolError(f"replica {self.replica_id} holds no variable {variable_id}")
        return variable

    def call_failed(self) -> None:
        """Apply each policy's rule for what it keeps beside a component after a failed call."""
        for variable in self.variables.values():
            if variable.policy_state:
                rule = policies.state_rule(variable.spec)
                assert rule is not None, "the cells of this policy keep no state"
                state = tuple(sorted(variable.policy_state.items()))
                variable.policy_state = dict(rule.after_failure(state, variable.version))

    def overwritten(self, variable_id: int, version: int) -> None:
        """Apply a policy's rule for what it keeps after the program has written a component."""
        variable = self.variables[variable_id]
        if variable.policy_state:
            rule = policies.state_rule(variable.spec)
            assert rule is not None, "the cells of this policy keep no state"
            state = tuple(sorted(variable.policy_state.items()))
            variable.policy_state = dict(rule.after_overwrite(state, version))

    def show(self, fetch: Fetch) -> Component:
        """Return the component of a variable, as the answer to a fetch."""
        variable = self.find(fetch.variable_id)
        return Component(
            request_id=fetch.request_id,
            variable_id=fetch.variable_id,
            version=variable.version,
            value=variable.block.show(variable.slot),
        )

    def show_state(self, fetch: FetchPolicyState) -> ShownPolicyState:
        """Return what the policy keeps beside a component."""
        variable = self.find(fetch.variable_id)
        state = tuple(sorted(variable.policy_state.items()))
        rule = policies.state_rule(variable.spec)
        if rule is not None:
            state = rule.carried(state)
        return ShownPolicyState(
            request_id=fetch.request_id,
            variable_id=fetch.variable_id,
            names=tuple(name for name, _ in state),
            arrays=tuple(array for _, array in state),
        )

    def set_state(self, message: SetPolicyState) -> None:
        """Replace what the policy keeps beside a component.

        Raises:
            ProtocolError: The policy cannot have this state.
        """
        variable = self.find(message.variable_id)
        state = named(message)
        check_state(variable.spec, state)
        variable.policy_state = {name: np.array(array) for name, array in state}

    def separate(self, variable: ReplicaVariable) -> Block:
        """Return a block that holds only this variable; split its current block if necessary."""
        block = variable.block
        if not block.is_single:
            del self._blocks[block.key]
            for slot, variable_id in enumerate(block.variable_ids.tolist()):
                member = self.variables[variable_id]
                number, version = np.array([variable_id], np.int64), int(block.versions[slot])
                member.block = self._keep(Block(number, [block.value(slot)], [version]))
                member.slot = 0
        return variable.block

    def commit(self, commit: Commit) -> None:
        """Apply a commit to the components that do not have it yet.

        Raises:
            ProtocolError: An earlier commit is missing.
        """
        variable_ids, block = commit.variable_ids, None
        if variable_ids.dtype == _INT64 and variable_ids.ndim == 1:
            block = self._blocks.get(variable_ids.tobytes())
        if block is None:
            check_variable_ids(variable_ids)
            block = self._unite(variable_ids)
        first = self.variables[int(block.variable_ids[0])].spec
        check_commit(commit, block, first)
        if block.precedes(commit.versions):
            value = commit.value
            if commit.operation is not Operation.ASSIGN:
                value = reduce.apply(commit.operation, block.values, value)
            block.install(value, commit.versions)
            return
        parts = zip(
            commit.variable_ids.tolist(),
            commit.versions.tolist(),
            block.split(commit.value),
            strict=True,
        )
        for variable_id, version, value in parts:
            self._commit_alone(self.variables[variable_id], version, commit.operation, value)

    def _is_next(self, variable: ReplicaVariable, version: int) -> bool:
        """Return whether a commit is the next one; False if it has already been applied.

        Raises:
            ProtocolError: An earlier commit is missing.
        """
        have = variable.version
        if version > have + 1:
            raise ProtocolError(
                f"variable {variable.spec.name!r}: commit {version} came after {have}"
            )
        return version == have + 1

    def _commit_alone(
        self, variable: ReplicaVariable, version: int, operation: Operation, value: Array
    ) -> None:
        if not self._is_next(variable, version):
            return
        block = self.separate(variable)
        block.install(reduce.apply(operation, block.values, np.array(value)), block.versions + 1)

    def commit_component(self, commit: ComponentCommit) -> None:
        """Replace the component by that of a commit, unless this version was already applied.

        Raises:
            ProtocolError: An earlier commit is missing, or the commit is not for this component.
        """
        variable = self.find(commit.variable_id)
        check_commit_of_component(commit, variable.spec, self.replica_id)
        if self._is_next(variable, commit.version):
            block = self.separate(variable)
            block.install(commit.value, block.versions + 1)

    def commit_rows(self, commit: ScatterCommit) -> None:
        """Apply the commit of a sparse write, unless this version has already been applied.

        The rows change the component in `catch_up`, or when the component is used.

        Raises:
            ProtocolError: An earlier commit is missing.
        """
        variable = self.find(commit.variable_id)
        check_commit_of_rows(commit, variable.spec, variable.block.shape(variable.slot))
        if self._is_next(variable, commit.version):
            block = self.separate(variable)
            block.scatter_later(commit.operation, commit.rows)
            block.versions = block.versions + 1
            self._behind.append(block)

    @property
    def is_behind(self) -> bool:
        """Return whether components lack committed sparse writes."""
        return bool(self._behind)

    def catch_up(self) -> None:
        """Apply committed sparse writes to the components."""
        behind, self._behind = self._behind, []
        for block in behind:
            block.catch_up()

    def _unite(self, variable_ids: Array) -> Block:
        """Put variables into one block, in this order."""
        members = [self.find(variable_id) for variable_id in variable_ids.tolist()]
        check_dtypes([member.spec for member in members])
        parts = [self.separate(member) for member in members]
        block = Block(
            variable_ids, [part.values for part in parts], [int(part.versions[0]) for part in parts]
        )
        for slot, member in enumerate(members):
            del self._blocks[member.block.key]
            member.block, member.slot = block, slot
        return self._keep(block)

    def _keep(self, block: Block) -> Block:
        self._blocks[block.key] = block
        return block

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        for variable in self.variables.values():
            assert variable.component().dtype == variable.spec.dtype
            assert variable.version >= 0
            assert self._blocks[variable.block.key] is variable.block
            assert variable.block.is_owned <= variable.block.values.flags.writeable
            assert variable.spec.variable_id == variable.block.variable_ids[variable.slot]
        assert len(self.variables) == sum(len(one.variable_ids) for one in self._blocks.values())


def check_shape(
    spec: VariableSpec, operation: Operation, shape: tuple[int, ...], value: Array
) -> None:
    """Check the shape of the value of a write; values are never broadcast.

    Args:
        shape: The shape of the component before the write.
    Raises:
        ShapeError: The shape differs from the declared shape of the variable. If the declared shape
            has unknown dimensions, the shape of an added value must equal the component's shape.
        SizeError: The value is too large to be sent.
    """
    if value.nbytes > MAX_FRAME_BYTES:
        check_frame(value.nbytes, what=f"the value of variable {spec.name!r}")
    declared = operation is Operation.ASSIGN or None not in spec.shape
    wanted = spec.shape if declared else shape
    if len(wanted) == value.ndim and all(
        size is None or size == got for size, got in zip(wanted, value.shape, strict=True)
    ):
        return
    raise ShapeError(spec.name, ShapesDiffer(operation, value.shape, wanted), RESHAPE)


def check_operand(
    spec: VariableSpec, operation: Operation, shape: tuple[int, ...], operand: Operand
) -> None:
    """Check that an operation can write an operand to a component.

    Args:
        shape: The shape of the component before the write.
    Raises:
        VariableError: See `check_rows` and `check_shape`.
    """
    if isinstance(operand, Rows):
        scatter.check_rows(spec, operation, shape, operand)
    else:
        check_shape(spec, operation, shape, operand)
