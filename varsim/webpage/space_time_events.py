"""The events of a space-time diagram as columns, with their messages and merges.

A page of 20,000 events must stay small, so a column has numbers, or the places of texts in a list
in which each text stands once. The script of the page reads these columns by the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from varsim.protocol.messages import is_own_call
from varsim.report.event_sentence import template_of
from varsim.report.space_time import value_text, who
from varsim.texts.facts import name_replicas
from varsim.tracing.call_window import events_of_calls
from varsim.tracing.history import PROGRAM, Event, History
from varsim.visible import visible

MOST_EVENTS: Final = 20_000
"""Largest number of events in the diagrams of a page: about 2 MB."""

_MOST_NOTE: Final = 200  # characters
_CARRIED: Final = frozenset({"component", "publish", "push", "advance", "ask"})
"""Kinds of events whose variable is in the replica's next message, as that of a contribution."""

_CONTRIBUTES: Final = frozenset({"write", "arrive"})
_RESULTS: Final = frozenset({"commit", "answer"})
_REDUCED: Final = frozenset({"reduced", "merged"})


class Texts:
    """A column of texts, each of which is stored once; place 0 is that of no text."""

    def __init__(self) -> None:
        self.texts = [""]
        self.of: list[int] = []
        self._places = {"": 0}

    def add(self, text: str) -> None:
        """Add the text of the next event; "" for none."""
        place = self._places.setdefault(text, len(self.texts))
        if place == len(self.texts):
            self.texts.append(text)
        self.of.append(place)


@dataclass(slots=True)
class Message:
    """An arrow: from the last event before a message was sent to the event that it caused."""

    sent: int  # the place of an event in the columns, as in all fields of this module
    received: int
    variables: list[int]  # numbers of the variables of which it has a value; [] for none


@dataclass(slots=True)
class Merge:
    """A band: the reductions that the program made together, from their parts to their results."""

    variables: set[int] = field(default_factory=set)
    began: dict[int, int] = field(default_factory=dict)  # process → its first event
    ended: dict[int, int] = field(default_factory=dict)  # process → its last event


@dataclass(slots=True, kw_only=True)
class SpaceTime:
    """What a diagram shows of a record."""

    processes: list[int]
    hosts: list[str]  # for each of them its host; "" for the program's
    variables: dict[int, str]  # number → name
    uses: dict[int, int]  # number of a variable → number of its events
    columns: dict[str, list[int]]
    texts: dict[str, Texts]
    messages: list[Message]
    merges: list[Merge]
    simulated: bool  # whether times show nothing
    calls: tuple[int, int] | None  # the first and the last call in the diagram; None for none
    last_call: int  # of the record
    before: int  # how many events of the record are before those of the diagram
    after: int

    @property
    def events(self) -> list[int]:
        """Return the numbers of the events."""
        return self.columns["event"]


def space_time_of(
    history: History,
    marked: Iterable[int],
    *,
    calls: tuple[int, int] | None,
    most: int = MOST_EVENTS,
) -> SpaceTime:
    """Return what a diagram shows of a history.

    Args:
        marked: Numbers of events that should be shown, such as those of findings.
        calls: The number of the first call, and that of the first call after the window; None for
            as many as there is room for: from the first one, or from the one before the first
            marked event if this does not fit.
        most: The largest number of events.
    """
    begin, end = _window(history, min(marked, default=None), calls, most)
    build = _Build(history)
    for event in history.events("event >= ? AND event < ?", (begin, end)):
        build.add(event)
    return build.done(begin - 1, max(0, history.last_event - end + 1))


def _window(
    history: History, marked: int | None, calls: tuple[int, int] | None, most: int
) -> tuple[int, int]:
    """Return the number of the first event, and of the first event after the window."""
    begin, end = 1, history.last_event + 1
    if calls is not None:
        _, (begin, end) = events_of_calls(history, *calls)
    if end - begin <= most:
        return begin, end
    found = history.connection.execute(
        "SELECT event, call FROM events WHERE kind = 'call' AND event >= ? AND event < ? "
        "ORDER BY event",
        (begin, end),
    )
    starts = [event for event, call in found if not is_own_call(call)]
    if calls is None and marked is not None and marked >= begin + most:
        earlier = [one for one in starts if one <= marked]
        begin = max(earlier[-2:][0] if earlier else begin, marked - most // 2)
    full = begin + most
    needed = marked if marked is not None and begin < marked < full else begin
    whole = [one for one in starts if needed < one <= full]
    return begin, end if end <= full else max(whole, default=full)


class _Build:
    """Adds events to the columns, one after the other."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._columns: dict[str, list[int]] = {
            name: [] for name in ("event", "process", "time_us", "rank", "variable", "cause")
        }
        self._texts: dict[str, Texts] = {}
        self._uses: dict[int, int] = {}
        self._calls: list[int] = []
        self._places: dict[int, int] = {}  # number of an event → its place
        self._last: dict[int, int] = {}  # process → the place of its last event
        self._first_s = 0.0
        self._messages = _Messages()
        self._merges = _Merges()

    def add(self, event: Event) -> None:
        """Add the next event in causal order."""
        place = len(self._places)
        cause = self._places.get(event.cause or 0)
        if not place:
            self._first_s = event.time_s
        ranks = self._columns["rank"]
        before = self._last.get(event.process), cause
        rank = 1 + max((ranks[one] for one in before if one is not None), default=-1)
        for name, number in (
            ("event", event.event),
            ("process", event.process),
            ("time_us", round((event.time_s - self._first_s) * 1e6)),
            ("rank", rank),
            ("variable", event.variable or 0),
            ("cause", event.cause or 0),
        ):
            self._columns[name].append(number)
        for name, text in _texts(self._history, event):
            self._texts.setdefault(name, Texts()).add(text)
        if event.variable is not None:
            self._uses[event.variable] = self._uses.get(event.variable, 0) + 1
        if event.begins_step and event.call is not None:
            self._calls.append(event.call)
        self._messages.add(event, place, cause)
        self._merges.add(event, place, cause)
        self._places[event.event] = self._last[event.process] = place

    def done(self, before: int, after: int) -> SpaceTime:
        """Return the diagram."""
        rows = self._history.variables
        calls = self._calls
        return SpaceTime(
            processes=sorted(self._last),
            hosts=[self._history.host_of(process) for process in sorted(self._last)],
            variables={number: rows[number].name for number in rows if number in self._uses},
            uses=self._uses,
            columns=self._columns,
            texts=self._texts,
            messages=self._messages.found,
            merges=[one for one in self._merges.found if len(one.began) > 1],
            simulated=bool(self._history.run.get("simulated")),
            calls=(calls[0], calls[-1]) if calls else None,
            last_call=self._history.last_call,
            before=before,
            after=after,
        )


def _texts(history: History, event: Event) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each column of texts; "" if the event has none."""
    yield "kind", event.kind
    yield "call", _optional(event.call)
    yield "operation", event.operation or ""
    yield "version", _optional(event.version)
    yield "collective", _optional(event.position)
    yield "group", name_replicas(event.group) if event.group else ""
    yield "component", "" if event.replica is None else who(event.replica)
    yield "location", visible(event.location or "")
    yield "value", visible(value_text(event))
    yield "form", f"{event.dtype} {event.shape}" if event.dtype else ""
    yield "times", _optional(event.times)
    yield "present", _optional(event.present)
    yield "error", visible(event.error or "")
    note = event.note or ""
    yield "note", visible(note if len(note) <= _MOST_NOTE else f"{note[:_MOST_NOTE]}…")
    yield "sentence", visible(template_of(history, event))


def _optional(number: int | None) -> str:
    return "" if number is None else str(number)


class _Messages:
    """Finds the messages, and the variables of which each one has a value."""

    def __init__(self) -> None:
        self.found: list[Message] = []
        self._outbox: dict[int, list[tuple[int, int]]] = {}  # replica → places and variables
        self._variables: list[int | None] = []  # of each event

    def add(self, event: Event, place: int, cause: int | None) -> None:
        """Add the next event. A contribution is in the message that is sent after it."""
        self._variables.append(event.variable)
        carried = event.kind in _CARRIED or (event.kind == "write" and event.position is not None)
        if carried and event.process != PROGRAM and event.variable is not None:
            self._outbox.setdefault(event.process, []).append((place, event.variable))
        if cause is None:
            return
        variables = [event.variable] if event.variable is not None else []
        if event.kind == "receive" and event.replica is not None:
            waiting = self._outbox.pop(event.replica, [])
            variables = [variable for at, variable in waiting if at <= cause]
            self._outbox[event.replica] = [one for one in waiting if one[0] > cause]
        elif not variables and (of_cause := self._variables[cause]) is not None:
            variables = [of_cause]
        self.found.append(Message(cause, place, list(dict.fromkeys(variables))))


class _Merges:
    """Finds the merges and the other reductions; those that are made together are one band."""

    def __init__(self) -> None:
        self.found: list[Merge] = []
        self._parts: dict[tuple[object, ...], list[tuple[int, int, int | None]]] = {}
        self._results: dict[int, Merge] = {}  # the place of a commit or an answer → its merge
        self._open: Merge | None = None

    def add(self, event: Event, place: int, cause: int | None) -> None:
        """Add the next event."""
        key = event.call, event.position, event.members
        if event.process == PROGRAM:
            if event.kind in _RESULTS and event.position is not None:
                if event.kind == "commit" or event.operation in _REDUCED:
                    self._result(key, event, place)
            elif event.kind == "result" and self._open is not None:
                self._open.ended[PROGRAM] = place
                self._results[place] = self._open
            elif event.kind == "receive":
                self._open = None
        elif event.kind in _CONTRIBUTES and event.position is not None:
            self._parts.setdefault(key, []).append((event.process, place, event.variable))
        if cause is not None and (merge := self._results.get(cause)) is not None:
            merge.ended[event.process] = place

    def _result(self, key: tuple[object, ...], event: Event, place: int) -> None:
        if self._open is None:
            self._open = Merge()
            self.found.append(self._open)
        merge = self._results[place] = self._open
        merge.began.setdefault(PROGRAM, place)
        merge.ended[PROGRAM] = place
        if event.variable is not None:
            merge.variables.add(event.variable)
        for process, part, _ in self._parts.pop(key, ()):
            merge.began[process] = min(part, merge.began.get(process, part))


def families(names: Sequence[str], most: int) -> list[str]:
    """Return the family of each variable, so that there are at most `most` families.

    If there are more variables, a family is the beginning of a name, such as `encoder/layer_1`. If
    there are too many beginnings, the rarest ones are the family `others`.
    """
    if len(set(names)) <= most:
        return list(names)
    parts = [_beginnings(name) for name in names]
    for depth in range(max(map(len, parts)), 0, -1):
        found = [one[min(depth, len(one)) - 1] for one in parts]
        if len(set(found)) <= most:
            return found
    found = [one[0] for one in parts]
    common = sorted(set(found), key=lambda one: (-found.count(one), found.index(one)))[: most - 1]
    return [one if one in common else OTHERS for one in found]


OTHERS: Final = "others"
"""The family of the variables that share no frequent beginning."""

_SEPARATORS: Final = "/._"


def _beginnings(name: str) -> list[str]:
    """Return the beginnings of a name at its separators, and the name."""
    ends = [place for place, letter in enumerate(name) if letter in _SEPARATORS and place]
    return [*(name[:end] for end in ends), name]
