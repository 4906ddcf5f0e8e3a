"""Which finding follows from which: the first of them is the cause, and leads in reports.

A finding about values follows from another one in two cases. Both are about the same variable, and
one kind of problem causes the other. Or a process read the other variable, when it had the problem,
and then wrote this variable in the same call. All findings stay in the list: only their order in
reports, and the words about them, depend on their causes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from varsim.analysis.findings.conflicts import READ_WRITE, WRITE_WRITE
from varsim.analysis.findings.divergence import DIVERGENCE
from varsim.analysis.findings.model import Cause, Finding, FindingKind
from varsim.analysis.findings.not_finite import NOT_FINITE
from varsim.analysis.findings.outside_variables import PLAIN
from varsim.analysis.findings.overflow import OVERFLOW
from varsim.analysis.findings.scaling_messages import FIRST_REPLICA_ONLY
from varsim.analysis.findings.staleness import STALE_READ
from varsim.tracing.history import PROGRAM, History

_OF_ONE_VARIABLE: Final = {
    DIVERGENCE: (WRITE_WRITE, READ_WRITE),
    STALE_READ: (WRITE_WRITE, READ_WRITE, DIVERGENCE),
    NOT_FINITE: (OVERFLOW,),
    FIRST_REPLICA_ONLY: (STALE_READ,),
}
"""Kind of finding → the kinds that cause it, if both are about one variable."""

APART: Final = frozenset({READ_WRITE, WRITE_WRITE, DIVERGENCE, STALE_READ, PLAIN})
"""Kinds of finding that say that replicas read other values of a variable than each other."""

_NOT_FINITE: Final = frozenset({OVERFLOW, NOT_FINITE})

_SPREADS: Final = ((_NOT_FINITE, _NOT_FINITE), (APART, APART | {FIRST_REPLICA_ONLY}))
"""Kinds that spread from a variable to the variables that are computed from it, and their kinds."""


def with_causes(history: History, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings with their causes, in the same order."""
    flows = _flows(history, findings)
    return tuple(
        replace(one, cause=Cause(lead.kind, lead.variable_id, lead.variable))
        if not one.own_cause and (lead := _lead_of(one, findings, flows)) is not None
        else one
        for one in findings
    )


def leading(findings: Sequence[Finding]) -> list[tuple[Finding, list[Finding]]]:
    """Return the findings without a cause in the list, each with all that follow from it."""
    by_key = {(one.kind, one.variable_id): one for one in findings}

    def cause_of(one: Finding) -> Finding | None:
        return None if one.cause is None else by_key.get((one.cause.kind, one.cause.variable_id))

    found = [(one, list[Finding]()) for one in findings if cause_of(one) is None]
    followers = {id(lead): followers for lead, followers in found}
    for one in findings:
        root = one
        while (cause := cause_of(root)) is not None:
            root = cause
        if root is not one:
            followers[id(root)].append(one)
    return found


_ACCESSES: Final = (
    "SELECT event, process, kind, call, variable FROM events "
    "WHERE kind IN ('read', 'write') AND event <= ?"
)

_Flows = dict[tuple[int, int], list[tuple[int, int]]]
"""Two variables → the events of a read of the first, and of a later write of the second."""


def _lead_of(one: Finding, findings: Sequence[Finding], flows: _Flows) -> Finding | None:
    """Return the finding that directly causes a finding; None if it has no known cause."""
    causes, seen = _OF_ONE_VARIABLE.get(one.kind, ()), _seen(one)
    same = [
        it
        for it in findings
        if it.kind in causes and it.variable_id == one.variable_id and _first(it) <= seen
    ]
    if same:
        return min(same, key=_first)
    earlier = [it for it in findings if _first(it) < seen and _spreads(it, one, flows)]
    return min(earlier, key=_first, default=None)


def _first(finding: Finding) -> int:
    return min(finding.events, default=0)


def _seen(finding: Finding) -> int:
    """Return the first event at which a problem is seen.

    The events of a wrong value that is read begin with the writes of this value.
    """
    if finding.kind is FIRST_REPLICA_ONLY:
        return max(finding.events, default=0)
    return _first(finding)


def _spreads(one: Finding, other: Finding, flows: _Flows) -> bool:
    """Return whether the problem of one finding can have caused the other, earlier or at it."""
    if one.variable_id is None or other.variable_id is None:
        return False
    if not any(one.kind in causes and other.kind in kinds for causes, kinds in _SPREADS):
        return False
    return any(
        _first(one) <= read and write <= max(other.events)
        for read, write in flows.get((one.variable_id, other.variable_id), ())
    )


def _flows(history: History, findings: Sequence[Finding]) -> _Flows:
    """Return where values of one variable with a finding can have come into another one."""
    spreading = frozenset[FindingKind]().union(*(kinds for _, kinds in _SPREADS))
    about = {
        one.variable_id: max(one.events)
        for one in sorted(findings, key=lambda it: max(it.events, default=0))
        if one.kind in spreading and one.variable_id is not None and one.events
    }
    if len(about) < 2:
        return {}
    found: _Flows = {}
    reads: dict[int, tuple[int | None, dict[int, int]]] = {}  # process → call, last reads in it
    for event, process, kind, call, variable in _accesses(history, about):
        in_call, seen = reads.get(process, (None, {}))
        if process != PROGRAM and in_call != call:
            seen = {}
        reads[process] = call, seen
        if kind == "read":
            seen[variable] = event
        else:
            for source, read in seen.items():
                if source != variable:
                    found.setdefault((source, variable), []).append((read, event))
    return found


def _accesses(
    history: History, about: dict[int, int]
) -> Iterator[tuple[int, int, str, int | None, int]]:
    """Yield the reads and writes of some variables, until the last event that shows a problem."""
    marks = ", ".join("?" * len(about))
    return history.connection.execute(
        f"{_ACCESSES} AND variable IN ({marks}) ORDER BY event",
        (max(about.values()), *about),
    )
