"""Damage histories, and say which damaged histories a correct run could have recorded."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.analysis.healthy import DEFERRED, ROWS, Healthy, with_rows
from varsim.tracing.history import PROGRAM, Event


@dataclass
class Corrupted:
    """A damaged history."""

    how: str
    events: list[Event]
    harmless: str = ""  # why a correct run could record this history; empty if no correct run could
    complete: bool = True


def _choose(
    story: Healthy, chance: random.Random, wanted: Callable[[Event], object]
) -> tuple[int, Event]:
    return chance.choice([(i, one) for i, one in enumerate(story.events) if wanted(one)])


def another_value(story: Healthy, chance: random.Random) -> Corrupted:
    """Add one to an element of a value. In half of the cases, change the digest to match."""
    index, event = _choose(story, chance, lambda one: one.value is not None)
    array = np.frombuffer(event.value, event.dtype).copy()
    array[chance.randrange(len(array))] += 1
    content = array.tobytes()
    digest = event.digest
    if chance.random() < 0.5:
        digest = zlib.crc32(content, zlib.crc32(event.indices or b""))
    changed = event._replace(value=content, digest=digest)
    events = [*story.events]
    events[index] = changed
    why = ""
    if event.kind == "write" and event.variable == story.variables[DEFERRED].variable:
        why = "sums of adaptive variables are unchecked"
    elif event.indices is not None and _is_same_write(event, changed):
        why = "the row is overwritten"
    return Corrupted(f"value of {event}", events, why if digest != event.digest else "")


def _is_same_write(event: Event, other: Event) -> bool:
    """Return whether two local sparse writes always have the same result."""
    if event.position is not None or event.process == PROGRAM:
        return False  # the judge compares the rows of this write with the rows of the commit
    before = [-1 - i for i in range(ROWS)]
    results = [
        with_rows(
            before,
            one.operation or "",
            (
                np.frombuffer(one.indices or b"", np.int64).tolist(),
                np.frombuffer(one.value or b"", one.dtype).tolist(),
            ),
        )
        for one in (event, other)
    ]
    return results[0] == results[1]


def another_digest(story: Healthy, chance: random.Random) -> Corrupted:
    """Replace a digest by the digest of another value."""
    index, event = _choose(story, chance, lambda one: one.digest is not None)
    events = [*story.events]
    events[index] = event._replace(digest=event.digest ^ (1 << chance.randrange(32)))
    return Corrupted(f"digest of {event}", events)


def another_version(story: Healthy, chance: random.Random) -> Corrupted:
    """Change a version by one."""
    index, event = _choose(story, chance, lambda one: one.version is not None)
    events = [*story.events]
    events[index] = event._replace(version=event.version + chance.choice([-1, 1]))
    return Corrupted(f"version of {event}", events)


def lost_event(story: Healthy, chance: random.Random) -> Corrupted:
    """Remove an event. If it is the last event of its process, the record is incomplete."""
    index, event = _choose(story, chance, lambda _: True)
    events = [one for one in story.events if one is not event]
    last = all(one.process != event.process for one in events[index:])
    return Corrupted(f"lost {event}", events, complete=not last)


def swapped(story: Healthy, chance: random.Random) -> Corrupted:
    """Swap two consecutive events of a process. Other events keep their causes."""
    at = {(one.process, one.number): one for one in story.events}
    index, first = _choose(story, chance, lambda one: (one.process, one.number + 1) in at)
    second = at[first.process, first.number + 1]
    other = story.events.index(second)
    events = [*story.events]
    events[index] = _at(first, second)
    events[other] = _at(second, first)
    moved = {first.event: second.event, second.event: first.event}
    events = [one._replace(cause=moved[one.cause]) if one.cause in moved else one for one in events]
    why = "" if _matters(story.events, events, first, second) else "their order has no meaning"
    return Corrupted(f"swapped {first} and {second}", events, why)


def another_index(story: Healthy, chance: random.Random) -> Corrupted:
    """Change an index of a sparse write, so that its value changes another row of the variable."""

    def changed(indices: np.ndarray, values: np.ndarray) -> None:
        row = chance.randrange(len(indices))
        indices[row] = (indices[row] + chance.randrange(1, ROWS)) % ROWS

    return _other_rows("index", story, chance, lambda one: one.indices, changed)


def swapped_rows(story: Healthy, chance: random.Random) -> Corrupted:
    """Swap two values that are written to one row."""

    def repeats(event: Event) -> bool:
        indices = np.frombuffer(event.indices or b"", np.int64)
        return len(set(indices.tolist())) < len(indices)

    def changed(indices: np.ndarray, values: np.ndarray) -> None:
        twice = next(i for i in range(ROWS) if (indices == i).sum() > 1)
        first, second = np.flatnonzero(indices == twice)[[0, -1]]
        values[[first, second]] = values[[second, first]]

    return _other_rows("order", story, chance, repeats, changed)


def _other_rows(
    what: str,
    story: Healthy,
    chance: random.Random,
    wanted: Callable[[Event], object],
    change: Callable[[np.ndarray, np.ndarray], None],
) -> Corrupted:
    """Change the rows of a sparse write. In half of the cases, change the digest to match."""
    index, event = _choose(story, chance, wanted)
    indices = np.frombuffer(event.indices, np.int64).copy()
    values = np.frombuffer(event.value, event.dtype).copy()
    change(indices, values)
    rows = {"indices": indices.tobytes(), "value": values.tobytes()}
    digest = event.digest
    if chance.random() < 0.5:
        digest = zlib.crc32(rows["value"], zlib.crc32(rows["indices"]))
    events = [*story.events]
    changed = events[index] = event._replace(**rows, digest=digest)
    harmless = digest != event.digest and _is_same_write(event, changed)
    why = "the row is overwritten" if harmless else ""
    return Corrupted(f"{what} of rows of {event}", events, why)


CORRUPTIONS = (
    another_value,
    another_digest,
    another_version,
    lost_event,
    swapped,
    another_index,
    swapped_rows,
)


def _at(at: Event, what: Event) -> Event:
    return what._replace(event=at.event, number=at.number, time_s=at.time_s)


# ---------------------------------------------------------------- whether an order matters

DEFERRED_NUMBER = 11
"""The number of the adaptive variable, which is created last."""

CHANGES = frozenset({"create", "write", "commit", "install"})
LOOKS = frozenset({"read", "component"})
ENDS = frozenset({"begin", "return"})


def _matters(before: Sequence[Event], after: Sequence[Event], first: Event, second: Event) -> bool:
    """Return True if no correct run has `second` before `first`."""
    if any(one.cause is not None and one.cause >= one.event for one in after):
        return True
    if second.kind == "wait" and first.position is not None:
        return True  # the program receives the wait after the earlier messages of the replica
    if first.kind == "receive":
        return _needs_to_hear(before[first.cause - 1], second)
    if first.process != PROGRAM and {first.kind, second.kind} & ENDS:
        return _call_matters(before, first, second)
    if None not in {first.position, second.position} and PROGRAM != first.process:
        return True  # the numbers of a replica's collectives have the order of their events
    return (
        first.variable == second.variable
        and first.variable is not None
        and _conflict(first, second)
    )


def _conflict(first: Event, second: Event) -> bool:
    """Return whether the order matters for two events of one variable and process."""
    kinds = {first.kind, second.kind}
    if not kinds <= CHANGES | LOOKS or kinds <= LOOKS:
        return False
    if first.variable == DEFERRED_NUMBER and kinds == {"write"}:
        return False  # both writes add
    return not (first.kind == "install" and second.kind == "write" and second.position is not None)


def _needs_to_hear(heard: Event, then: Event) -> bool:
    """Return whether an event of the program is possible only after a message of a replica."""
    match then.kind:
        case "commit":
            return heard.kind == "wait" and heard.variable != DEFERRED_NUMBER
        case "read":
            return heard.kind == "component" and heard.variable == then.variable
        case "answer":
            return heard.kind == "arrive"
        case "finish":
            return heard.kind == "return"
    return False


def _call_matters(before: Sequence[Event], first: Event, second: Event) -> bool:
    """Return whether the order matters if one of two events begins or ends a call on a replica."""
    if second.kind == "begin" and first.kind == "install":
        return first.cause < second.cause  # earlier commits come before the call
    if second.kind == "begin":
        return first.call is not None
    return second.call == first.call if first.kind != "begin" else True
