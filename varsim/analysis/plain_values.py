"""Find the values of plain variables, which were created outside the scope, in a history.

The notice of a replica's operation has the variable's value after the operation.
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from varsim.tracing import notices
from varsim.tracing.history import Event, History

PLAIN_EVENTS: Final = f"kind = 'notice' AND operation = '{notices.PLAIN}'"
"""The condition for the events of plain variables."""


class PlainName(NamedTuple):
    """What identifies a plain variable: its name, and the line that created it."""

    name: str
    created_at: str  # file:line


def plain_name(event: Event) -> PlainName:
    """Return the plain variable of a notice; its parts are empty if the notice lacks them."""
    told = notices.details(event.note)
    return PlainName(told.get("variable", ""), told.get("created_at", ""))


def plain_variables(history: History) -> list[PlainName]:
    """Return the plain variables that replicas used, in the order of their first use."""
    return list(dict.fromkeys(plain_name(event) for event in history.events(PLAIN_EVENTS)))


def shape_of(history: History, name: PlainName) -> list[int]:
    """Return the shape of the first recorded value of a plain variable; [] if there is none."""
    events = history.events(f"{PLAIN_EVENTS} AND shape IS NOT NULL")
    shapes = (event.shape for event in events if plain_name(event) == name)
    return list(json.loads(next(shapes, None) or "[]"))


def last_of_calls(history: History) -> dict[PlainName, list[int]]:
    """Return for each plain variable the last event of each call that uses it, in order.

    Only the numbers are kept, because values can be large.
    """
    found: dict[PlainName, dict[int | None, int]] = {}
    for event in history.events(PLAIN_EVENTS):
        found.setdefault(plain_name(event), {})[event.call] = event.event
    return {name: sorted(last.values()) for name, last in found.items()}
