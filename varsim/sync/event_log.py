"""Record all events and actions of a state, so that a run can be replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, TypeVar

import numpy as np

from varsim.errors import VarsimError
from varsim.value_class import value_class

SHOWN_EVENTS: Final = 10
"""Number of preceding events in the error about an invalid event."""

EventT = TypeVar("EventT")
ActionT = TypeVar("ActionT")


@value_class(eq=False)
class LoggedEvent:
    """One event, and the state's answer: actions or an error."""

    event: Any
    actions: tuple[Any, ...] = ()
    error: VarsimError | None = None


class InvalidTransition(AssertionError):
    """An event is not valid now, which is a bug of a shell or of the state."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.preceding: tuple[LoggedEvent, ...] = ()
        """The last entries of the log, and the invalid event; empty if events are not recorded."""

    def __str__(self) -> str:
        lines = [f"  {entry.event!r} -> {list(entry.actions)!r}" for entry in self.preceding]
        return "\n".join([self.reason, *lines])


class EventLog:
    """Records the events of one state, in order.

    The arrays of an event are copied before the state handles it; the arrays of actions are copied
    when the state returns them. Payloads are not copied.
    """

    def __init__(self) -> None:
        self.entries: list[LoggedEvent] = []

    def note(self, entry: LoggedEvent) -> None:
        """Add an entry."""
        self.entries.append(entry)

    def recording(
        self, handle: Callable[[EventT], Sequence[ActionT]]
    ) -> Callable[[EventT], Sequence[ActionT]]:
        """Wrap a state's `handle` in a function that also records every event in this log."""

        def recorded(event: EventT) -> Sequence[ActionT]:
            taken = kept(event)
            try:
                actions = handle(event)
            except InvalidTransition as error:
                error.preceding = (*self.entries[-SHOWN_EVENTS:], LoggedEvent(taken))
                raise
            except VarsimError as error:
                self.note(LoggedEvent(taken, error=error))
                raise
            self.note(LoggedEvent(taken, tuple(kept(action) for action in actions)))
            return actions

        return recorded


def kept(value: Any) -> Any:
    """Return a value with copies of all its arrays, so that the result cannot change."""
    if isinstance(value, np.ndarray):
        copy = np.array(value)
        copy.setflags(write=False)
        return copy
    if isinstance(value, tuple | list):
        return type(value)(kept(member) for member in value)
    if is_dataclass(value) and not isinstance(value, type):
        before = {field.name: getattr(value, field.name) for field in fields(value)}
        changed = {name: kept(one) for name, one in before.items()}
        if any(changed[name] is not before[name] for name in before):
            return replace(value, **changed)
    return value
