"""The history of a run as tracks: a slice for each event, and arrows for messages and merges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, Final

from varsim.analysis.findings.model import Finding
from varsim.report.hosts_table import traffic_in_short
from varsim.report.space_time import cell, who
from varsim.timeline.finding_marks import marks_of
from varsim.timeline.lanes import STEP_NS, Lane
from varsim.timeline.merge_flows import MergeFlows
from varsim.timeline.sent_bytes import SentBytes
from varsim.timeline.trace_events import (
    FINDING,
    Entry,
    Point,
    Track,
    flow,
    instant,
    process_labels,
    process_name,
    thread_name,
)
from varsim.tracing.call_window import events_of_calls
from varsim.tracing.history import PROGRAM, Event, History

_NS_PER_S: Final = 10**9

_WAITS: Final = frozenset({"wait", "arrive", "request", "ask"})
"""After such an event, its process does nothing until the next event."""

_IN_WAIT: Final = "give"
"""The kind of the events between an `arrive` and its answer."""

_BEGIN: Final = frozenset({"call", "begin"})
_END: Final = frozenset({"finish", "return", "raise"})
_MARKED: Final = frozenset({"raise", "abort", "lost", "notice"})
"""Events that also have a mark, so that they are visible when the view shows a long time."""

_REDUCED: Final = frozenset({"reduced", "merged"})
"""The operations of an `answer` whose result is computed from the values of replicas."""

_ARGS: Final = ("location", "version", "times", "error", "note", "shape", "dtype")


class RunTimeline:
    """Turns the events of one history into entries of a trace."""

    def __init__(
        self,
        history: History,
        pid: int,
        title: str,
        numbers: count[int],
        findings: Sequence[Finding] = (),
    ) -> None:
        """Describe where the entries of a history stand.

        Args:
            pid: The number of the group of tracks, unique in the file.
            title: The name of the group.
            numbers: Yields the numbers of flows, unique in the file.
            findings: The findings about the history, which become marks.
        """
        self._history = history
        self._pid = pid
        self._title = title
        self._numbers = numbers
        self._lanes: dict[int, Lane] = {}
        self._points: dict[int, Point] = {}  # event → its point, for causes
        self._names = {number: row.name for number, row in history.variables.items()}
        self._merges = MergeFlows(numbers)
        self._bytes = SentBytes(history, pid)
        self._marks = marks_of(findings)
        self._reduction: tuple[Event, Point] | None = None
        self.events = 0
        """The number of events so far."""

    def entries(self, calls: tuple[int, int] | None, start_s: float) -> Iterator[Entry]:
        """Yield the entries of all events, or of some calls.

        Args:
            calls: The number of the first call, and of the first call after the window.
            start_s: What is added to all times, in seconds.
        """
        yield process_name(self._pid, self._title)
        hosts = [self._history.host_of(i) for i in range(self._history.num_replicas)]
        if said := traffic_in_short(hosts, self._history.traffic):
            yield process_labels(self._pid, said)
        where, parameters = ("1", ()) if calls is None else events_of_calls(self._history, *calls)
        for event in self._history.events(where, parameters):
            yield from self._event(event, round((event.time_s + start_s) * _NS_PER_S))
            self.events += 1
        for lane in self._lanes.values():
            yield from lane.finish()
        yield from self._merges.finish()

    def _event(self, event: Event, time_ns: int) -> Iterator[Entry]:
        lane = self._lanes.get(event.process)
        if lane is None:
            track = Track(self._pid, event.process - PROGRAM + 1)
            lane = self._lanes[event.process] = Lane(track)
            yield from thread_name(track, self._track_name(event.process))
        if event.cause is not None and (sent := self._points.get(event.cause)) is not None:
            time_ns = max(time_ns, sent.start_ns + STEP_NS)  # two processes note it in any order
        yield from lane.at(time_ns, in_wait=event.kind == _IN_WAIT)
        point = self._points[event.event] = lane.point
        yield from self._slices(event, lane)
        yield from self._flows(event, lane, point)
        self._bytes.event(event)
        if event.kind == "receive":
            yield from self._bytes.counters(point.start_ns)
        if event.kind in _MARKED:
            yield instant(lane.track, self._name(event), point.start_ns, self._args(event))
        for title, args in self._marks.get(event.event, ()):
            yield instant(lane.track, title, point.start_ns, args, category=FINDING)

    def _track_name(self, process: int) -> str:
        host, device = self._history.place_of(process)
        name = who(process)
        return f"{name} on {host}{f' ({device})' if device else ''}" if host else name

    def _slices(self, event: Event, lane: Lane) -> Iterator[Entry]:
        name, args = self._name(event), self._args(event)
        if event.kind in _BEGIN:
            yield from lane.begin_call(f"call {event.call}", args)
        elif event.kind in _WAITS:
            lane.wait(name, args)
        else:
            lane.event(name, event.kind, args, ends_call=event.kind in _END)

    def _flows(self, event: Event, lane: Lane, point: Point) -> Iterator[Entry]:
        if event.kind == "write" and event.position is not None:
            self._merges.write(event, point)
        elif event.kind == "commit" and self._merges.takes(event):
            yield from self._reduce(event, lane)
            assert self._reduction is not None, "it was just made"
            self._merges.commit(event, self._reduction[1], point)
        elif event.kind == "install":
            yield from self._merges.install(event, point)
            return  # the arrow of the merge shows the cause
        elif event.kind == "read":
            yield from self._merges.read(event, point)
        elif event.kind == "answer" and event.operation in _REDUCED:
            yield lane.since_last(f"reduce for {event.operation}", "reduce", self._args(event))[0]
        if event.cause is not None and event.cause in self._points:
            yield from flow(next(self._numbers), "message", [self._points[event.cause], point])

    def _reduce(self, event: Event, lane: Lane) -> Iterator[Entry]:
        """Yield the slice of a reduction, once for all commits of one moment."""
        if self._reduction is not None and self._reduction[0].time_s == event.time_s:
            return
        name = self._names.get(event.variable or 0, "")
        entry, point = lane.since_last(f"reduce {name}", "reduce", self._args(event))
        self._reduction = event, point
        yield entry

    def _name(self, event: Event) -> str:
        """Return the name of a slice. Slices of equal names are summed up by the viewer."""
        variable = "" if event.variable is None else self._names.get(event.variable, "a variable")
        parts: tuple[str | None, ...]
        match event.kind:
            case "write":
                parts = (event.operation, variable)
            case "wait":
                parts = ("wait for", variable)
            case "arrive":
                parts = ("wait at", event.operation)
            case "request":
                parts = ("wait for", event.operation, event.note)
            case "ask":
                parts = ("wait for", event.operation, "of", variable)
            case "receive":
                parts = ("receive from", f"replica {event.replica}")
            case _:
                parts = (event.kind, variable or event.operation)
        return " ".join(filter(None, parts))

    def _args(self, event: Event) -> dict[str, Any]:
        """Return what the viewer shows of an event that is selected."""
        found = {"event": event.event, "what": cell(event, self._names)}
        for name in _ARGS:
            value = getattr(event, name)
            if value is not None:
                found[name] = value
        return found
