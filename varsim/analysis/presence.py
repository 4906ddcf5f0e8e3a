"""The replicas that take part in each call and in each collective: all that have not joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from varsim.analysis.observer import EventObserver
from varsim.tracing.history import Event

_NONE: Final[Mapping[int, Event]] = {}


class Presence(EventObserver):
    """Records which replicas take part in each call, and which have joined during it."""

    def __init__(self, num_replicas: int) -> None:
        self._everyone = range(num_replicas)
        self._present: dict[int | None, range] = {}
        self._joined: dict[int | None, dict[int, Event]] = {}  # call → replica → its join
        self.some_joined = False
        """Whether some replicas have joined so far."""
        self.joined_during_call = False
        """Whether some of them have joined during a call, and not before it."""
        self.rejoined: Mapping[int, Event] = _NONE
        """The joins that the last answer has ended: replica → the event in which it has joined."""

    def on_call(self, event: Event) -> None:
        """Record which replicas take part in a call, if some have joined."""
        if event.present is not None:
            self._present[event.call] = range(event.present)
            self.some_joined = True

    def on_arrive(self, event: Event) -> None:
        """Record that a replica joins during a call."""
        if event.operation == "join" and event.position is not None:
            self._joined.setdefault(event.call, {}).setdefault(event.process, event)
            self.some_joined = self.joined_during_call = True

    def on_answer(self, event: Event) -> None:
        """End the joins of a call when all replicas have joined."""
        if event.operation == "joined":
            self.rejoined = self._joined.pop(event.call, _NONE)

    def on_finish(self, event: Event) -> None:
        """Drop the joins of a call."""
        self._joined.pop(event.call, None)

    def members(self, event: Event) -> Sequence[int]:
        """Return the replicas of the call, or of its group, for which the event is a collective.

        Some of them may have joined during the call; see `joined`.
        """
        present = self.of(event.call)
        return [one for one in event.group if one in present] if event.group else present

    def joined(self, event: Event) -> Mapping[int, Event]:
        """Return the replicas that have joined before the collective of an event, with their joins.

        A join does not concern the collectives of process groups.
        """
        joins = self._joined.get(event.call)
        if not joins or event.group or event.position is None:
            return _NONE
        return {i: one for i, one in joins.items() if (one.position or 0) <= event.position}

    def at_barrier(self, event: Event) -> tuple[Sequence[int], Mapping[int, Event]]:
        """Return the replicas that meet at a barrier, and those for which it does not wait.

        A barrier of all replicas does not wait for those that have joined.
        """
        members = self.members(event)
        joined = _NONE if event.group else self._joined.get(event.call, _NONE)
        return [one for one in members if one not in joined], joined

    def givers(self, event: Event) -> Sequence[int]:
        """Return the replicas that give values to the collective of an event."""
        members, joined = self.members(event), self.joined(event)
        return [one for one in members if one not in joined] if joined else members

    def of(self, call: int | None) -> range:
        """Return the replicas that take part in a call."""
        return self._present.get(call, self._everyone)
