"""Perform the program's operations on variables in cross-replica context."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from typing import Any, Protocol, TypeVar, assert_never

import numpy as np

from varsim.errors import PerReplicaError, VariableError, VarsimError
from varsim.spec import (
    Array,
    Context,
    ManualOperation,
    NamedArrays,
    Operand,
    Operation,
    Rows,
    VariableSpec,
)
from varsim.sync import combining, fixes, policies, reduce, scatter
from varsim.sync.actions import (
    CoordinatorAction,
    Exchanged,
    Locate,
    ProgramDone,
    ProgramRefused,
    ProgramSynced,
    ProgramWrote,
    Send,
    Steps,
)
from varsim.sync.components import check_operand, check_shape
from varsim.sync.coordinator_events import (
    ProgramAssignComponents,
    ProgramFetch,
    ProgramFetchPublished,
    ProgramFetchStates,
    ProgramOperation,
    ProgramPull,
    ProgramPush,
    ProgramRead,
    ProgramScatter,
    ProgramSetStates,
    ProgramSync,
    ProgramWrite,
    ProgramWriteComponent,
)
from varsim.sync.manual import check_manual, check_op, operation_of
from varsim.sync.one_sided import PROGRAM, Shared
from varsim.sync.operand import applied
from varsim.sync.policies.cell import Cell, Reason
from varsim.sync.policies.legality import check_arithmetic, check_gather
from varsim.sync.replica_one_sided import check_owner
from varsim.sync.stragglers import PATIENCE_S, REMINDER_S, Stragglers, still_running
from varsim.sync.variable_registry import VariableRegistry
from varsim.sync.waits import Departure, Request, Wait
from varsim.texts.refusals import PerReplicaFromOutside

ResultT = TypeVar("ResultT")
StepsTo = Generator[CoordinatorAction | list[CoordinatorAction] | Wait, Any, ResultT]
"""A generator that performs a part of an operation: it yields actions and returns a result."""


class Engine(Protocol):
    """The parts of the coordinator's state that operations use."""

    @property
    def now_s(self) -> float:
        """Return the time of the current event."""

    @property
    def in_service(self) -> int | None:
        """Return the replica whose host call the program performs now; None outside a host call."""

    def go_on(self) -> Steps:
        """Perform all steps that are possible now; called after a request for an exchange."""

    @property
    def stragglers(self) -> Stragglers:
        """Return the replicas that still run functions of ended calls."""


def operate(event: ProgramOperation, registry: VariableRegistry, engine: Engine) -> Steps:
    """Perform the operation of an event; the last action is `ProgramDone` or `ProgramRefused`.

    The generator yields actions, or a wait if it needs messages from replicas.
    """
    on = _OnVariable(registry, engine, event.token, event.variable_id)
    values: tuple[Array, ...] = ()
    versions: tuple[int, ...] = ()
    ages_ns: tuple[int, ...] = ()
    states: tuple[NamedArrays, ...] = ()
    try:
        match event:
            case ProgramRead():
                values = ((yield from on.read()),)
                versions = (registry.version(event.variable_id, None),)
            case ProgramFetch(variable_id=number, replica_ids=replica_ids):
                values = yield from on.components(replica_ids)
                versions = tuple(registry.version(number, i) for i in replica_ids)
            case ProgramFetchStates(replica_ids=replica_ids):
                states = yield from on.states(replica_ids)
            case ProgramSetStates():
                yield registry.set_states(event.variable_id, event.states)
            case ProgramWrite():
                yield from on.write(event)
            case ProgramWriteComponent():
                yield from on.write_component(event)
            case ProgramAssignComponents():
                yield from on.assign_components(event)
            case ProgramScatter():
                yield from on.scatter(event)
            case ProgramPush():
                on.push(event)
            case ProgramSync():
                values = ((yield from on.sync(event)),)
            case ProgramPull() | ProgramFetchPublished():
                found = on.shared(event)
                values, versions = (found.value,), (found.version,)
                ages_ns = (found.age_ns(engine.now_s),)
            case _:
                assert_never(event)
    except VarsimError as error:
        yield ProgramRefused(event.token, error)
        return
    for value in values:
        value.setflags(write=False)
    yield ProgramDone(event.token, values, versions, ages_ns, states)


class _OnVariable:
    """One operation of the program on one variable."""

    def __init__(
        self, registry: VariableRegistry, engine: Engine, token: int, variable_id: int
    ) -> None:
        self._registry = registry
        self._exchanges = registry.exchanges
        self._engine = engine
        self._token = token
        self._number = variable_id
        self._spec = registry.specs[variable_id]
        self._everyone = range(registry.num_replicas)

    def _cell(self, operation: Operation) -> Cell:
        return policies.cell(self._spec, Context.CROSS_REPLICA, operation)

    # ------------------------------------------------------------ reads

    def read(self) -> StepsTo[Array]:
        """Return the value of the variable, as the policy says."""
        spec, cell = self._spec, self._cell(Operation.READ)
        registry = self._registry
        registry.count_read(self._number)
        self._require_writes()
        if cell.refused is not None:
            raise (yield from self._refusal(cell.refused, Operation.READ))
        if cell.uses_copy:
            return self._copy()
        if cell.gathers:
            check_gather(spec, len(self._everyone))
        components = yield from self.components(cell.needed(spec, len(self._everyone)))
        return cell.combined(spec, components)

    def _copy(self) -> Array:
        """Return the authoritative copy, which the coordinator keeps for the policy."""
        copy = self._registry.one_sided.copy(self._number)
        assert copy is not None, "a policy whose cells use the copy has `keeps_copy`"
        return copy

    def _write_copy(self, operation: Operation, operand: Operand) -> None:
        """Apply a write of the program to the authoritative copy, too."""
        new = np.array(applied(operation, self._copy(), operand), order="C")
        self._registry.one_sided.replace(self._number, new, self._engine.now_s)

    def _refusal(
        self, reason: Reason, operation: Operation, value: Array | None = None
    ) -> StepsTo[VariableError]:
        """Return the error for a refused operation, with the result of each fix."""
        components: tuple[Array, ...] | None = None
        if reason.shows_components and _is_small(self._spec):
            try:
                components = yield from self.components(self._everyone)
            except VarsimError:  # the error about the refusal is more important
                components = None
        return fixes.refusal(self._spec, reason, operation, components, value)

    def components(self, replica_ids: Sequence[int]) -> StepsTo[tuple[Array, ...]]:
        """Return the components of some replicas; fetch those that are not known."""
        if self._exchanges.defers(self._number):
            yield from self._exchange()
        known = self._registry.known(self._number, replica_ids)
        missing = [i for i, value in zip(replica_ids, known, strict=True) if value is None]
        others = iter((yield from self._ask(self._registry.fetch, missing)) if missing else ())
        return tuple(next(others) if value is None else value for value in known)

    def states(self, replica_ids: Sequence[int]) -> StepsTo[tuple[NamedArrays, ...]]:
        """Return what the policy keeps beside the components of some replicas."""
        answer = yield from self._ask(self._registry.fetch_states, replica_ids)
        return tuple(answer)

    def _ask(
        self,
        fetch: Callable[[int, Sequence[int], float], tuple[Request, list[CoordinatorAction]]],
        replica_ids: Sequence[int],
    ) -> StepsTo[Iterable[Any]]:
        """Return the answers of replicas to a fetch."""
        self._require(replica_ids)
        yield from await_departures(self._engine, self._token, replica_ids)
        self._require(replica_ids)  # a replica may be lost in the meantime
        request, actions = fetch(self._number, replica_ids, self._engine.now_s)
        yield actions
        yield request
        if request.error is not None:
            raise request.error
        return request.answer  # type: ignore[no-any-return]

    def _require(self, replica_ids: Sequence[int]) -> None:
        """Raise `WorkerLost` if one of these components is lost."""
        error = self._registry.loss_of(self._number, replica_ids)
        if error is not None:
            raise error

    def _require_writes(self) -> None:
        """Raise `WorkerLost` if deferred writes are lost."""
        if self._registry.losses:
            lost_writes = self._exchanges.unexchanged_writes(self._number)
            self._registry.losses.require_writes(self._spec, lost_writes)

    # ------------------------------------------------------------ writes

    def write(self, event: ProgramWrite) -> Steps:
        """Write all components, as the policy says."""
        spec, operation = self._spec, event.operation
        cell = self._cell(operation)
        if cell.refused is not None:
            raise (yield from self._refusal(cell.refused, operation, _operand(event, cell)))
        check_arithmetic(spec, operation, num_replicas=1)
        values = self._values(cell, event)
        if cell.reads_back and event.returns_value:
            reason = self._cell(Operation.READ).refused
            if reason is not None:
                raise (yield from self._refusal(reason, operation, _operand(event, cell)))
        same = not event.per_replica
        if operation is not Operation.ASSIGN and None in spec.shape:
            values = yield from self._sums(operation, values)
            operation, same = Operation.ASSIGN, False
        yield from self._to_all(operation, values, event.location, same=same)
        if cell.uses_copy:
            self._write_copy(operation, values[0])

    def _values(self, cell: Cell, event: ProgramWrite) -> Sequence[Array]:
        """Return the value to write to each component."""
        spec, count = self._spec, len(self._everyone)
        if event.per_replica and not cell.per_component:
            error = PerReplicaError(PerReplicaFromOutside(spec, event.per_replica, event.location))
            few = bool(event.values) and fixes.are_few(event.values)
            known = event.values if few else None
            raise error.fixed_by(fixes.of_parts(spec, event.operation, known))
        if event.problem is not None:
            raise event.problem
        if event.per_replica:
            return event.values
        (value,) = event.values
        if cell.shares and not event.is_indivisible:
            value = reduce.share_of(value, spec.dtype, count, spec.name)
        value.setflags(write=False)
        return [value] * count

    def _sums(self, operation: Operation, values: Sequence[Array]) -> StepsTo[list[Array]]:
        """Return the components after an add, for components whose shapes may differ.

        Raises:
            ShapeError: A component and its value have different shapes; no component changes.
        """
        before = yield from self.components(self._everyone)
        both = list(zip(before, values, strict=True))
        for component, value in both:
            check_shape(self._spec, operation, component.shape, value)
        return [reduce.apply(operation, component, value) for component, value in both]

    def write_component(self, event: ProgramWriteComponent) -> Steps:
        """Write one component directly, without applying the policy."""
        operand = event.operand
        if event.operation is Operation.ASSIGN and not isinstance(operand, Rows):
            shape = operand.shape  # not used: an assign is checked with the shape in the spec
        else:
            (shape,) = yield from self._shapes([event.replica_id])
        check_operand(self._spec, event.operation, shape, operand)
        yield from self._to_one(event.replica_id, event.operation, operand, event.location)

    def assign_components(self, event: ProgramAssignComponents) -> Steps:
        """Assign several components directly, without applying the policy."""
        if len(event.values) < len(self._everyone):
            for replica_id, value in event.values.items():
                yield from self._to_one(replica_id, Operation.ASSIGN, value, event.location)
            return
        values = [event.values[i] for i in self._everyone]
        same = all(_is_identical(value, values[0]) for value in values)
        same &= not policies.keeps_copy(self._spec)  # a write to all would also change the copy
        yield from self._to_all(Operation.ASSIGN, values, event.location, same=same)

    def _to_all(
        self, operation: Operation, values: Sequence[Array], location: str, *, same: bool
    ) -> Steps:
        registry, number = self._registry, self._number
        deferred = self._exchanges.defers(number)
        if deferred and same and operation is Operation.ASSIGN and self._engine.in_service is None:
            actions = registry.overwrite(number, values[0])  # earlier writes have no effect
        else:
            yield from self._exchange()
            actions = registry.write(number, operation, values, same=same)
        written = ((None, values[0]),) if same else tuple(enumerate(values))
        yield [ProgramWrote(number, operation, written, location), *actions]

    def _to_one(
        self, replica_id: int, operation: Operation, operand: Operand, location: str
    ) -> Steps:
        yield from self._exchange()
        action = self._registry.write_component(self._number, replica_id, operation, operand)
        yield [ProgramWrote(self._number, operation, ((replica_id, operand),), location), action]

    # ------------------------------------------------------------ sparse writes

    def scatter(self, event: ProgramScatter) -> Steps:
        """Write some rows of all components, as the policy says."""
        spec, operation, rows = self._spec, event.operation, event.rows
        cell = self._cell(operation)
        if cell.refused is not None:
            raise fixes.refusal_of_rows(spec, cell.refused, Context.CROSS_REPLICA, operation)
        if event.per_replica and not cell.per_component:
            raise PerReplicaError(PerReplicaFromOutside(spec, event.per_replica, event.location))
        yield from self._exchange()
        shapes = yield from self._shapes(self._everyone)
        for i, shape in enumerate(shapes):
            scatter.check_rows(spec, operation, shape, rows[i if event.per_replica else 0])
        actions = self._registry.scatter(self._number, operation, rows)
        ids = tuple(self._everyone) if event.per_replica else (None,)
        written = tuple((i, one) for i, one in zip(ids, rows, strict=True))
        yield [ProgramWrote(self._number, operation, written, event.location), *actions]
        if cell.uses_copy:
            self._write_copy(operation, rows[0])

    def _shapes(self, replica_ids: Sequence[int]) -> StepsTo[Sequence[tuple[int, ...]]]:
        """Return the shapes of components; fetch the components only if their shapes may differ."""
        spec = self._spec
        if None in spec.shape:
            components = yield from self.components(replica_ids)
            return [component.shape for component in components]
        return [tuple(size for size in spec.shape if size is not None)] * len(replica_ids)

    # ------------------------------------------------------------ manual operations

    def sync(self, event: ProgramSync) -> StepsTo[Array]:
        """Store the aggregate of all components, or one component, in all of them."""
        spec, how = self._spec, event.how
        check_manual(spec, operation_of(how))
        check_op(spec, how)
        members = how.group or tuple(self._everyone)
        components = yield from self.components(members)
        ((value,), *_) = combining.combined(
            how, [(one,) for one in components], [None] * len(components)
        )
        yield ProgramSynced(self._number, how, value, event.location)
        if how.group:
            for replica_id in members:
                yield from self._to_one(replica_id, Operation.ASSIGN, value, event.location)
        else:
            values = [value] * len(components)
            yield from self._to_all(Operation.ASSIGN, values, event.location, same=True)
        return value

    def push(self, event: ProgramPush) -> None:
        """Add to the authoritative copy; no replica is needed."""
        check_manual(self._spec, ManualOperation.PUSH)
        check_shape(self._spec, Operation.ASSIGN_ADD, event.delta.shape, event.delta)
        one_sided, now_s = self._registry.one_sided, self._engine.now_s
        one_sided.push(self._number, PROGRAM, event.delta, now_s)

    def shared(self, event: ProgramPull | ProgramFetchPublished) -> Shared:
        """Return the authoritative copy, or a published component; no replica is needed."""
        one_sided, now_s = self._registry.one_sided, self._engine.now_s
        if isinstance(event, ProgramPull):
            check_manual(self._spec, ManualOperation.PULL)
            return one_sided.pull(self._number, PROGRAM, now_s)
        check_manual(self._spec, ManualOperation.FETCH)
        check_owner(self._spec.name, event.replica_id, len(self._everyone))
        return one_sided.fetch(self._number, PROGRAM, event.replica_id, now_s)

    # ------------------------------------------------------------ deferred writes

    def _exchange(self) -> Steps:
        """Wait until all deferred writes to the variable are exchanged.

        After the loss of a replica there is nothing to exchange.
        """
        engine = self._engine
        if self._registry.losses:
            return
        yield from await_departures(engine, self._token, self._everyone)
        if self._registry.losses:  # a replica was lost in the meantime
            self._require_writes()
            return
        request = self._exchanges.request(self._number, engine.in_service, engine.now_s)
        if request is None:
            return
        yield from engine.go_on()
        yield request
        if request.error is not None:
            self._require_writes()  # after a loss, the error names the lost writes
            raise request.error
        yield Exchanged(self._token)


def await_departures(engine: Engine, token: int, replica_ids: Collection[int]) -> Steps:
    """Wait for a short time until replicas have left calls that the program has abandoned.

    Raises:
        StillRunning: Some replicas still run such a call after this time.
    """
    if not engine.stragglers:
        return
    asked_s = engine.now_s
    wait = Departure(engine.stragglers, replica_ids, asked_s + REMINDER_S)
    if not wait.late:
        return
    yield wait
    if wait.late:
        for replica_id, abort in engine.stragglers.reminders(replica_ids):
            yield Send(replica_id, abort)
        wait = Departure(engine.stragglers, replica_ids, asked_s + PATIENCE_S)
        yield wait
    if wait.late:
        request = Request()
        yield Locate(token, tuple(one.replica_id for one in wait.late))
        yield request
        raise still_running(wait.late, request.answer, engine.now_s)


def _operand(event: ProgramWrite, cell: Cell) -> Array | None:
    """Return the value from which fixes are computed; None if it is too large or unknown."""
    if event.per_replica or event.problem is not None or cell.shares:
        return None
    return event.values[0] if fixes.are_few(event.values) else None


def _is_small(spec: VariableSpec) -> bool:
    size = math.prod(size for size in spec.shape if size is not None)
    return None not in spec.shape and size * spec.dtype.itemsize <= fixes.FEW_BYTES


def _is_identical(value: Array, first: Array) -> bool:
    return value is first or (value.shape == first.shape and value.tobytes() == first.tobytes())
