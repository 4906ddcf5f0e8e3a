"""The track of one process: its events become slices that do not overlap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from varsim.timeline.trace_events import Entry, Point, Track, slice_

STEP_NS: Final = 10
"""The least time between two events of a process. Events of one message have the same time."""

SHORT_NS: Final = 1000
"""Length of the slice of an event that takes no time, if the next event is not sooner."""


class _Open(NamedTuple):
    """A slice whose end is not known yet."""

    name: str
    category: str
    start_ns: int
    args: Mapping[str, Any]


class Lane:
    """Turns the events of one process into slices.

    A slice for an event is short. The slice of a wait lasts until the next event of the process,
    except for events that belong to the wait. The slice of a call has all others in it.
    """

    def __init__(self, track: Track) -> None:
        self.track = track
        self._now_ns = -STEP_NS
        self._free_ns = 0
        self._call: _Open | None = None
        self._wait: _Open | None = None
        self._short: _Open | None = None
        self._ends_call = False

    def at(self, time_ns: int, *, in_wait: bool = False) -> Iterator[Entry]:
        """Begin a moment: yield the slices that end with it.

        Args:
            in_wait: Whether the moment belongs to the wait before it.
        """
        before_ns = self._now_ns
        self._now_ns = now_ns = max(time_ns, before_ns + STEP_NS)
        self._free_ns = max(0, before_ns + min(SHORT_NS, (now_ns - before_ns) // 2))
        yield from self._end_short()
        if self._wait is not None and not in_wait:
            yield self._slice(self._wait, now_ns)
            self._wait = None

    @property
    def point(self) -> Point:
        """Return the point of the moment, for flows."""
        return Point(self.track, self._now_ns)

    def since_last(self, name: str, category: str, args: Mapping[str, Any]) -> tuple[Entry, Point]:
        """Return a slice from the event before this moment to this moment, and its point."""
        done = _Open(name, category, self._free_ns, args)
        return self._slice(done, self._now_ns), Point(self.track, self._free_ns)

    def begin_call(self, name: str, args: Mapping[str, Any]) -> Iterator[Entry]:
        """Begin the slice of a call; first end the call before it, whose end is not recorded."""
        if self._call is not None:
            yield self._slice(self._call, self._now_ns)
        self._call = _Open(name, "call", self._now_ns, args)

    def wait(self, name: str, args: Mapping[str, Any]) -> None:
        """Begin the slice of a wait."""
        self._wait = _Open(name, "wait", self._now_ns, args)

    def event(
        self, name: str, category: str, args: Mapping[str, Any], *, ends_call: bool = False
    ) -> None:
        """Begin the short slice of an event.

        Args:
            ends_call: Whether the slice of the call ends with it.
        """
        self._short = _Open(name, category, self._now_ns, args)
        self._ends_call = ends_call

    def finish(self) -> Iterator[Entry]:
        """Yield the slices that are still open at the end of the record."""
        yield from self.at(self._now_ns + SHORT_NS * 2)
        if self._call is not None:
            call = self._call._replace(args={**self._call.args, "end": "not recorded"})
            yield self._slice(call, self._now_ns)

    def _end_short(self) -> Iterator[Entry]:
        if self._short is None:
            return
        yield self._slice(self._short, self._free_ns)
        self._short = None
        if self._ends_call and self._call is not None:
            yield self._slice(self._call, self._free_ns)
            self._call = None
        self._ends_call = False

    def _slice(self, opened: _Open, end_ns: int) -> Entry:
        name, category, start_ns, args = opened
        return slice_(self.track, name, category, start_ns, end_ns, args)
