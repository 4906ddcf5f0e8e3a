"""A cluster of states without shells, whose messages arrive in a random order."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, assert_never

import numpy as np

from tests.properties.operation_model import (
    Array,
    BareCall,
    BareComponentScatter,
    BareComponentWrite,
    BareFetch,
    BareMergeCall,
    BareOperation,
    BareProgram,
    BareProgramScatter,
    BareProgramWrite,
    BareStatistics,
    Step,
)
from tests.properties.steps import BareRows, ReadAction, ScatterAction, WriteAction
from varsim.protocol.messages import Message, Payload
from varsim.spec import Rows
from varsim.sync.actions import (
    Await,
    CallBegins,
    Deliver,
    Finish,
    ProgramDone,
    Reduce,
    Run,
    RunMerge,
    Send,
    ShowValue,
)
from varsim.sync.coordinator_events import (
    MergeFunctionReturns,
    MessageArrives,
    ProgramCall,
    ProgramCreate,
    ProgramFetch,
    ReductionDone,
)
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.replica_events import (
    EnterMerge,
    FunctionBegins,
    FunctionReturns,
    ProgramBlocks,
    ReplicaEvent,
    ReplicaRead,
    ReplicaScatter,
    ReplicaWrite,
)
from varsim.sync.replica_state import ReplicaState

NOTHING = Payload(None)


def rows_of(rows: BareRows) -> Rows:
    """Return rows as the type that the states accept."""
    return Rows(np.array(rows[0], np.int64), rows[1].copy())


class BareCluster:
    """Run a program on states without shells. `seen` has all values that were read or fetched.

    Args:
        validates: Whether a state is validated after each of its events. A validation reads the
            whole state. This can hide a fault that occurs without a validation.
    """

    def __init__(self, program: BareProgram, seed: int, *, validates: bool) -> None:
        self.program = program
        self.coordinator = CoordinatorState(program.num_replicas)
        self.registry = self.coordinator.registry
        self.replicas = [ReplicaState(i, program.num_replicas) for i in range(program.num_replicas)]
        self.seen: dict[tuple[int, ...], Array] = {}
        self.layouts = 0  # number of layouts that the replicas have sent
        self._before: list[
            tuple[Array, bytes]
        ] = []  # all values that were read, with their bytes at that time
        self._random = random.Random(seed)
        self._validates = validates
        self._to_replica: list[deque[Message]] = [deque() for _ in self.replicas]
        self._to_coordinator: list[deque[Message]] = [deque() for _ in self.replicas]
        self._functions: list[Iterator[bool] | None] = [None for _ in self.replicas]
        self._can_run = [False for _ in self.replicas]
        self._outcomes: dict[
            int, Deliver | ShowValue
        ] = {}  # replica -> outcome of the operation for which it waited
        self._work: deque[RunMerge] = deque()
        self._fetched: dict[int, tuple[Array, ...]] = {}
        self._finished: set[int] = set()
        self._next_token = 1
        self._reduction: Reduce | None = None  # the pending reduction, which ends at a random time
        self._now_s = 0.0
        self._at: tuple[int, ...] = ()  # the position of the running call in the program
        self._steps: tuple[Step, ...] = ()

    def run(self) -> None:
        """Run the whole program."""
        for spec, value in zip(self.program.specs, self.program.initial, strict=True):
            self._perform(self.coordinator.handle(ProgramCreate(spec, value.copy())))
        for path, doing in enumerate(self.program.doings):
            if isinstance(doing, BareCall):
                self._call((path,), doing)
            else:
                self._do((path,), doing)
        self._pump(lambda: not self._choices())

    def assert_nothing_changed(self) -> None:
        """Check that no value changed after it was read."""
        for value, before in self._before:
            assert before == value.tobytes()
            assert not value.flags.writeable

    def _see(self, path: tuple[int, ...], value: Array) -> None:
        self.seen[path] = value
        self._before.append((value, value.tobytes()))

    # ------------------------------------------------------------ events

    def _pump(self, done: Callable[[], bool]) -> None:
        while self._reduction is not None or not done():
            if self._work and self._reduction is None:
                self._merge(self._work.popleft())
                continue
            self._now_s += 0.001
            event, replica_id = self._random.choice(self._choices())
            event(replica_id)
            if self._validates:
                self.coordinator.validate()
                self.replicas[replica_id].validate()

    def _choices(self) -> list[tuple[Callable[[int], None], int]]:
        choices: list[tuple[Callable[[int], None], int]] = []
        for i in range(len(self.replicas)):
            if self._to_coordinator[i]:
                choices.append((self._arrive, i))
            if self._to_replica[i]:
                choices.append((self._deliver, i))
            if self._can_run[i]:
                choices.append((self._step, i))
        if self._reduction is not None:
            choices.append((self._reduce, 0))
        return choices

    def _reduce(self, _: int) -> None:
        assert self._reduction is not None
        done = ReductionDone(self._reduction.token, self._reduction.computed())
        self._reduction = None
        self._perform(self.coordinator.handle(done))

    def _arrive(self, replica_id: int) -> None:
        message = self._to_coordinator[replica_id].popleft()
        self.layouts += message.name == "Layout"
        self._perform(self.coordinator.handle(MessageArrives(replica_id, message, self._now_s)))

    def _deliver(self, replica_id: int) -> None:
        message = self._to_replica[replica_id].popleft()
        if message.name != "Define":
            self._act(replica_id, self.replicas[replica_id].handle(message))
            self._can_run[replica_id] = self._functions[replica_id] is not None

    def _step(self, replica_id: int) -> None:
        function = self._functions[replica_id]
        assert function is not None
        waits = next(function, None)
        if waits is None:
            self._functions[replica_id] = None
        self._can_run[replica_id] = waits is False

    def _act(self, replica_id: int, actions: Sequence[Any]) -> None:
        for action in actions:
            match action:
                case Send(message=message):
                    self._to_coordinator[replica_id].append(message)
                case Run(start=start):
                    self._functions[replica_id] = self._function(replica_id, start.call_id)
                case Deliver() | ShowValue():
                    self._outcomes[replica_id] = action
                case Await():
                    pass
                case _:
                    raise AssertionError(action)

    def _perform(self, actions: Sequence[Any]) -> None:
        for action in actions:
            match action:
                case Send(to=to, message=message):
                    self._to_replica[to].append(message)
                case RunMerge():
                    self._work.append(action)
                case Reduce():
                    self._reduction = action
                case ProgramDone():
                    self._fetched[action.token] = action.values
                case CallBegins():
                    pass
                case Finish():
                    assert action.error is None, action.error
                    assert action.raised is None
                    self._finished.add(action.token)
                case _:
                    raise AssertionError(action)

    # ------------------------------------------------------------ a replica

    def _function(self, replica_id: int, call_id: int) -> Iterator[bool]:
        """Do the steps of the call. Yield True while the replica waits, otherwise False."""
        state, path = self.replicas[replica_id], self._at
        self._act(replica_id, state.handle(FunctionBegins(call_id)))
        for number, step in enumerate(self._steps):
            yield False
            match step:
                case WriteAction():
                    value = step.values[replica_id].copy()
                    write = ReplicaWrite(
                        self._id(step.variable), step.operation, value, f"a.py:{number}"
                    )
                    assert not state.handle(write)
                    value.fill(1)  # the program is allowed to change the array
                case ScatterAction():
                    rows = rows_of(step.rows[replica_id])
                    scatter = ReplicaScatter(
                        self._id(step.variable), step.operation, rows, f"a.py:{number}"
                    )
                    assert not state.handle(scatter)
                case ReadAction():
                    if step.who[replica_id]:
                        yield from self._operate(replica_id, ReplicaRead(self._id(step.variable)))
                        shown = self._outcomes.pop(replica_id)
                        assert isinstance(shown, ShowValue)
                        self._see((*path, number, replica_id), shown.value)
                case BareMergeCall():
                    arguments = Payload((*path, number))
                    yield from self._operate(replica_id, EnterMerge(NOTHING, arguments, None, ""))
                    del self._outcomes[replica_id]
                case _:
                    assert_never(step)
        self._act(replica_id, state.handle(FunctionReturns(NOTHING)))

    def _operate(self, replica_id: int, event: ReplicaEvent) -> Iterator[bool]:
        """Give an operation to the state, and yield True until there is an outcome."""
        actions = self.replicas[replica_id].handle(event)
        self._act(replica_id, actions)
        if Await(may_block=True) in actions:
            self._act(replica_id, self.replicas[replica_id].handle(ProgramBlocks("")))
        while replica_id not in self._outcomes:
            yield True

    def _id(self, variable: int) -> int:
        return self.program.specs[variable].variable_id

    # ------------------------------------------------------------ the program

    def _call(self, path: tuple[int, ...], call: BareCall) -> None:
        self._at, self._steps = path, call.steps
        count = len(self.replicas)
        token = self._token()
        event = ProgramCall("step", NOTHING, [NOTHING] * count, token=token, now_s=self._now_s)
        self._perform(self.coordinator.handle(event))
        self._pump(lambda: token in self._finished)

    def _token(self) -> int:
        self._next_token += 1
        return self._next_token - 1

    def _merge(self, work: RunMerge) -> None:
        path = work.arrivals[0].arguments.tree
        step = self._steps[path[-1]]
        assert isinstance(step, BareMergeCall)
        for inner, bare_operation in enumerate(step.bare_operations):
            self._do((*path, inner), bare_operation)
        results = [NOTHING] * len(self.replicas)
        event = MergeFunctionReturns(work.call_id, work.position, results, self._now_s)
        self._perform(self.coordinator.handle(event))

    def _do(self, path: tuple[int, ...], bare_operation: BareOperation) -> None:
        registry = self.registry
        match bare_operation:
            case BareProgramWrite(operation=operation, same=same):
                value = bare_operation.values[0].copy()
                values = (
                    [value] * len(self.replicas)
                    if same
                    else [v.copy() for v in bare_operation.values]
                )
                actions = registry.write(
                    self._id(bare_operation.variable), operation, values, same=same
                )
                self._perform(actions)
            case BareComponentWrite(replica_id=i, operation=operation, value=value):
                variable_id = self._id(bare_operation.variable)
                self._perform([registry.write_component(variable_id, i, operation, value.copy())])
            case BareProgramScatter(operation=operation, rows=rows):
                number = self._id(bare_operation.variable)
                each = [rows_of(own) for own in rows]
                self._perform(registry.scatter(number, operation, each))
            case BareComponentScatter(replica_id=i, operation=operation, rows=own):
                number = self._id(bare_operation.variable)
                self._perform([registry.write_component(number, i, operation, rows_of(own))])
            case BareFetch():
                self._look(path, self._id(bare_operation.variable), bare_operation.replica_ids)
            case BareStatistics():
                registry.statistics()
            case _:
                assert_never(bare_operation)
        if self._validates:
            self.coordinator.validate()

    def _look(self, path: tuple[int, ...], variable_id: int, replica_ids: tuple[int, ...]) -> None:
        token = self._token()
        self._perform(
            self.coordinator.handle(ProgramFetch(variable_id, replica_ids, token, self._now_s))
        )
        self._pump(lambda: token in self._fetched)
        for replica_id, value in zip(replica_ids, self._fetched.pop(token), strict=True):
            assert isinstance(value, np.ndarray)
            self._see((*path, replica_id), value)
