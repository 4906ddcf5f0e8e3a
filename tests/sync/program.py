"""The program of one replica, for tests: it gives operations to a `ReplicaState`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from varsim.protocol.messages import HostResult, Message, Payload, Report, Returned
from varsim.spec import Array, Operation, Rows
from varsim.sync.actions import Await, ReplicaAction, Send, ShowValue, Supply
from varsim.sync.components import Components
from varsim.sync.replica_events import (
    BufferRequest,
    CallHost,
    ComponentWrite,
    EnterMerge,
    FunctionBegins,
    FunctionReturns,
    FunctionUnwinds,
    ProgramBlocks,
    ReplicaEvent,
    ReplicaRead,
    ReplicaScatter,
    ReplicaWrite,
)
from varsim.sync.replica_state import ReplicaState

NOTHING = Payload(None)


class ReplicaProgram:
    """A replica whose program does the operations of a test, one after the other."""

    def __init__(self, replica_id: int, num_replicas: int) -> None:
        self.state = ReplicaState(replica_id, num_replicas)
        self._calls: list[int] = []

    @property
    def components(self) -> Components:
        return self.state.components

    @property
    def aborted(self) -> str | None:
        return self.state.aborted

    def handle(self, message: Message) -> list[ReplicaAction]:
        return list(self.state.handle(message))

    def validate(self) -> None:
        self.state.validate()

    # ------------------------------------------------------------ variables

    def write(
        self, variable_id: int, operation: Operation, value: Array, location: str = ""
    ) -> bool:
        """Write a value, and return True if the program must wait."""
        return bool(self.state.handle(ReplicaWrite(variable_id, operation, value, location)))

    def scatter(
        self, variable_id: int, operation: Operation, indices: list[int], values: list[float]
    ) -> None:
        """Write rows of a float32 variable, and check that the program need not wait."""
        rows = Rows(np.array(indices, np.int64), np.array(values, np.float32))
        assert not self.state.handle(ReplicaScatter(variable_id, operation, rows, "train.py:9"))

    def write_component(self, variable_id: int, operation: Operation, value: Array) -> None:
        assert not self.state.handle(ComponentWrite(variable_id, operation, value))

    def buffer(self, variable_id: int) -> Array:
        (supplied,) = self.state.handle(BufferRequest(variable_id))
        assert isinstance(supplied, Supply)
        return supplied.array

    def read(self, variable_id: int) -> Array:
        """Return the value of a read that need not wait."""
        (shown,) = self.state.handle(ReplicaRead(variable_id))
        assert isinstance(shown, ShowValue)
        return shown.value

    def waits_for(self, variable_id: int) -> bool:
        return self.state.owes(variable_id)

    def wait(self, variable_id: int) -> Sequence[ReplicaAction]:
        """Let the program read and wait, and return the messages that are sent."""
        assert [Await(may_block=True)] == self.state.handle(ReplicaRead(variable_id))
        return self.block()

    def block(self) -> Sequence[ReplicaAction]:
        return self.state.handle(ProgramBlocks(""))

    # ------------------------------------------------------------ calls

    def begin(self, call_id: int) -> None:
        assert not self.state.handle(FunctionBegins(call_id))
        self._calls.append(call_id)

    def end(self) -> Sequence[ReplicaAction]:
        self._calls.pop()
        return self.state.handle(FunctionReturns(NOTHING))

    def unwind(self) -> Sequence[ReplicaAction]:
        self._calls.pop()
        return self.state.handle(FunctionUnwinds())

    def report(self, output: str = "") -> Report:
        """Let the function return, and return its report. The next call begins immediately."""
        actions = self.state.handle(FunctionReturns(NOTHING, output))
        (returned,) = [one for one in sent(actions) if isinstance(one, Returned)]
        self.begin(self._calls.pop() + 100)
        return returned.report

    def enter(self, event: ReplicaEvent | None = None) -> list[ReplicaAction]:
        """Enter a collective, by default a merge_call, and return the messages."""
        actions = self.state.handle(event or EnterMerge(NOTHING, NOTHING, None, ""))
        return [action for action in actions if isinstance(action, Send)]

    def flush(self) -> list[ReplicaAction]:
        """Do a host call, answer it immediately, and return the messages before it."""
        *left, _ = self.enter(CallHost(NOTHING, ""))
        self.state.handle(HostResult(call_id=self._calls[-1], result=NOTHING))
        return left


def sent(actions: Sequence[Any]) -> list[Message]:
    return [action.message for action in actions if isinstance(action, Send)]
