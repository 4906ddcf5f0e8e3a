"""Play a recorded program in the simulated cluster, under any settings, without processes.

The operations use the public interface. They are called with the program's recorded locations, so
errors of varsim and the record of the replay have these locations.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import numpy as np

import varsim as tf
from varsim.distribute.rescue import is_private
from varsim.errors import ConfigError, OperationError, ShapeError, VariableError, VarsimError
from varsim.spec import SCATTERS, Array, Context, Operation, Rows
from varsim.sync import policies
from varsim.sync.statistics import VariableStatistics
from varsim.texts.refusals import Refused
from varsim.tracing.history import VariableRow
from varsim.tracing.kinds import OWN
from varsim.tracing.progress import Tell
from varsim.tracing.trace import TraceOptions
from varsim.whatif.meetings import NOTHING, Meetings, group_of
from varsim.whatif.recorded import (
    RecordedAction,
    RecordedArrival,
    RecordedCall,
    RecordedCreate,
    RecordedForget,
    RecordedManual,
    RecordedProgram,
    RecordedRead,
    RecordedRequest,
    RecordedWrite,
    ReplicaAct,
    RestoredStart,
    Settings,
    settings_of,
    spec_of,
)
from varsim.whatif.values import Filling, at, divided, whole_of


@dataclass(slots=True)
class Refusal:
    """An operation that varsim refused: its error, and the number of refusals."""

    location: str
    step: int
    process: int
    text: str
    count: int = 1


@dataclass(slots=True)
class Played:
    """The result of playing a program."""

    values: dict[int, Array] = field(default_factory=dict)  # event of a read → its value
    refused: dict[int, Refusal] = field(default_factory=dict)  # variable → its first refusal
    costs: dict[int, VariableStatistics] = field(default_factory=dict)  # variable → its costs
    numbers: dict[int, int] = field(default_factory=dict)  # variable in the play → in the record
    warned: list[str] = field(default_factory=list)  # without repetitions


class CallFailed(Exception):
    """Raised when a call fails that did not fail in the record. No later operation is played.

    Attributes:
        call: The number of the call.
        step: The number of the step, for texts.
        text: The error of the call.
        played: The result of all operations before this call.
    """

    def __init__(self, call: int, step: int, text: str, played: Played) -> None:
        super().__init__(text)
        self.call = call
        self.step = step
        self.text = text
        self.played = played


_EVERY: Final = 100  # number of actions between two progress reports, about 10 ms


def play(
    program: RecordedProgram,
    settings: Mapping[int, Settings],
    *,
    other: bool = False,
    trace: TraceOptions | None = None,
    tell: Tell | None = None,
) -> Played:
    """Play a program under the given settings of its variables.

    Args:
        other: Whether unrecorded values are replaced by random values instead of zeros. A read
            that differs between these two plays depends on unrecorded values.
        trace: The options for recording the play, as for a run.
        tell: A function that gets the fraction that was played, from 0 to 1.
    Raises:
        CallFailed: A call fails that did not fail in the record.
        ConfigError: The simulated cluster is not installed.
    """
    with _cluster(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", tf.VarsimWarning)
        player = _Player(program, settings, other=other, trace=trace)
        try:
            player.do(_told(program.actions, tell))
        finally:
            player.finish()
        player.played.warned = list(dict.fromkeys(str(one.message) for one in caught))
    return player.played


def _told(actions: Sequence[RecordedAction], tell: Tell | None) -> Iterator[RecordedAction]:
    for number, action in enumerate(actions):
        if tell is not None and not number % _EVERY:
            tell(number / len(actions))
        yield action


def _cluster() -> AbstractContextManager[Any]:
    try:
        from varsim.testing import simulated_cluster
    except ModuleNotFoundError as error:
        if error.name != "greenlet":
            raise
        raise ConfigError(
            "a replay runs in the simulated cluster, which needs greenlet: pip install greenlet"
        ) from None
    return simulated_cluster(validates=False)


class _ReplicaRaised(Exception):
    """Stands for the exception that a replica's function raised in the record."""


class _Player:
    def __init__(
        self,
        program: RecordedProgram,
        settings: Mapping[int, Settings],
        *,
        other: bool,
        trace: TraceOptions | None,
    ) -> None:
        self._program = program
        self._settings = settings
        self._fill = Filling(other=other)
        rows = program.variables
        adaptive = any(policies.defers(spec_of(rows[n], one)) for n, one in settings.items())
        devices = [f"cpu:{i}" for i in range(program.num_replicas)]
        auto = "adaptive" if adaptive else "on_write"
        self._strategy = tf.distribute.MirroredStrategy(devices, auto=auto, trace=trace)
        if program.counts_replicas:
            self._strategy.count_use.note("the number of replicas", "the recorded program")
        self._variables: dict[int, Any] = {}
        self._restarts: dict[int, VariableStatistics] = {}
        """Variable → the costs of putting back its values, which are not costs of the program."""
        self.played = Played()

    def do(self, actions: Iterable[RecordedAction]) -> None:
        """Do the actions of the program, in order."""
        for action in actions:
            match action:
                case RecordedCreate():
                    self._create(action)
                case RecordedForget(variable=variable):
                    self._variables.pop(variable, None)
                case RecordedRead():
                    self._read(action)
                case RecordedWrite():
                    self._write(action)
                case RecordedManual():
                    self._manual(action)
                case RecordedCall():
                    self._call(action)

    def finish(self) -> None:
        """Store the costs, and stop the cluster."""
        for account in self._strategy.statistics():
            number = self.played.numbers[account.variable_id]
            restart = self._restarts.get(number)
            self.played.costs[number] = account if restart is None else _without(account, restart)
        self._variables.clear()
        self._strategy.close()

    # ------------------------------------------------------------ the program

    def _create(self, action: RecordedCreate) -> None:
        number = action.variable
        wanted, recorded = self._settings[number], settings_of(self._program.variables[number])
        row, is_refused = self._program.variables[number], False
        try:
            variable = self._made(action, wanted)
        except VarsimError as error:
            is_refused = True
            self._refuse(number, row.created_at, 0, -1, error)
            variable = self._made(action, recorded)
        self._variables[number] = variable
        self.played.numbers[variable.spec.variable_id] = number
        if action.start is not None:
            try:
                self._put_back(action.start, variable, recorded if is_refused else wanted)
            except VarsimError as error:
                self._refuse(number, row.created_at, self._program.calls_before, -1, error)
            own = variable.spec.variable_id
            accounts = self._strategy.statistics()
            self._restarts[number] = next(one for one in accounts if one.variable_id == own)

    def _put_back(self, start: RestoredStart, variable: Any, settings: Settings) -> None:
        """Give a new variable the values that a restart put back, unless it has them already."""
        row = self._program.variables[self.played.numbers[variable.spec.variable_id]]
        first, *others = start.components
        if self._keeps_components(row, settings):
            if not all(np.array_equal(first, one) for one in others):
                each = list(start.components)
                self._write_each(variable, Operation.ASSIGN, row.created_at, each)
        elif policies.cell(variable.spec, Context.CROSS_REPLICA, Operation.ASSIGN).shares:
            value = first if start.value is None else start.value
            each = divided(value, len(start.components))
            self._write_each(variable, Operation.ASSIGN, row.created_at, each)

    def _keeps_components(self, row: VariableRow, settings: Settings) -> bool:
        """Return whether earlier writes give the same components under other settings."""
        recorded = settings_of(row)
        return settings == recorded or all(
            is_private(spec_of(row, one)) for one in (settings, recorded)
        )

    def _made(self, action: RecordedCreate, settings: Settings) -> Any:
        row = self._program.variables[action.variable]
        shape = tuple(json.loads(row.shape))
        value = action.value
        if action.start is not None and not self._keeps_components(row, settings):
            value = value if action.start.value is None else action.start.value
            cell = policies.cell(spec_of(row, settings), Context.CROSS_REPLICA, Operation.ASSIGN)
            if cell.shares:  # `_put_back` divides the value
                value = None if value is None else np.zeros_like(value)
        if value is None:
            value = self._fill(-action.variable, row.dtype, None, shape)
        with self._strategy.scope():
            return at(row.created_at)(
                tf.Variable,
                value,
                name=row.name,
                dtype=row.dtype,
                shape=shape,
                trainable=bool(row.trainable),
                synchronization=settings.synchronization,
                aggregation=settings.aggregation,
            )

    def _call(self, call: RecordedCall) -> None:
        def replica(*_: Any) -> None:
            context = tf.distribute.get_replica_context()
            replica_id = context.replica_id_in_sync_group
            meetings = Meetings(context, self._strategy)
            for act in call.replicas[replica_id]:
                self._act(act, context, meetings)
            if replica_id in call.raised:
                raise _ReplicaRaised

        joined = self._program.num_replicas - len(call.replicas)
        values = [tf.distribute.PerReplica([None] * len(call.replicas), joined)] if joined else []
        try:
            self._strategy.run(replica, values)
        except _ReplicaRaised:
            pass
        except VarsimError as error:
            if not call.failed:
                raise CallFailed(call.number, call.number, str(error), self.played) from None

    # ------------------------------------------------------------ replicas

    def _act(self, act: ReplicaAct, context: Any, meetings: Meetings) -> None:
        match act:
            case RecordedRead():
                self._read(act, context)
            case RecordedWrite():
                self._write(act)
            case RecordedManual():
                self._manual(act)
            case RecordedRequest():
                meetings.make(act)
            case RecordedArrival(kind="merge_call" | "cross_replica"):
                at(act.location)(context.merge_call, lambda _: self.do(act.body), name=act.name)
            case RecordedArrival(kind="host_call"):
                self.do(act.body)  # on the replica: an access to a component makes a host call
            case RecordedArrival(kind="join"):
                at(act.location)(context.join)
            case RecordedArrival():
                group = group_of(self._strategy, act.group)
                at(act.location)(context.all_reduce, "SUM", NOTHING, name=act.name, group=group)

    # ------------------------------------------------------------ reads and writes

    def _read(self, read: RecordedRead, context: Any = None) -> None:
        variable = self._variables.get(read.variable)
        if variable is None:
            return
        source = variable if read.replica is None else variable.values[read.replica]
        reading = source.read_value
        if context is not None and read.recorded.operation == OWN:
            reading = partial(context.session.read, variable.variable_id, OWN)
        try:
            self.played.values[read.event] = np.asarray(at(read.location)(reading))
        except VarsimError as error:
            self._refuse(read.variable, read.location, read.step, read.process, error)

    def _write(self, write: RecordedWrite) -> None:
        variable = self._variables.get(write.variable)
        if variable is None:
            return
        operands = [self._operand(variable, write, i) for i in range(len(write.operands))]
        try:
            if write.operation in SCATTERS:
                self._scatter(variable, write, operands)
            elif len(operands) > 1:
                self._write_each(variable, write.operation, write.location, operands)
            elif write.replica is not None:
                part = variable.values[write.replica]
                at(write.location)(getattr(part, write.operation.value), operands[0])
            else:
                self._write_all(variable, write, operands[0])
        except VarsimError as error:
            self._refuse(write.variable, write.location, write.step, write.process, error)

    def _manual(self, act: RecordedManual) -> None:
        variable = self._variables.get(act.variable)
        if variable is None:
            return
        try:
            self._operate(act, variable)
        except (OperationError, ShapeError) as error:
            self._refuse(act.variable, act.location, act.step, act.process, error)

    def _operate(self, act: RecordedManual, variable: Any) -> None:
        call, group = at(act.location), group_of(self._strategy, act.group)
        match act.operation:
            case "publish":
                call(variable.publish)
            case "push" if act.delta is not None:
                call(variable.push, act.delta)
            case "push":
                dtype = self._program.variables[act.variable].dtype
                call(variable.push, self._fill(act.event, dtype, None, variable.shape))
            case "pull":
                call(variable.pull)
            case "fetch":
                call(variable.fetch, act.replica)
            case "broadcast":
                call(variable.broadcast, act.replica, group=group)
            case sync:
                call(variable.sync, sync.removeprefix("sync_").upper(), group=group)

    def _operand(self, variable: Any, write: RecordedWrite, number: int) -> Any:
        """Return a value or IndexedSlices to write, or a replacement if none was recorded."""
        operand, shape = write.operands[number], write.shapes[number]
        dtype = self._program.variables[write.variable].dtype
        if operand is None and write.operation in SCATTERS:
            assert shape is not None, "without a shape, the program cannot be played"
            operand = self._fill.rows(write.event + number, dtype, shape, variable.shape[0])
        elif operand is None:
            operand = self._fill(write.event + number, dtype, shape, variable.shape)
        if isinstance(operand, Rows):
            return tf.IndexedSlices(operand.values, operand.indices)
        return operand

    def _scatter(self, variable: Any, write: RecordedWrite, slices: list[Any]) -> None:
        """Write rows of the variable, of one component, or of each component."""
        if len(slices) == 1:
            owner = write.replica
            if owner is None and write.of_component:
                owner = write.process
            target = variable if owner is None else variable.values[owner]
            at(write.location)(getattr(target, write.operation.value), slices[0])
        elif write.of_component:
            for part, own in zip(variable.values, slices, strict=True):
                at(write.location)(getattr(part, write.operation.value), own)
        else:
            each = tf.distribute.PerReplica(slices)
            at(write.location)(getattr(variable, write.operation.value), each)

    def _write_all(self, variable: Any, write: RecordedWrite, value: Array) -> None:
        """Write the variable, and read it back only if the recorded settings allow this read."""
        if write.shares:
            cell = policies.cell(variable.spec, Context.CROSS_REPLICA, Operation.ASSIGN)
            splits = cell.shares
            value = whole_of(value, self._program.num_replicas, splits=splits)
        row = self._program.variables[write.variable]
        spec = spec_of(row, settings_of(row))
        read_value = policies.is_readable(spec)
        at(write.location)(getattr(variable, write.operation.value), value, read_value=read_value)

    def _write_each(
        self, variable: Any, operation: Operation, location: str, values: list[Array]
    ) -> None:
        """Write one value to each component. Use `update` if `assign` refuses such a write."""
        each = tf.distribute.PerReplica(values)
        cell = policies.cell(variable.spec, Context.CROSS_REPLICA, operation)
        if cell.per_component:
            at(location)(getattr(variable, operation.value), each, read_value=False)
            return
        at(location)(
            self._strategy.extended.update,
            variable,
            lambda own, value: getattr(own, operation.value)(value),
            args=(each,),
        )

    def _refuse(
        self, variable: int, location: str, step: int, process: int, error: VarsimError
    ) -> None:
        refusal = self.played.refused.get(variable)
        if refusal is None:
            self.played.refused[variable] = Refusal(location, step, process, _problem_of(error))
        else:
            refusal.count += 1


def _without(account: VariableStatistics, part: VariableStatistics) -> VariableStatistics:
    return replace(
        account,
        writes=account.writes - part.writes,
        reads=account.reads - part.reads,
        messages=account.messages - part.messages,
        size_bytes=account.size_bytes - part.size_bytes,
    )


def _problem_of(error: VarsimError) -> str:
    """Return the text of an error without its variable, location and fixes."""
    if not isinstance(error, VariableError):
        return str(error)
    fact = error.fact
    is_predicate = isinstance(fact, Refused) and fact.result_of is None
    return f"the variable {error.problem}" if is_predicate else error.problem
