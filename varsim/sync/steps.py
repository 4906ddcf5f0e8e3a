"""Runs what follows from an event: up to a reduction, up to a wait, or to its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from varsim.sync.actions import CoordinatorAction, Reduce, Steps
from varsim.sync.coordinator_events import CoordinatorEvent, Located, ReductionDone
from varsim.sync.event_log import InvalidTransition
from varsim.sync.waits import Departure, Request, Wait


@dataclass(slots=True, eq=False)
class _Operation:
    """An operation of the program, or the start of a call, that has not ended."""

    token: int
    steps: Steps
    waits_for: Wait | None = None


@dataclass(frozen=True, slots=True)
class _Suspended:
    """What is left to do about an event once the value of a reduction has come."""

    token: int
    steps: Steps
    operation: _Operation | None


class Runner:
    """Runs the steps of one event at a time, and those of the program's operations between waits.

    While a reduction is computed, the event at hand is not over, and all others have to wait.
    """

    def __init__(self) -> None:
        self.now_s = 0.0  # of the event at hand
        self.backlog: deque[CoordinatorEvent] = deque()
        self._operations: dict[int, _Operation] = {}  # by token
        self._suspended: _Suspended | None = None

    @property
    def is_reducing(self) -> bool:
        """Return whether steps wait for the value of a reduction."""
        return self._suspended is not None

    @property
    def is_behind(self) -> bool:
        """Return whether there is more to do than the event at hand."""
        return bool(self._operations or self.backlog)

    @property
    def deadline_s(self) -> float | None:
        """Return when the first wait of an operation is over, whatever comes."""
        waits = (operation.waits_for for operation in self._operations.values())
        times = (wait.until_s for wait in waits if wait is not None)
        return min((time_s for time_s in times if time_s is not None), default=None)

    def run(self, steps: Steps) -> list[CoordinatorAction]:
        """Return the first actions of an event."""
        return self._advance(steps, None)

    def operate(self, token: int, steps: Steps) -> list[CoordinatorAction]:
        """Return the first actions of an operation, which may wait in between."""
        if token in self._operations:
            raise InvalidTransition(f"the token {token} is in use")
        operation = self._operations[token] = _Operation(token, steps)
        return self._advance(steps, operation)

    def _advance(
        self, steps: Steps, operation: _Operation | None, value: Any = None
    ) -> list[CoordinatorAction]:
        actions: list[CoordinatorAction] = []
        self._suspended = None
        try:
            action = steps.send(value)
            while True:
                if isinstance(action, Reduce):
                    self._suspended = _Suspended(action.token, steps, operation)
                    actions.append(action)
                    return actions
                if isinstance(action, Request | Departure):
                    assert operation is not None, "only operations of the program wait"
                    if not action.is_over(self.now_s):
                        operation.waits_for = action
                        return actions
                else:
                    actions.append(action)
                action = next(steps)
        except StopIteration:
            if operation is not None:
                del self._operations[operation.token]
            return actions

    def resume(self, done: ReductionDone) -> list[CoordinatorAction]:
        """Go on with the value of a reduction, unless it was given up."""
        suspended = self._suspended
        if suspended is None or suspended.token != done.token:
            return []
        return self._advance(suspended.steps, suspended.operation, done.value)

    def drop_reduction(self, token: int | None = None) -> None:
        """Drop what waits for the value of a reduction; of any, if no token says which."""
        if self._suspended is not None and token in {None, self._suspended.token}:
            self._suspended.steps.close()
            self._suspended = None

    def drop_operation(self, token: int) -> None:
        """Drop an operation, if it has not ended."""
        operation = self._operations.pop(token, None)
        if operation is not None:
            operation.steps.close()
            if self._suspended is not None and self._suspended.operation is operation:
                self._suspended = None

    def take_locations(self, event: Located) -> None:
        """Give an operation the answer to its `Locate`."""
        operation = self._operations.get(event.token)
        if operation is not None and isinstance(operation.waits_for, Request):
            operation.waits_for.end(event.locations)

    def catch_up(
        self, begin: Callable[[CoordinatorEvent], list[CoordinatorAction]]
    ) -> list[CoordinatorAction]:
        """Go on with operations whose waits are over, then begin the events of the backlog."""
        actions: list[CoordinatorAction] = []
        while self._suspended is None:
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
