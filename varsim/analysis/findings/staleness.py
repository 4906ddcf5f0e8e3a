"""Stale reads: a replica reads a component that lacks earlier commits.

`VersionStaleness` checks mirrored variables, by the versions of reads. `LocalStaleness` in
`local_staleness.py` checks variables that each replica writes for itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Certainty,
    Evidence,
    Finder,
    Finding,
    FindingKind,
    Proposed,
    finding_of,
    milliseconds,
)
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.texts.facts import share, times
from varsim.tracing.history import Event

STALE_READ: Final = FindingKind(name="stale read", certainty=Certainty.PATTERN, about_values=True)

_NEVER: Final = (0, 0.0)

_KEPT_COMMITS: Final = 128
"""Number of commits of a variable whose times are kept. Older commits get the oldest kept time."""


@dataclass(slots=True)
class Staleness:
    """How old the components of one variable are in the replicas' reads."""

    reads: Counter[int] = field(default_factory=Counter)  # by staleness, in versions or writes
    evidence: Evidence = field(default_factory=Evidence)  # of the stale reads
    oldest_s: float = 0.0  # the longest time from a missing version or write to a read

    def add(self, event: Event, staleness: int, age_s: float) -> None:
        """Count a stale read."""
        self.reads[staleness] += 1
        self.oldest_s = max(self.oldest_s, age_s)
        self.evidence.add(event)

    def merge(self, other: Staleness) -> None:
        """Add the reads of another `Staleness`."""
        self.reads.update(other.reads)
        self.evidence.merge(other.evidence)
        self.oldest_s = max(self.oldest_s, other.oldest_s)


# ---------------------------------------------------------------- by versions


@dataclass(slots=True)
class _VersionUses:
    staleness: Staleness = field(default_factory=Staleness)
    versions: list[int] = field(default_factory=list)  # versions of the last commits
    times_s: list[float] = field(default_factory=list)
    # The replica of each version's component; None for all components.
    owners: list[int | None] = field(default_factory=list)
    # process → the newest version that this process used, and the time
    used: dict[int, tuple[int, float]] = field(default_factory=dict)
    newest_used: int = 0
    fresh: int = 0  # reads of a version that is at least as new as all versions used before

    def use(self, event: Event, version: int) -> None:
        """Record that a process has read a version."""
        used = self.used.get(event.process, _NEVER)
        if version > used[0]:
            self.used[event.process] = version, event.time_s
            self.newest_used = max(self.newest_used, version)


class VersionStaleness(Finder):
    """Finds reads of a mirrored variable that return an older version than earlier uses.

    A commit that no process has used may still be in transit, so reads need not show it.
    """

    kinds = (STALE_READ,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._variables = {n: one for n, one in context.variables.items() if one.mirrored}
        self._mirrors: defaultdict[int | None, _VersionUses] = defaultdict(_VersionUses)

    def concerns(self, variable: int | None) -> bool:
        """Return whether the variable is mirrored."""
        return variable in self._variables

    def on_commit(self, event: Event) -> None:
        """Store the version and its time."""
        version = event.version
        if version is None:
            return
        mirror = self._mirrors[event.variable]
        mirror.versions.append(version)
        mirror.times_s.append(event.time_s)
        mirror.owners.append(event.replica)
        if len(mirror.versions) >= 2 * _KEPT_COMMITS:
            kept = slice(None, _KEPT_COMMITS)
            del mirror.versions[kept], mirror.times_s[kept], mirror.owners[kept]

    def on_read_by_program(self, event: Event) -> None:
        """Record that the version was used."""
        if event.version is not None:
            self._mirrors[event.variable].use(event, event.version)

    def on_read_by_replica(self, event: Event) -> None:
        """Judge the age of the version, and record that it was used."""
        version = event.version
        if version is None:
            return
        mirror = self._mirrors[event.variable]
        if version < mirror.newest_used:
            self._judge(event, version, mirror)
        else:
            mirror.fresh += 1
        mirror.use(event, version)

    def finish(self) -> list[Finding]:
        """Return one finding for each variable with stale reads."""
        stale = [
            (self._variables[number], self._mirrors[number])
            for number in sorted(self._variables)
            if number in self._mirrors and self._mirrors[number].staleness.evidence.count
        ]
        for _, mirror in stale:
            if mirror.fresh:
                mirror.staleness.reads[0] += mirror.fresh
        return [stale_finding(facts, mirror.staleness, "version", _WAIT) for facts, mirror in stale]

    def _judge(self, event: Event, version: int, mirror: _VersionUses) -> None:
        missed = self._missed(event, version, mirror)
        if missed and any(
            used >= missed[0][0] and when_s < event.time_s
            for process, (used, when_s) in mirror.used.items()
            if process != event.process
        ):
            counted = all(one is None for one in mirror.owners)  # if true, versions have no gaps
            staleness = missed[-1][0] - version if counted else len(missed)
            mirror.staleness.add(event, staleness, event.time_s - missed[0][1])
        else:
            mirror.staleness.reads[0] += 1

    def _missed(self, event: Event, version: int, mirror: _VersionUses) -> list[tuple[int, float]]:
        """Return the later versions of the read component that were committed before the read."""
        # The versions of all components are in order; those of single components may be mixed.
        is_sorted = all(one is None for one in mirror.owners)
        start = bisect_right(mirror.versions, version) if is_sorted else 0
        return [
            (mirror.versions[i], mirror.times_s[i])
            for i in range(start, len(mirror.versions))
            if mirror.versions[i] > version
            and mirror.owners[i] in {None, event.process}
            and mirror.times_s[i] < event.time_s
        ]


# ---------------------------------------------------------------- texts


_WAIT: Final = (
    "Let the readers wait for the write (ON_WRITE), or put a collective (all_reduce, "
    "merge_call) or the end of strategy.run between the write and the read."
)


def stale_finding(
    facts: VariableFacts,
    staleness: Staleness,
    unit: str,
    remedy: str,
    settings: Proposed | None = None,
) -> Finding:
    """Return the finding about the stale reads of a variable, whose age is in `unit`s."""
    reads = sum(staleness.reads.values())
    stale = staleness.evidence.count
    behind = "in replicas was behind by", "in replicas were behind by"
    lacked = ("in replicas lacked",) * 2 if unit == "write" else behind
    whose = " of other replicas" if unit == "write" else ""
    return finding_of(
        STALE_READ,
        facts,
        staleness.evidence,
        f"{share(stale, reads, 'read', lacked)} up to "
        f"{times(max(staleness.reads), unit)}{whose}. The longest time from a missing {unit} to "
        f"the read was {milliseconds(staleness.oldest_s)}.",
        remedy,
        histogram=tuple(sorted(staleness.reads.items())),
        settings=settings,
    )
