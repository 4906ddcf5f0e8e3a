"""A replica without a shell: its state, its link to the coordinator, and the functions it runs."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import numpy as np

from tests.properties.bare_cluster import rows_of
from tests.properties.comparing import same_bits
from tests.properties.model import combined, reduced
from tests.properties.operation_model import Array
from tests.properties.steps import (
    AllGatherStep,
    AllReduceStep,
    CombineStep,
    ReadAction,
    ScatterAction,
    WriteAction,
)
from tests.seeded.model import Entry, Model, ModelCall
from tests.seeded.programs import Host, Merge, OwnWrite, Raise, ReadRows, Stall, Step
from varsim.protocol.messages import Abort, Define, Left, Message, Payload
from varsim.protocol.parts import LEAF, Combination, CombineKind
from varsim.sync.actions import (
    WAIT_AND_REPEAT,
    Abandon,
    Await,
    Deliver,
    Proceed,
    Run,
    Send,
    ShowValue,
)
from varsim.sync.replica_events import (
    CallHost,
    ComponentWrite,
    EnterCombine,
    EnterMerge,
    FunctionBegins,
    FunctionRaises,
    FunctionReturns,
    FunctionUnwinds,
    MessagesHandled,
    ProgramBlocks,
    ReplicaEvent,
    ReplicaRead,
    ReplicaScatter,
    ReplicaWrite,
    RowsRead,
)
from varsim.sync.replica_state import ReplicaState

NOTHING = Payload(None)
ONE_LEAF = (("", LEAF),)


class Unwound(Exception):
    """The call of the function has failed."""


class Raised(Exception):
    """The function raises."""


@dataclass(slots=True, eq=False)
class Frame:
    """A function that runs on a replica."""

    call: ModelCall
    script: tuple[Step, ...]
    steps: Iterator[None] = field(init=False)
    waits: bool = False


class SeededReplica:
    """One replica. Its methods are the events that the simulation puts into a random order.

    Messages are handled only while no function runs, or while the innermost function waits.
    """

    def __init__(
        self,
        replica_id: int,
        model: Model,
        calls: dict[int, ModelCall],
        rng: random.Random,
        counts: Counter[str],
    ) -> None:
        self.replica_id = replica_id
        self.state = ReplicaState(replica_id, model.count)
        self.inbox: deque[Message] = deque()
        self.sent: deque[Message] = deque()
        self.frames: list[Frame] = []
        self.is_stalled = False
        self.is_dead = False
        self.seen: list[tuple[Array, bytes]] = []  # values that the program read, and their bytes
        self._model = model
        self._calls = calls
        self._rng = rng
        self._counts = counts
        self._outcome: Any = None
        self._may_block = False

    # ------------------------------------------------------------ events

    @property
    def _waits(self) -> bool:
        """Return whether the innermost function waits and has no outcome yet."""
        return bool(self.frames) and self.frames[-1].waits and self._outcome is None

    def events(self) -> Iterator[Any]:
        """Yield the events that are possible now."""
        if self.is_dead:
            return
        if self.inbox and (not self.frames or self._waits):
            yield self.take
        if self.frames and not self._waits and not self.is_stalled:
            yield self.step
        if self._may_block and self._waits:
            yield self.block
        if self.state.is_behind and (not self.frames or self._waits):
            yield self.catch_up

    def die(self, kept: int) -> None:
        """End the replica. Of the messages that it has sent, only the first `kept` arrive."""
        self.is_dead = True
        self.inbox.clear()
        while len(self.sent) > kept:
            self.sent.pop()

    def take(self) -> None:
        """Handle the next message."""
        message = self.inbox.popleft()
        if not isinstance(message, Define):
            if isinstance(message, Abort):
                self._model.aborted(self.replica_id)
            self._perform(self.state.handle(message))

    def step(self) -> None:
        """Let the innermost function go on until it waits or finishes a step."""
        next(self.frames[-1].steps, None)

    def block(self) -> None:
        """Let the waiting function block until a message arrives."""
        self._may_block = False
        self._perform(self.state.handle(ProgramBlocks("")))

    def catch_up(self) -> None:
        """Let the state do its postponed work."""
        self._perform(self.state.handle(MessagesHandled()))

    def _perform(self, actions: Sequence[Any]) -> None:
        for action in actions:
            match action:
                case Send(message=message):
                    self.sent.append(message)
                    if isinstance(message, Left) and self._rng.random() < 0.1:
                        self._counts["duplicate Left"] += 1
                        self.sent.append(message)
                case Run(start=start):
                    self._run(start.call_id)
                case Await(may_block=may_block):
                    self._may_block = may_block
                case Deliver() | ShowValue() | Proceed() | Abandon():
                    assert self._outcome is None
                    self._outcome = action
                case _:
                    raise AssertionError(action)

    def _run(self, call_id: int) -> None:
        call = self._calls[call_id]
        self._model.starts(self.replica_id, call)
        aborts = [one.call_id for one in self.inbox if isinstance(one, Abort)]
        if call_id in aborts and self._rng.random() < 0.5:
            self._counts["start is skipped"] += 1
            self._model.leaves(self.replica_id)
            return  # the abort has arrived before the function begins
        frame = Frame(call, call.call.scripts[self.replica_id])
        frame.steps = self._function(frame)
        self.frames.append(frame)
        self._perform(self.state.handle(FunctionBegins(call_id)))

    # ------------------------------------------------------------ a function

    def _function(self, frame: Frame) -> Iterator[None]:
        end: FunctionReturns | FunctionRaises | FunctionUnwinds
        end = FunctionReturns(Payload((frame.call.call_id, self.replica_id)))
        how = "returned"
        try:
            for number, step in enumerate(frame.script):
                yield
                yield from self._do(frame, number, step)
        except Unwound:
            end, how = FunctionUnwinds(), ""
        except Raised:
            end, how = FunctionRaises(Payload(self.replica_id), "LookupError: drawn"), "raised"
        self._counts[f"function {how or 'unwound'}"] += 1
        if self.state.aborted is None:
            frame.call.ends[self.replica_id] = how
        self.frames.pop()
        self._perform(self.state.handle(end))
        self._model.leaves(self.replica_id)

    def _do(self, frame: Frame, number: int, step: Step) -> Iterator[None]:
        i, at = self.replica_id, f"a.py:{number}"
        match step:
            case WriteAction(variable=index, operation=operation):
                value = step.values[i].copy()
                event: ReplicaEvent = ReplicaWrite(index + 1, operation, value, at)
                yield from self._write(frame, index, event, operation, step.values[i])
                value.fill(77)  # the program is allowed to change the array
            case ScatterAction(variable=index, operation=operation):
                event = ReplicaScatter(index + 1, operation, rows_of(step.rows[i]), at)
                yield from self._write(frame, index, event, operation, step.rows[i])
            case OwnWrite(variable=index, operation=operation):
                write = ComponentWrite(index + 1, operation, step.values[i].copy())
                self._perform(self.state.handle(write))
                self._model.own_write(i, self._model.variable(index), operation, step.values[i])
            case ReadAction(variable=index):
                if step.who[i]:
                    shown = yield from self._operate(frame, ReplicaRead(index + 1))
                    self._see(shown.value, index)
            case ReadRows(variable=index, indices=indices):
                yield from self._read_rows(frame, index, indices)
            case Raise():
                raise Raised
            case Stall():
                self._counts["stall"] += 1
                self.is_stalled = True
            case Host():
                if step.doings[i] is not None:
                    host_call = CallHost(Payload((step, i)), at)
                    yield from self._operate(frame, host_call)
            case _:
                yield from self._collective(frame, step, at)

    def _collective(
        self, frame: Frame, step: AllReduceStep | AllGatherStep | CombineStep | Merge, at: str
    ) -> Iterator[None]:
        i, model = self.replica_id, self._model
        kind: tuple[Any, ...]
        value = None if isinstance(step, Merge) else step.values[i]
        match step:
            case AllReduceStep(op=op):
                kind = "reduce", op, value.shape
                how = Combination(CombineKind.ALL_REDUCE, op)
                event: ReplicaEvent = EnterCombine(how, ONE_LEAF, (value,), None, at)
            case AllGatherStep():
                kind = ("gather",)
                how = Combination(CombineKind.ALL_GATHER, axis=0)
                event = EnterCombine(how, ONE_LEAF, (value,), None, at)
            case CombineStep():
                count = len(frame.call.entries)
                how = combination(step, count)
                kind = "combine", how
                scatters = how.kind is CombineKind.REDUCE_SCATTER
                sent = np.stack([step.values[i]] * count) if scatters else step.values[i]
                event = EnterCombine(how, ONE_LEAF, (sent,), None, at)
            case Merge():
                kind = ("merge",)
                event = EnterMerge(NOTHING, Payload(step), None, at)
            case _:
                assert_never(step)
        actions = self._handle(event)
        position = model.enter(frame.call, i, Entry(kind, value))
        delivered = yield from self._await(frame, actions)
        if isinstance(step, Merge):
            assert (position, i) == delivered.answer.result.tree
            return
        model.advance(frame.call, position + 1)
        values = [own[position].operand for own in frame.call.entries]
        if isinstance(step, AllReduceStep):
            expected = reduced(values, step.op, len(values))
        elif isinstance(step, CombineStep):
            expected = combined(replace(step, values=tuple(values)), len(values))[i]
        else:
            expected = np.concatenate(values)
        (leaf,) = delivered.answer.leaves
        assert same_bits(expected, leaf), f"a collective gives {leaf} instead of {expected}"

    def _write(
        self, frame: Frame, index: int, event: ReplicaEvent, operation: Any, operand: Any
    ) -> Iterator[None]:
        actions = self._handle(event)
        if actions and actions[0] == WAIT_AND_REPEAT:
            self._counts["write waits for an average"] += 1
            yield from self._await(frame, actions)
            actions = self._handle(event)
        variable = self._model.variable(index)
        kind = "sparse" if isinstance(operand, tuple) else "dense"
        self._counts[f"{kind} write: {variable.spec.synchronization.name}"] += 1
        self._model.write(frame.call, self.replica_id, variable, operation, operand)
        if actions:
            self._counts["write waits because its log is full"] += 1
            yield from self._await(frame, actions)

    def _read_rows(self, frame: Frame, index: int, indices: Array) -> Iterator[None]:
        event = RowsRead(index + 1, (indices,))
        actions = self._handle(event)
        if actions and actions[0] == WAIT_AND_REPEAT:
            yield from self._await(frame, actions)
            actions = self._handle(event)
        shown = yield from self._await(frame, actions)
        self._see(shown.value, index, indices)

    def _see(self, value: Array, index: int, rows: Array | None = None) -> None:
        assert not value.flags.writeable
        self.seen.append((value, value.tobytes()))
        self._model.read(self.replica_id, self._model.variable(index), value, rows)

    def _handle(self, event: ReplicaEvent) -> Sequence[Any]:
        """Give the state an operation. If the call has failed, end the function."""
        actions = self.state.handle(event)
        if actions and isinstance(actions[0], Abandon):
            raise Unwound
        return actions

    def _operate(self, frame: Frame, event: ReplicaEvent) -> Any:
        return (yield from self._await(frame, self._handle(event)))

    def _await(self, frame: Frame, actions: Sequence[Any]) -> Any:
        """Let the function wait for the outcome of its operation."""
        self._perform(actions)
        frame.waits = True
        while self._outcome is None:
            yield
        frame.waits = self._may_block = False
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, Abandon):
            raise Unwound
        return outcome


def combination(step: CombineStep, count: int) -> Combination:
    """Return the arguments of a collective of this number of replicas."""
    match step.kind:
        case CombineKind.REDUCE_SCATTER:
            return Combination(step.kind, step.op, axis=0)
        case CombineKind.BROADCAST:
            return Combination(step.kind, root=step.root % count)
        case _:
            return Combination(step.kind, step.op, exclusive=step.exclusive)
