"""Run the steps of an event until it needs a reduction or must wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from varsim.errors import VarsimError
from varsim.sync.actions import CoordinatorAction, Obtain, ProgramRefused, Reduce, Steps
from varsim.sync.coordinator_events import FreshEvent, Located
from varsim.sync.event_log import InvalidTransition
from varsim.sync.waits import Departure, Request, Wait

_WAITS: Final = (Request, Departure)
_SUSPENDING: Final = (Reduce, Obtain)
"""Actions whose answer the steps wait for."""


@dataclass(slots=True, eq=False)
class _Operation:
    """An operation of the program, or the start of a call, that has not ended."""

    token: int
    steps: Steps
    started_s: float
    reads: bool  # whether it only reads
    waits_for: Wait | None = None


class Runner:
    """Runs the steps of events, one event at a time, and the steps of the program's operations.

    An operation of the program can wait for messages between its steps; other events are then
    handled. While a reduction is computed, the current event is not finished, and later events wait
    in the backlog.
    """

    def __init__(self) -> None:
        self.now_s = 0.0  # the time of the current event
        self.backlog: deque[FreshEvent] = deque()
        self._operations: dict[int, _Operation] = {}  # token → operation
        self._token = 0  # the token of the reduction that the suspended steps wait for
        self.suspended: Steps | None = None  # the rest of the current event
        self.awaits_loss = False  # whether only a loss of replicas ends the suspended steps
        self._suspended_operation: _Operation | None = None  # the operation of the suspended steps

    @property
    def is_waiting(self) -> bool:
        """Return whether operations wait, or events are in the backlog."""
        return bool(self._operations or self.backlog)

    @property
    def deadline_s(self) -> float | None:
        """Return the earliest deadline of the operations' waits; None if there is no deadline."""
        if not self._operations:
            return None
        waits = (operation.waits_for for operation in self._operations.values())
        times = (wait.until_s for wait in waits if wait is not None)
        return min((time_s for time_s in times if time_s is not None), default=None)

    def run(self, steps: Steps) -> list[CoordinatorAction]:
        """Start an event; return its actions until the event needs a reduction or ends."""
        return self._advance(steps, None)

    def operate(self, token: int, steps: Steps, *, reads: bool = False) -> list[CoordinatorAction]:
        """Start an operation; return the actions until its first reduction, wait or end."""
        if token in self._operations:
            raise InvalidTransition(f"the token {token} is in use")
        operation = self._operations[token] = _Operation(token, steps, self.now_s, reads)
        return self._advance(steps, operation)

    def _advance(
        self, steps: Steps, operation: _Operation | None, value: Any = None
    ) -> list[CoordinatorAction]:
        actions: list[CoordinatorAction] = []
        self.suspended = None
        self.awaits_loss = False
        try:
            step = steps.send(value)
            while True:
                if isinstance(step, list):
                    actions += step
                elif isinstance(step, _SUSPENDING):
                    self._token, self.suspended = step.token, steps
                    self._suspended_operation = operation
                    actions.append(step)
                    return actions
                elif isinstance(step, _WAITS):
                    assert operation is not None, "only operations of the program wait"
                    if not step.is_over(self.now_s):
                        operation.waits_for = step
                        return actions
                else:
                    actions.append(step)
                step = next(steps)
        except StopIteration:
            if operation is not None:
                del self._operations[operation.token]
            return actions

    def is_suspended_by(self, token: int) -> bool:
        """Return whether steps wait for the answer to the action with this token."""
        return self.suspended is not None and self._token == token

    def resume(self, token: int, value: Any) -> list[CoordinatorAction]:
        """Continue the suspended steps with the answer to their `Reduce` or `Obtain`.

        Do nothing if the steps were dropped.
        """
        if not self.is_suspended_by(token):
            return []
        assert self.suspended is not None
        return self._advance(self.suspended, self._suspended_operation, value)

    def drop_reduction(self, token: int | None = None) -> None:
        """Drop the steps that wait for this reduction, or for any reduction if `token` is None."""
        if self.suspended is not None and token in {None, self._token}:
            self.suspended.close()
            self.suspended = None
            self.awaits_loss = False

    def drop_operation(self, token: int) -> None:
        """Drop an operation, if it has not ended."""
        operation = self._operations.pop(token, None)
        if operation is not None:
            operation.steps.close()
            if self.suspended is operation.steps:
                self.suspended = None
                self.awaits_loss = False

    @property
    def innermost_wait(self) -> tuple[Wait | None, float]:
        """Return the wait and the start time of the operation that started last."""
        operation = next(reversed(self._operations.values()), None)
        return (None, 0.0) if operation is None else (operation.waits_for, operation.started_s)

    def refuse(self, error: VarsimError, *, but_reads: bool = False) -> list[CoordinatorAction]:
        """Drop all operations, and raise an error in the program.

        Args:
            but_reads: Whether operations that only read continue.
        """
        refused: list[CoordinatorAction] = []
        for token, operation in list(self._operations.items()):
            if not (but_reads and operation.reads):
                self.drop_operation(token)
                refused.append(ProgramRefused(token, error))
        return refused

    def take_locations(self, event: Located) -> None:
        """Give the answer to the operation that yielded the `Locate`."""
        operation = self._operations.get(event.token)
        if operation is not None and isinstance(operation.waits_for, Request):
            operation.waits_for.end(event.locations)

    def catch_up(
        self, begin: Callable[[FreshEvent], list[CoordinatorAction]]
    ) -> list[CoordinatorAction]:
        """Continue operations whose waits are over; then begin the events of the backlog."""
        actions: list[CoordinatorAction] = []
        while self.suspended is None:
            operation = self._next_operation()
            if operation is not None:
                actions += self._advance(operation.steps, operation)
            elif self.backlog:
                actions += begin(self.backlog.popleft())
            else:
                break
        return actions

    def _next_operation(self) -> _Operation | None:
        for operation in self._operations.values():
            if operation.waits_for is not None and operation.waits_for.is_over(self.now_s):
                operation.waits_for = None
                return operation
        return None

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        assert self.suspended is not None or not self.backlog
        for token, operation in self._operations.items():
            wait = operation.waits_for
            assert operation.token == token
            assert self.suspended is not None or (wait is not None and not wait.is_over(self.now_s))
