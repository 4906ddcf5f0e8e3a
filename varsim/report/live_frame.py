"""Lay out one frame of the live view of a run, as styled lines that fit a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from varsim.report.formatting import (
    NOTHING,
    begin_of,
    columns,
    count,
    duration,
    on_one_line,
    padded,
    size,
)
from varsim.report.grouping import short_names

MOST_REPLICAS: Final = 16
MOST_VARIABLES: Final = 8
_LEAST_ROWS: Final = 2  # of replicas and of variables; a lower terminal does not have them
_OTHER_LINES: Final = 6  # the lines of a frame that are not rows, and the progress bar
_HEAD_OF_VARIABLES: Final = 2  # lines above the rows of variables
_LOW: Final = _OTHER_LINES + _HEAD_OF_VARIABLES + 2 * _LEAST_ROWS
_NAME_WIDTH: Final = 12  # names get more if there is room
_MODE_WIDTH: Final = 20
_AMOUNTS_WIDTH: Final = 40
_SHORTEST_S: Final = 0.1  # shorter times change too fast to be read

RATE_S: Final = 3.0
"""Rates are those of this last time, in seconds."""

UNREAD: Final = "unread"
"""What is shown of the distance of components that the program has not read."""

BOLD, DIM, WAITS, LOST = "bold", "dim", "yellow", "red"


@dataclass(frozen=True, slots=True)
class LiveReplica:
    """One replica, or one worker, in a frame."""

    number: int
    kind: str  # "computes", "waits", "returned", "raised", "idle" or "lost"
    for_s: float | None = None  # for how long; None if it is not known
    rest: str = ""  # for whom it waits, and in which operation
    idle: float | None = None  # the share of the last seconds in which it waited; None if unknown
    held_up_by: int | None = None  # the replica for which it waited most in this time


@dataclass(frozen=True, slots=True)
class LiveVariable:
    """One variable in a frame."""

    name: str
    mode: str
    size_bytes: int
    bytes_per_s: float
    waited_s: float
    apart: str  # how far its components are apart


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """What one frame shows. The rows are in the order of their importance."""

    facts: Sequence[str]  # the first line
    replicas: Sequence[LiveReplica]  # all of them, in replica order
    variables: Sequence[LiveVariable]  # all of them, the largest first
    share: float | None = None  # in which share of the time the program waits for replicas
    noun: str = "replica"
    note: str = ""  # what the frame cannot show, and why


Line = list[tuple[str, str]]
"""The parts of a line: text and style."""


def frame_lines(frame: LiveFrame, width: int, height: int) -> list[Line]:
    """Return the lines of a frame; none is wider than `width`, and the progress bar fits too.

    A low terminal gets no variables, and a still lower one gets no lines.
    """
    if frame.variables and height < _LOW:
        frame = replace(frame, variables=(), note=f"variables: in a terminal of {_LOW} lines")
    if height < _OTHER_LINES + min(_LEAST_ROWS, len(frame.replicas)):
        return []
    replicas, variables = _rooms(height, len(frame.replicas), len(frame.variables))
    lines: list[Line] = [[("   ".join(frame.facts), BOLD)], *_share_line(frame)]
    lines += _replica_lines(frame, replicas, width)
    if frame.variables:
        lines += [[], *_variable_lines(frame.variables, variables, width)]
    if frame.note:
        lines.append([(frame.note, DIM)])
    return [*(_cut(line, width) for line in lines), []]


def rate_text(rate: float) -> str:
    """Return a number of things per second."""
    return count(round(rate)) if rate >= 100 else f"{rate:.1f}"


def _rooms(height: int, replicas: int, variables: int) -> tuple[int, int]:
    """Return how many rows of replicas and of variables fit."""
    room = height - _OTHER_LINES - (_HEAD_OF_VARIABLES if variables else 0)
    most = min(MOST_VARIABLES, variables, max(_LEAST_ROWS, room // 3))
    rows = min(MOST_REPLICAS, replicas, max(_LEAST_ROWS, room - most))
    return rows, max(most, min(MOST_VARIABLES, variables, room - rows))


def _cut(line: Line, width: int) -> Line:
    cut: Line = []
    for text, style in line:
        room = width - sum(columns(one) for one, _ in cut)
        if columns(text) > room:
            if room > 0:
                cut.append((_ended(text, room), style))
            break
        cut.append((text, style))
    return cut


def _ended(text: str, width: int) -> str:
    """Return a text without the end that does not fit."""
    return text if columns(text) <= width else f"{begin_of(text, width - 1)}…"


def _share_line(frame: LiveFrame) -> list[Line]:
    if frame.share is None:
        return []
    own = 1 - frame.share
    return [
        [
            (
                f"the program waits for {frame.noun}s {frame.share:.0%} of the time, "
                f"and computes {own:.0%}",
                DIM,
            )
        ]
    ]


# ---------------------------------------------------------------- replicas


def _replica_lines(frame: LiveFrame, room: int, width: int) -> list[Line]:
    shown = _told(frame.replicas, room)
    number = max(len(frame.noun), *(len(str(one.number)) for one in frame.replicas))
    does = max(20, width - number - 2 - 16)
    heads = f"{'idle':>6}{'most for':>10}"
    lines: list[Line] = [[(f"{frame.noun:>{number}}  {'does':<{does}}{heads}", DIM)]]
    for one in shown:
        for_s = "" if one.for_s is None or one.for_s < _SHORTEST_S else f" {duration(one.for_s)}"
        words = _ended(on_one_line(" ".join(filter(None, [one.kind + for_s, one.rest]))), does)
        idle = NOTHING if one.idle is None else f"{one.idle:.0%}"
        most = NOTHING if one.held_up_by is None else str(one.held_up_by)
        style = {"waits": WAITS, "lost": LOST, "raised": LOST, "idle": DIM}.get(one.kind, "")
        lines.append(
            [
                (f"{one.number:>{number}}  ", ""),
                (padded(words, does), style),
                (f"{idle:>6}{most:>10}", ""),
            ]
        )
    others = Counter(one.kind for one in frame.replicas if one not in shown)
    if others:
        kinds = ", ".join(f"{many} {_plural(kind, many)}" for kind, many in others.items())
        lines.append([(f"{'…':>{number}}  {others.total()} more: {kinds}", DIM)])
    return lines


def _plural(kind: str, many: int) -> str:
    return kind.removesuffix("s") if many != 1 else kind


def _told(replicas: Sequence[LiveReplica], room: int) -> Sequence[LiveReplica]:
    """Return the replicas that fit: those that wait least, because the others wait for them."""
    if len(replicas) <= room:
        return replicas
    by_idle = sorted(replicas, key=lambda one: (one.kind != "lost", one.idle or 0.0, one.number))
    return sorted(by_idle[: room - 1], key=lambda one: one.number)


# ---------------------------------------------------------------- variables


def _variable_lines(variables: Sequence[LiveVariable], room: int, width: int) -> list[Line]:
    shown = variables if len(variables) <= room else variables[: room - 1]
    has_mode = width >= _NAME_WIDTH + _MODE_WIDTH + _AMOUNTS_WIDTH  # else amounts are preferred
    mode = _MODE_WIDTH if has_mode else 0
    name = max(columns(on_one_line(one.name)) for one in shown)
    name = max(_NAME_WIDTH, min(width - mode - _AMOUNTS_WIDTH, name))
    head = f"{'variable':<{name}}{_mode_cell('mode', mode)}"
    head += f"{'bytes':>10}{'per second':>12}{'waited':>9}{'apart':>9}"
    lines: list[Line] = [[(head, DIM)]]
    for one, label in zip(shown, short_names([one.name for one in shown], name), strict=True):
        lines.append(
            [
                (padded(label, name) + _mode_cell(one.mode, mode), ""),
                (_amounts([one]), ""),
                (f"{one.apart:>9}", WAITS if one.apart not in {"0", UNREAD, NOTHING} else ""),
            ]
        )
    others = variables[len(shown) :]
    if others:
        label = f"… {count(len(others))} more"
        lines.append([(f"{label:<{name + mode}}{_amounts(others)}", DIM)])
    return lines


def _mode_cell(mode: str, width: int) -> str:
    """Return the mode of a variable in a column of this width, which begins with a gap."""
    room = width - 2
    if room <= 0:
        return ""
    return f"  {padded(_ended(mode, room), room)}"


def _amounts(variables: Sequence[LiveVariable]) -> str:
    total = sum(one.size_bytes for one in variables)
    rate = sum(one.bytes_per_s for one in variables)
    waited_s = sum(one.waited_s for one in variables)
    return f"{size(total):>10}{size(round(rate)):>12}{_waited(waited_s):>9}"


def _waited(value_s: float) -> str:
    return "0" if value_s == 0 else duration(value_s)
