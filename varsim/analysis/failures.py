"""Failures of a run: failed calls of `strategy.run` in the record, and the failure of the run.

A program may catch the error of a call and continue, so a successful run may have failed calls.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from varsim.analysis.failure_remedies import remedy_of
from varsim.analysis.findings.model import (
    MOST_EVENTS,
    MOST_LOCATIONS,
    Finding,
    FindingKind,
)
from varsim.analysis.losses import account
from varsim.analysis.replay import Replay
from varsim.analysis.returned import ReturnedValue
from varsim.protocol.messages import is_own_call
from varsim.texts.facts import times
from varsim.tracing.history import Event, History

FAILED_RUN: Final = FindingKind(name="failed run")
FAILED_CALL: Final = FindingKind(name="failed call")

DONE, FAILED, INTERRUPTED = "done", "failed", "interrupted"
UNKNOWN: Final = "unknown"
"""The status of a run without a summary: it was killed, or its summary could not be written."""

_DIGITS: Final = re.compile(r"\d+")
_LOCATION: Final = re.compile(r"(?<!created) at (.+?:\d+)(?=$|[\s,;)])", re.MULTILINE)
"""Matches a location in the text of an error."""

_STACK: Final = re.compile(r"innermost first:\n((?: {6}.+\n?)+)")
"""Matches the stack of a replica in the text of an error."""

_FRAME: Final = re.compile(r"^ {6}(.+:\d+) in ", re.MULTILINE)

_INTERRUPT: Final = "KeyboardInterrupt"
_LOST: Final = "WorkerLost"
_NOT_STARTED: Final = "StartError"
_ENDS_WORKERS: Final = {_LOST, "CallTimeout"}
"""The errors after which the workers of a strategy are incomplete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the program ended. The record does not contain this."""

    status: str  # DONE, FAILED, INTERRUPTED or UNKNOWN
    reached: str = ""  # "after 3 of 5 steps"
    spmd: bool = False  # whether every worker ran the whole script, as the function of one call
    kind: str = ""  # the class of the error, if the run failed
    text: str = ""  # the text of that error
    location: str = ""  # where in the program the error was raised, as file:line
    returned: tuple[ReturnedValue, ...] = ()  # what the program returned, with the comparison
    incarnation: int = 1  # the incarnation of its strategy that the record is of
    incarnations: int = 1  # the number of incarnations of this strategy
    unstarted: bool = False  # whether the workers of the last incarnation did not start

    @property
    def goes_on(self) -> bool:
        """Return whether the strategy went on after the end of the record."""
        return self.incarnation < self.incarnations - self.unstarted

    @property
    def failed(self) -> bool:
        """Return whether the run failed during this record."""
        return self.status == FAILED and not self.goes_on

    @property
    def is_known(self) -> bool:
        """Return whether it is known how the program ended."""
        return self.status != UNKNOWN

    @property
    def lacks_successor(self) -> bool:
        """Return whether the strategy was to go on after the record, but no workers started."""
        return self.unstarted and self.incarnation == self.incarnations - 1

    @property
    def early(self) -> str:
        """Return how the run ended early during this record; "" if it did not."""
        if self.goes_on:
            return ""
        return {
            INTERRUPTED: f"The run was interrupted {self.reached}",
            FAILED: f"The run failed {self.reached}",
            UNKNOWN: "The run has no summary.json: it was killed, or the file could not be written",
        }.get(self.status, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """What failed in a run."""

    findings: tuple[Finding, ...]  # the failure of the run comes first
    run_failed: bool  # according to the ending, or to the record if the ending is unknown


@dataclass(slots=True)
class _FailedCall:
    """A failed call, and the later calls that failed in the same way."""

    finish: Event
    said: str  # the text of the error
    raised: list[Event]  # exceptions of replicas, or losses of their workers
    count: int = 1
    last: int = 0  # the number of the last such call


def failures(history: History, ending: Ending | None, replay: Replay | None = None) -> Failures:
    """Return the failures in a run. The record need not be whole.

    Args:
        ending: How the program ended; None if this is not known.
        replay: A replay of all events, which shows what the replicas hold after a loss.
    """
    try:
        calls = list(_failed_calls(history))
        last = _last_call_failed(history, calls)
    except (sqlite3.Error, TypeError):  # a damaged record
        calls, last = [], False
    if ending is None or not ending.is_known:
        found = [_finding(history, one, ending, replay) for one in _alike(calls)]
        last = last and not (ending is not None and ending.goes_on)
        if last:
            what = f"{found[-1].what}\nNo later call is in the record."
            found[-1] = replace(found[-1], what=what)
        return Failures(findings=tuple(found), run_failed=last)
    if ending.status == INTERRUPTED and last and calls[-1].finish.error == _INTERRUPT:
        calls.pop()
    own: list[Finding] = []
    if ending.status == FAILED:
        last = last and not ending.goes_on
        ended = calls.pop() if last and _ended_the_run(calls[-1], ending) else None
        own.append(_of_run(history, ending, ended, replay))
    others = [_finding(history, one, ending, replay) for one in _alike(calls)]
    return Failures(findings=(*own, *others), run_failed=ending.status == FAILED)


def _failed_calls(history: History) -> Iterator[_FailedCall]:
    raised: dict[int | None, list[Event]] = {}
    lost: list[Event] = []
    where = "kind IN ('finish', 'raise', 'lost') AND note IS NOT NULL"
    for event in history.events(where):
        if event.kind == "lost":
            lost.append(event)
        elif event.kind == "raise":
            raised.setdefault(event.call, []).append(event)
        else:
            said = str(event.note)
            by = lost if event.error == _LOST else raised.pop(event.call, [])
            yield _FailedCall(event, said, list(by), last=event.call or 0)


def _last_call_failed(history: History, calls: Sequence[_FailedCall]) -> bool:
    """Return whether the call that ended last has failed."""
    if not calls:
        return False
    after = history.events("event > ? AND kind = 'finish'", (calls[-1].finish.event,))
    return next(after, None) is None


def _alike(calls: Sequence[_FailedCall]) -> list[_FailedCall]:
    """Group calls that failed in the same way; return the first of each group, with its count."""
    groups: dict[str, _FailedCall] = {}
    for one in calls:
        known = groups.setdefault(_DIGITS.sub("#", one.said), one)
        if known is not one:
            known.count += 1
            known.last = one.last
    return list(groups.values())


def _ended_the_run(call: _FailedCall, ending: Ending) -> bool:
    """Return whether the error of a call is the error that ended the run."""
    first_line = ending.text.partition("\n")[0]
    names = {str(kind).rpartition(".")[2] for kind in (call.finish.error, ending.kind)}
    return len(names) == 1 and first_line in call.said


def _finding(
    history: History, call: _FailedCall, ending: Ending | None, replay: Replay | None
) -> Finding:
    more = ""
    if call.count > 1:
        others = times(call.count - 1, "later call")
        more = f"\n{others} failed in the same way; the last one is call {call.last:,}."
    more += _account(history, call.finish.error, call, replay)
    return Finding(
        kind=FAILED_CALL,
        variable_id=None,
        variable="",
        locations=_locations(history, call),
        count=call.count,
        what=f"{_name(call, ending)} failed{_by(call)}: {call.said}{more}",
        remedy="Writes before the failure keep their effect. A write that was in progress may have "
        f"changed some components. {_afterwards(call, ending)}",
        events=_events(call),
    )


def _afterwards(call: _FailedCall, ending: Ending | None) -> str:
    """Return what the strategy did after a failed call, or what the user can do."""
    if call.finish.error not in _ENDS_WORKERS:
        return "If the program continues after this failure on purpose, there is nothing to do."
    if ending is not None and ending.goes_on:
        how = " The warnings in summary.json say how, and which values were lost, if any."
        return (
            f"The strategy went on with new workers, as incarnation {ending.incarnation + 1} of "
            f"{ending.incarnations}.{how if ending.is_known else ''}"
        )
    if ending is not None and ending.lacks_successor:
        why = " The failure of the run says why." if ending.kind == _NOT_STARTED else ""
        return (
            "The strategy did not go on, because the workers of incarnation "
            f"{ending.incarnations} did not start.{why}"
        )
    if ending is None or not ending.is_known:
        return "It is not known whether the strategy went on with new workers."
    return (
        "After it, the strategy could not run or write any more; on_worker_lost and max_restarts "
        "change this (docs/faults.md)."
    )


def failed_run(ending: Ending) -> Finding:
    """Return the finding about the failure of a run, without using the run's record."""
    remedy = remedy_of(ending.kind, ending.text)
    return Finding(
        kind=FAILED_RUN,
        variable_id=None,
        variable="",
        locations=((ending.location, 1),) if ending.location else (),
        count=1,
        what=f"{ending.kind}: {ending.text}",
        remedy=remedy.text,
        events=(),
        paste=remedy.paste,
    )


def _of_run(
    history: History, ending: Ending, call: _FailedCall | None, replay: Replay | None
) -> Finding:
    """Return the finding about a run's failure, with the failed call that caused it, if any."""
    finding = failed_run(ending)
    left = "" if ending.goes_on else _account(history, ending.kind, call, replay)
    if call is None:
        return replace(finding, what=finding.what + left)
    where = f"\nThe error occurred in {_name(call, ending)}{_by(call)}.{left}"
    locations = _locations(history, call) or finding.locations
    return replace(finding, what=finding.what + where, locations=locations, events=_events(call))


def _account(
    history: History, error: str | None, call: _FailedCall | None, replay: Replay | None
) -> str:
    """Return lines about lost replicas and the others, after an error that ends workers."""
    if str(error).rpartition(".")[2] not in _ENDS_WORKERS:
        return ""
    told = account(history, replay, None if call is None else call.finish.call)
    return f"\n{told}" if told else ""


def _name(call: _FailedCall, ending: Ending | None) -> str:
    if is_own_call(call.finish.call):
        return "a call of varsim itself"
    return "the script" if ending is not None and ending.spmd else f"call {call.finish.call}"


def _by(call: _FailedCall) -> str:
    """Return, as text, the replicas that raised an exception or lost their worker."""
    who = {one.process if one.kind == "raise" else one.replica or 0 for one in call.raised}
    if not who:
        return ""
    return f" on replica{'s' * (len(who) > 1)} {', '.join(map(str, sorted(who)))}"


def _locations(history: History, call: _FailedCall) -> tuple[tuple[str, int], ...]:
    """Return the locations at which the error was raised.

    If they are not known, return the locations in the error's text. If the text has none, return
    the last recorded location of each replica. For a lost worker, return this last location rather
    than the locations in the text, which are older.
    """
    locations = [one.location for one in call.raised if one.location]
    if call.finish.error in _ENDS_WORKERS:
        # A worker that varsim has ended was computing at a known line.
        ended = history.events("kind = 'lost' AND note IS NOT NULL")
        locations = [place for one in ended for place in _LOCATION.findall(one.note or "")]
    if call.finish.error == _LOST:
        locations = locations or list(_last_locations(history, call))
    said = _stuck_at(call.said) + _LOCATION.findall(call.said)
    locations = locations or said or list(_last_locations(history, call))
    return tuple((location, locations.count(location)) for location in dict.fromkeys(locations))[
        :MOST_LOCATIONS
    ]


def _stuck_at(said: str) -> list[str]:
    """Return the lines at which replicas were stuck, in the file of the function that they run."""
    found = []
    for stack in _STACK.findall(said):
        frames = _FRAME.findall(stack)
        file = frames[-1].rpartition(":")[0]  # the outermost frame is the function's
        found.append(next(one for one in frames if one.rpartition(":")[0] == file))
    return found


def _last_locations(history: History, call: _FailedCall) -> Iterator[str]:
    lost = {one.replica for one in call.raised}
    rows = history.connection.execute(
        "SELECT process, location, MAX(event) FROM events "
        "WHERE call = ? AND process >= 0 AND location IS NOT NULL GROUP BY process",
        (call.finish.call,),
    )
    return (location for process, location, _ in rows if not lost or process in lost)


def _events(call: _FailedCall) -> tuple[int, ...]:
    return tuple(one.event for one in (*call.raised, call.finish))[:MOST_EVENTS]
