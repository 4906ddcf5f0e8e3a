"""The program's operations on variables: their events, and their effects on the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, assert_never

from tests.properties.bare_cluster import rows_of
from tests.properties.operation_model import (
    BareComponentScatter,
    BareComponentWrite,
    BareFetch,
    BareProgramScatter,
    BareProgramWrite,
)
from tests.properties.steps import CrossRead
from tests.seeded.model import Model, ModelCall
from tests.seeded.programs import LOCAL, NONE, ON_READ, SUM, AssignComponents
from tests.seeded.worlds import Operand, Variable
from varsim.errors import (
    AggregationError,
    CallTimeout,
    ContextError,
    MismatchError,
    OperationError,
    StillRunning,
    SynchronizationError,
    VarsimError,
    WorkerLost,
)
from varsim.spec import Operation, VariableSpec
from varsim.sync.actions import ProgramDone
from varsim.sync.coordinator_events import (
    ProgramAssignComponents,
    ProgramFetch,
    ProgramOperation,
    ProgramRead,
    ProgramScatter,
    ProgramWrite,
    ProgramWriteComponent,
)

BareDoing = (
    CrossRead
    | AssignComponents
    | BareFetch
    | BareProgramWrite
    | BareComponentWrite
    | BareProgramScatter
    | BareComponentScatter
)


class Operations:
    """Translates operations into events of the coordinator's state, and checks their answers."""

    def __init__(self, specs: Sequence[VariableSpec], model: Model, counts: Counter[str]) -> None:
        self._specs = specs
        self._model = model
        self._counts = counts
        self.failure_of_call: VarsimError | None = None  # operations may end with it, too
        self._made: tuple[ProgramOperation, BareDoing, int | None] | None = None

    def reads(self, index: int) -> Iterator[BareDoing]:
        """Yield fetches of all components and of each component, and a read by the policy."""
        yield BareFetch(index, tuple(range(self._model.count)))
        for i in range(self._model.count):
            yield BareFetch(index, (i,))
        yield CrossRead(index)

    def event(self, doing: BareDoing, reader: int | None) -> ProgramOperation:
        """Return the event of an operation.

        Args:
            reader: The replica that has requested the operation; None for the program.
        """
        event = self._event(doing)
        self._made = event, doing, reader
        return event

    def origin(self, event: ProgramOperation) -> tuple[BareDoing, int | None]:
        """Return the operation and the reader of an event; varsim itself makes events, too."""
        if self._made is not None and self._made[0] is event:
            return self._made[1:]
        index = event.variable_id - 1
        match event:
            case ProgramFetch(replica_ids=replica_ids):
                return BareFetch(index, tuple(replica_ids)), None
            case ProgramAssignComponents(values=values):
                return AssignComponents(index, dict(values)), None
            case _:
                raise AssertionError(event)

    def _event(self, doing: BareDoing) -> ProgramOperation:
        number = doing.variable + 1
        match doing:
            case CrossRead():
                return ProgramRead(number)
            case BareFetch(replica_ids=replica_ids):
                return ProgramFetch(number, replica_ids)
            case BareProgramWrite(operation=operation, values=values):
                return ProgramWrite(number, operation, (values[0].copy(),))
            case BareComponentWrite(replica_id=i, operation=operation, value=value):
                return ProgramWriteComponent(number, i, operation, value.copy())
            case BareProgramScatter(operation=operation, rows=rows):
                return ProgramScatter(number, operation, (rows_of(rows[0]),))
            case BareComponentScatter(replica_id=i, operation=operation, rows=own):
                return ProgramWriteComponent(number, i, operation, rows_of(own))
            case AssignComponents(values=each):
                values_of = {i: value.copy() for i, value in each.items()}
                return ProgramAssignComponents(number, values_of)
            case _:
                assert_never(doing)

    def done(self, doing: BareDoing, done: ProgramDone, reader: int | None) -> None:
        """Check the answer of an operation, and record its effect."""
        variable = self._model.variables[doing.variable]
        assert not self._is_refused(variable, doing), f"{doing} is not refused"
        self._counts[f"program: {type(doing).__name__}"] += 1
        match doing:
            case CrossRead():
                self._model.read_by_program(variable, done.values[0], reader)
            case BareFetch(replica_ids=replica_ids):
                self._model.fetched(variable, replica_ids, done.values, reader)
            case _:
                writes = self._writes(variable, doing)
                self._model.written_by_program(variable, writes, reader)

    def _writes(self, variable: Variable, doing: Any) -> dict[int, tuple[Operation, Operand]]:
        """Return the effect of a write: replica_id → write of its component."""
        count = self._model.count
        match doing:
            case BareProgramWrite(operation=operation, values=(value,)):
                spec = variable.spec
                if spec.synchronization is ON_READ and spec.aggregation is SUM:
                    value = (value / count).astype(value.dtype)  # each component's part of the sum
                return dict.fromkeys(range(count), (operation, value))
            case BareComponentWrite(replica_id=i, operation=operation, value=value):
                return {i: (operation, value)}
            case BareProgramScatter(operation=operation, rows=(own,)):
                return dict.fromkeys(range(count), (operation, own))
            case BareComponentScatter(replica_id=i, operation=operation, rows=own):
                return {i: (operation, own)}
            case AssignComponents(values=each):
                return {i: (Operation.ASSIGN, value) for i, value in each.items()}
            case _:
                raise AssertionError(doing)

    # ------------------------------------------------------------ refusals

    def _is_refused(self, variable: Variable, doing: BareDoing) -> bool:
        """Return whether the policy refuses an operation."""
        synchronization, aggregation = variable.spec.synchronization, variable.spec.aggregation
        if isinstance(doing, CrossRead):
            return synchronization is LOCAL or (synchronization is ON_READ and aggregation is NONE)
        if isinstance(doing, BareProgramWrite) and doing.operation is not Operation.ASSIGN:
            return synchronization is ON_READ and aggregation is SUM
        return False

    def refused(
        self, doing: BareDoing, error: VarsimError, reader: int | None, *, lost_before: bool
    ) -> None:
        """Check the error of a refused operation."""
        variable = self._model.variables[doing.variable]
        self._counts[f"refused: {type(error).__name__}"] += 1
        match error:
            case CallTimeout():
                assert self._model.lost >= {*error.replica_ids}, error
            case WorkerLost() if not lost_before:
                assert self._model.lost, error
            case WorkerLost():
                assert self._needs_lost(variable, doing), error
            case StillRunning():
                pass  # `SeededCluster` checks this error
            case MismatchError():
                is_from_call = error is self.failure_of_call
                assert is_from_call or self._model.may_be_uneven(variable, reader), error
            case ContextError():
                assert variable.is_deferred, error
            case AggregationError() | OperationError() | SynchronizationError():
                assert self._is_refused(variable, doing), error
            case _:
                raise AssertionError(f"{doing} is refused") from error

    def _needs_lost(self, variable: Variable, doing: BareDoing) -> bool:
        """Return whether an operation can need a lost replica."""
        if isinstance(doing, BareFetch):
            return not variable.merges and any(i in self._model.lost for i in doing.replica_ids)
        if isinstance(doing, CrossRead) and variable.merges:
            return any(any(world.written) for world in variable.worlds)
        return bool(self._model.lost)

    def is_uneven(self, call: ModelCall) -> bool:
        """Return whether the replicas have made different deferred writes."""
        return any(
            self._model.may_be_uneven(variable, None) for variable in self._model.variables.values()
        )
