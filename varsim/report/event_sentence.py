"""Sentences on one event of a record: who did what with which value, and what belongs to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from varsim.protocol.messages import is_own_call
from varsim.report.space_time import value_text
from varsim.texts.facts import name_replicas
from varsim.tracing.history import PROGRAM, Event, History

_MOST: Final = 8  # events of one kind that are listed
_COLLECTIVE: Final = ("arrive", "answer")

_SAID: Final[Mapping[str, str]] = {
    "create": "created {name}; each component has the value {value}",
    "forget": "dropped {name}",
    "call": "called a function on all replicas, as {call}",
    "begin": "began {call}",
    "compress": "wrote {value} to {name}, to be sent compressed",
    "commit": "committed {name} as version {version}, by {operation} of {value}",
    "install": "applied version {version} to its component of {name}",
    "component": "sent its component of {name} to the program: {value}",
    "fetch": "asked replica {replica} for its component of {name}",
    "wait": "waited for the commit of its write to {name}",
    "arrive": "arrived at {operation}",
    "give": "gave {value} to the collective",
    "request": "waited for other replicas: {operation} {note}",
    "release": "released the lock {note}",
    "answer": "answered {asker}: {operation}",
    "result": "gave replica {replica} the result of the collective: {value}",
    "take": "got {value} from {operation}",
    "sync": "synchronised {name} by {operation}; its component was {value}",
    "publish": "published its component of {name}: {value}",
    "push": "added {value} to the copy of {name} by a push",
    "advance": "changed the copy of {name} by {operation} of {value}",
    "renew": "replaced its cache of {name} by the copy: {value}",
    "carry": "took over {value} of {name} from an earlier incarnation",
    "state": "replaced what the policy of {name} keeps for replica {replica}",
    "ask": "asked for {name}: {operation}",
    "obtain": "got the value of {name}: {value}",
    "notice": "noticed a use of an object that may be wrong: {operation}",
    "receive": "received a message of replica {replica}",
    "return": "returned from its function",
    "raise": "raised {error}",
    "abort": "aborted {call}: {note}",
    "finish": "got the results of {call}",
    "lost": "lost the worker of replica {replica}: {note}",
}
"""Kind → what the process did. Writes and reads have sentences of their own."""


def sentence_of(history: History, event: Event) -> str:
    """Return in a sentence what an event is: who did what with which value, and where."""
    return template_of(history, event).format(
        value=value_text(event), version=event.version, call=event.call
    )


def template_of(history: History, event: Event) -> str:
    """Return the sentence on an event with the fields {value}, {version} and {call}.

    Similar events have the same template. It is a format string of Python, so other braces are
    doubled.
    """
    row = history.variables.get(event.variable or 0)
    call = "call {call} of strategy.run"
    has_value = event.value is not None or event.digest is not None
    known = {
        "name": "a variable" if row is None else _literal(row.name),
        "value": "{value}" if has_value else "a value that was not recorded",
        "operation": _literal(event.operation or "an operation"),
        "version": "{version}",
        "replica": "…" if event.replica is None else event.replica,
        "asker": "the collective" if event.replica is None else f"replica {event.replica}",
        "note": _literal(event.note or ""),
        "error": _literal(event.error or "an exception"),
        "call": call if event.call is not None and not is_own_call(event.call) else "its own call",
    }
    did = _did(event)
    subject = "The program" if event.process == PROGRAM else f"Replica {event.process}"
    at = f" at {_literal(event.location)}" if event.location else ""
    inside = "" if "{call}" in did or known["call"] != call else f", in {call}"
    reach = f" {_reach(event)}" if event.kind == "write" else ""
    return f"{subject} {did.format(**known).strip()}{at}{inside}.{reach}"


def _literal(text: str) -> str:
    """Return a text that is no field of a format string."""
    return text.replace("{", "{{").replace("}", "}}")


def _did(event: Event) -> str:
    """Return what the process did, with the names of the facts in braces."""
    match event.kind:
        case "finish" if event.error:
            return "got the error of {call}: {error}"
        case "write":
            return "wrote {name} by {operation} of {value}"
        case "read":
            version = "" if event.version is None else " (version {version})"
            return f"read {_read_of(event)}{{name}}: {{value}}{version}"
        case "lost" if event.replica is None:
            return "lost a worker: {note}"
    return _SAID.get(event.kind, f"recorded an event of the kind {event.kind}")


def _reach(event: Event) -> str:
    if event.position is not None:
        return "It is a contribution to a merge of all replicas."
    if event.process == PROGRAM:
        one = f"only the component of replica {event.replica}"
        return f"It changed {'all components' if event.replica is None else one}."
    return "It changed only its own component."


def _read_of(event: Event) -> str:
    if event.process != PROGRAM:
        return "its component of "
    return "" if event.replica is None else "the component of replica {replica} of "


def belonging(history: History, event: Event) -> str:
    """Return the events that belong to an event, in causal order; "" if none are known.

    Of a merge, these are the writes, the commit, and each process's first read of its version. Of
    another collective, these are the arrivals and the answers.
    """
    if event.kind in {*_COLLECTIVE, "give", "result"} and event.position is not None:
        steps = list(_of_collective(history, event))
    elif (commit := _commit_of(history, event)) is not None:
        steps = list(_of_commit(history, commit))
    else:
        steps = list(_of_component(history, event))
    return " → ".join(steps) if len(steps) > 1 else ""


def _commit_of(history: History, event: Event) -> Event | None:
    """Return the commit to which a write leads, or from which an install or a read follows."""
    where, values = "", tuple[int | None, ...]()
    match event.kind:
        case "commit":
            return event
        case "install":
            where, values = "event = ?", (event.cause,)
        case "write" if event.position is not None:
            where, values = "call = ? AND position = ?", (event.call, event.position)
        case "write" if event.process == PROGRAM:
            where, values = "event > ?", (event.event,)
        case "read" if event.version:
            where, values = "version = ?", (event.version,)
    if not where:
        return None
    found = history.events(
        "event IN (SELECT event FROM events WHERE variable = ? AND kind = 'commit' "  # noqa: S608  # our own
        f"AND (replica IS NULL OR replica = ?) AND {where} ORDER BY event LIMIT 1)",
        (event.variable, event.process if event.replica is None else event.replica, *values),
    )
    return next(found, None)


def _of_commit(history: History, commit: Event) -> Iterator[str]:
    writes = list(
        history.events(
            "variable = ? AND kind = 'write' AND call = ? AND position = ?",
            (commit.variable, commit.call, commit.position),
        )
    )
    if commit.position is None:
        writes = list(
            history.events(
                "event = (SELECT MAX(event) FROM events WHERE variable = ? AND kind = 'write' "
                "AND process = ? AND event < ?)",
                (commit.variable, PROGRAM, commit.event),
            )
        )
    yield from _listed("write", writes)
    yield f"commit {commit.event} (version {commit.version})"
    installs = history.events("variable = ? AND cause = ?", (commit.variable, commit.event))
    yield from _listed("install", [one for one in installs if one.kind == "install"])
    reads = history.events(
        "event IN (SELECT MIN(event) FROM events WHERE variable = ? AND kind = 'read' "
        "AND version = ? AND event > ? GROUP BY process)",
        (commit.variable, commit.version, commit.event),
    )
    yield from _listed("first read", list(reads))


def _of_collective(history: History, event: Event) -> Iterator[str]:
    for kind in _COLLECTIVE:
        found = history.events(
            "call = ? AND position = ? AND kind = ?", (event.call, event.position, kind)
        )
        same = [one for one in found if one.group == event.group]
        yield from _listed("arrival" if kind == "arrive" else kind, same)


def _of_component(history: History, event: Event) -> Iterator[str]:
    """Yield a write to one component and the next read of it, from either of them."""
    if event.process == PROGRAM or event.variable is None or event.kind not in {"write", "read"}:
        return
    other, compare, order = ("read", ">", "MIN") if event.kind == "write" else ("write", "<", "MAX")
    found = history.events(
        f"event = (SELECT {order}(event) FROM events WHERE variable = ? AND kind = ? "  # noqa: S608  # our own
        f"AND process = ? AND event {compare} ?)",
        (event.variable, other, event.process, event.event),
    )
    for one in sorted([event, *found], key=lambda it: it.event):
        is_next = one.kind == "read" and one is not event
        yield from _listed("next read" if is_next else one.kind, [one])


def _listed(what: str, events: list[Event]) -> Iterator[str]:
    """Yield events of one kind with their processes: "writes 57, 58 (replicas 0, 1)"."""
    if not events:
        return
    numbers = ", ".join(str(one.event) for one in events[:_MOST])
    more = f" and {len(events) - _MOST} more" if len(events) > _MOST else ""
    replicas = sorted({one.process for one in events} - {PROGRAM})
    names = [name_replicas(replicas)] if replicas else []
    names += ["the program"] if any(one.process == PROGRAM for one in events) else []
    yield f"{what}{'s' * (len(events) > 1)} {numbers}{more} ({' and '.join(names)})"
