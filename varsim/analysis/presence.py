"""The replicas that take part in each call: all replicas except those that have joined."""

from __future__ import annotations

from collections.abc import Sequence

from varsim.analysis.observer import EventObserver
from varsim.tracing.history import Event


class Presence(EventObserver):
    """Records which replicas take part in each call."""

    def __init__(self, num_replicas: int) -> None:
        self._everyone = range(num_replicas)
        self._present: dict[int | None, range] = {}

    def on_call(self, event: Event) -> None:
        """Record which replicas take part in a call, if some have joined."""
        if event.present is not None:
            self._present[event.call] = range(event.present)

    @property
    def some_joined(self) -> bool:
        """Return whether some replicas have joined in a call so far."""
        return bool(self._present)

    def members(self, event: Event) -> Sequence[int]:
        """Return the replicas that take part in the collective of an event."""
        present = self.of(event.call)
        return [one for one in event.group if one in present] if event.group else present

    def of(self, call: int | None) -> range:
        """Return the replicas that take part in a call."""
        return self._present.get(call, self._everyone)
