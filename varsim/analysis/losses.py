"""What the record shows about replicas whose records end early, and about the other replicas."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from varsim.analysis.completeness import cut_short
from varsim.analysis.components import ComponentState, ReplayedVariable
from varsim.analysis.outcome import Note
from varsim.analysis.replay import Replay
from varsim.analysis.sampled import is_part
from varsim.protocol.messages import is_own_call
from varsim.texts.facts import name_replicas, shown, times
from varsim.tracing.history import Event, History

_MOST_REPLICAS: Final = 3
_MOST_VARIABLES: Final = 4

_DONE: Final[Mapping[str, str]] = {
    "begin": "the begin of the call",
    "return": "the return of its function",
    "write": "{operation} of {name}",
    "read": "a read of {name}",
    "wait": "a wait for its write to {name}",
    "arrive": "{operation}",
    "request": "{operation} {note}",
    "release": "the release of lock {note}",
    "sync": "{operation} of {name}",
    "publish": "a publication of {name}",
    "push": "a push to {name}",
    "ask": "a request for {name}",
    "obtain": "a read of {name}",
    "advance": "{operation} of {name}",
    "raise": "the exception {error}",
}
"""Kind of event → what a replica did. Other kinds are parts of these, or answers."""


def unjudged(history: History) -> Iterator[Note]:
    """Yield a note on the replicas whose records end early: nothing after these ends was judged."""
    alike: dict[tuple[str, str], list[int]] = {}
    for replica, how in cut_short(history).items():
        last = _last(history, replica)
        after = "at all" if last is None else f"after {_told(history, last)}"
        alike.setdefault((after, how), []).append(replica)
    for (after, how), replicas in list(alike.items())[:_MOST_REPLICAS]:
        yield Note(text=f"what {name_replicas(replicas)} did {after}: {how}")
    more = [one for replicas in list(alike.values())[_MOST_REPLICAS:] for one in replicas]
    if more:
        yield Note(text=f"what {name_replicas(more)} did after the ends of their records")


def account(history: History, replay: Replay | None, call: int | None) -> str:
    """Return, in lines, what the lost replicas did last, and what the others did and hold.

    Args:
        replay: The replay of the whole record; None if it could not be replayed.
        call: The call in which workers were lost; None outside of calls.
    Returns:
        The lines; "" if the record does not end early, or cannot be read.
    """
    ends = cut_short(history)
    if not ends:
        return ""
    try:
        return "\n".join(_lines(history, replay, call, list(ends)))
    except sqlite3.Error:
        return ""


def _lines(
    history: History, replay: Replay | None, call: int | None, lost: Sequence[int]
) -> Iterator[str]:
    for replica in lost[:_MOST_REPLICAS]:
        last = _last(history, replica)
        if last is not None:
            said = f"The last operation in the record of replica {replica}: {_told(history, last)}"
            begun = call is None or last.call == call
            yield f"{said}." if begun else f"{said}. It has no operation of the failed call."
    others = [one for one in range(history.num_replicas) if one not in lost]
    at: dict[str, list[int]] = {}
    for replica in others if call is not None else ():
        last = _last(history, replica, call)
        if last is not None:
            at.setdefault(_told(history, last, in_call=False), []).append(replica)
    for told, replicas in at.items():
        yield f"The last operation of {name_replicas(replicas)} in that call: {told}."
    if replay is not None and others:
        yield from _held(history, replay, others)


def _last(history: History, replica: int, call: int | None = None) -> Event | None:
    """Return the last operation in the record of a replica, in one call or in any."""
    kinds = ", ".join("?" * len(_DONE))
    rows = history.connection.execute(
        "SELECT MAX(event) FROM events "  # noqa: S608  # only question marks are inserted
        f"WHERE process = ? AND (call = ? OR ? IS NULL) AND kind IN ({kinds})",
        (replica, call, call, *_DONE),
    )
    return next(history.events("event = ?", rows.fetchone()), None)


def _told(history: History, event: Event, *, in_call: bool = True) -> str:
    """Return what a replica did, with the line and the call."""
    row = None if event.variable is None else history.variables.get(event.variable)
    name = "" if row is None else row.name
    known = {"operation": event.operation, "note": event.note or "", "error": event.error}
    what = _DONE[event.kind].format(name=name, **known).strip()
    where = f" at {event.location}" if event.location else ""
    if event.call is None or not in_call:
        return f"{what}{where}"
    own = is_own_call(event.call)
    return f"{what}{where}, in {'a call of varsim itself' if own else f'call {event.call}'}"


def _held(history: History, replay: Replay, others: Sequence[int]) -> Iterator[str]:
    """Yield what the other replicas hold of the first variables."""
    known = [one for number, one in replay.variables.items() if number in history.variables]
    if not known:
        return
    verb = "hold" if len(others) > 1 else "holds"
    yield f"At the end of the record, {name_replicas(others)} {verb}"
    for one in known[:_MOST_VARIABLES]:
        by_text: dict[str, list[int]] = {}
        for replica in others:
            by_text.setdefault(_text_of(one, one.at_replica[replica]), []).append(replica)
        texts = [f"{text} on {name_replicas(ids)}" for text, ids in by_text.items()]
        texts = texts if len(texts) > 1 else list(by_text)
        yield f"  {history.variables[one.number].name}: {'; '.join(texts)}"
    if len(known) > _MOST_VARIABLES:
        yield f"  and {times(len(known) - _MOST_VARIABLES, 'variable')} more: see `varsim lens`"


def _text_of(variable: ReplayedVariable, component: ComponentState) -> str:
    value, shape = component.value, variable.promise.shape
    version = "" if component.version is None else f"version {component.version}"
    if value is None or is_part(value) or None in shape:
        return version or "not known"
    text = shown(value.reshape([size for size in shape if size is not None]))
    return f"{text} ({version})" if version and not variable.promise.apart else text
