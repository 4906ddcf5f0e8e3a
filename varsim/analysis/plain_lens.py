"""The lens of a plain variable, which was created outside the scope: its operations, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from varsim.analysis.arithmetic import Flat, elements_of
from varsim.analysis.integrity import valid_events
from varsim.analysis.plain_values import PLAIN_EVENTS, PlainName, last_of_calls, plain_name
from varsim.extension_dtypes import named
from varsim.tracing import notices
from varsim.tracing.history import Event, History


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainOperation:
    """A read or a write of a plain variable by a replica.

    Attributes:
        event: The number of the event, for `varsim check --event`.
        call: The number of the strategy.run; None if it is not known.
        operation: read, or the name of a write.
        location: The line of the operation, as file:line.
        value: What is shown of the value after the operation; None if it was not recorded.
        oracle: What is shown of the single device's value after the call, at the last operation of
            the call; None if there is none.
    """

    event: int
    call: int | None
    replica: int | None
    operation: str
    location: str
    value: Any
    oracle: Any = None

    @property
    def is_read(self) -> bool:
        """Return whether the operation is a read."""
        return self.operation == notices.READ


def operations_of(
    history: History, name: PlainName, oracle: History | None, show: Callable[[Flat], Any]
) -> Iterator[PlainOperation]:
    """Yield the operations of replicas on a plain variable, in the order in which they took effect.

    Args:
        oracle: The history of the same program on a single device.
        show: Returns what is shown of a value, so that not every large value is kept.
    Raises:
        HistoryError: An event is invalid.
    """
    theirs = {} if oracle is None else _pairs(history, oracle, name)
    for event in valid_events(history, {}, PLAIN_EVENTS):
        if plain_name(event) != name:
            continue
        number, wanted = theirs.get(event.event), None
        if oracle is not None and number is not None:
            (other,) = oracle.events("event = ?", (number,))
            wanted = _shown(other, show)
        yield PlainOperation(
            event=event.event,
            call=event.call,
            replica=event.replica,
            operation=notices.details(event.note).get("operation", ""),
            location=event.location or "",
            value=_shown(event, show),
            oracle=wanted,
        )


def _pairs(history: History, oracle: History, name: PlainName) -> dict[int, int]:
    """Return the last event of each call → the single device's; {} if the numbers differ."""
    ours, theirs = (last_of_calls(one).get(name, []) for one in (history, oracle))
    return dict(zip(ours, theirs, strict=True)) if len(ours) == len(theirs) else {}


def _shown(event: Event, show: Callable[[Flat], Any]) -> Any:
    value = None if event.dtype is None else elements_of(event, named(event.dtype))
    return None if value is None else show(value)
