"""Stale reads: a replica reads a component that lacks what happened before the read.

`Mirrors` looks at variables that count versions, `Missed` (in `missed.py`) at those that replicas
write apart. Both keep an `Age` for each variable: a histogram, and what shows the stale reads.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.findings.found import Evidence, Finder, Finding, Kind, milliseconds, times
from varsim.analysis.findings.subject import Subject
from varsim.tracing.history import Event

_NEVER: Final = (0, 0.0)

_KEPT: Final = 128
"""Commits of a variable whose times are kept; what is older is taken to be as old as the oldest."""


@dataclass(slots=True)
class Age:
    """How old the components were that the replicas read of one variable."""

    reads: Counter[int] = field(default_factory=Counter)  # by staleness, in versions or writes
    evidence: Evidence = field(default_factory=Evidence)  # of the stale ones
    oldest_s: float = 0.0

    def add(self, event: Event, staleness: int, age_s: float) -> None:
        """Counts a stale read."""
        self.reads[staleness] += 1
        self.oldest_s = max(self.oldest_s, age_s)
        self.evidence.add(event)

    def merge(self, other: Age) -> None:
        """Counts all that another one has counted."""
        self.reads.update(other.reads)
        self.evidence.merge(other.evidence)
        self.oldest_s = max(self.oldest_s, other.oldest_s)

    def histogram(self) -> tuple[tuple[int, int], ...]:
        """How old, and how many reads were so; the youngest first."""
        return tuple(sorted(self.reads.items()))


@dataclass(slots=True)
class _Mirror:
    age: Age = field(default_factory=Age)
    versions: list[int] = field(default_factory=list)  # the last commits
    times_s: list[float] = field(default_factory=list)
    of: list[int | None] = field(default_factory=list)  # whose component; None: all
    used: dict[int, tuple[int, float]] = field(default_factory=dict)  # by process: version, when
    newest_used: int = 0
    fresh: int = 0  # reads that no other process was ahead of


class Mirrors(Finder):
    """Finds reads of a mirrored variable that saw an older version than others had used before.

    What was committed and used by nobody is on its way, and no read could have waited for it.
    """

    def __init__(self, variables: Mapping[int, Subject]) -> None:
        self._variables = {number: one for number, one in variables.items() if one.mirrored}
        self._mirrors: defaultdict[int | None, _Mirror] = defaultdict(_Mirror)

    def concerns(self, variable: int | None) -> bool:
        """Mirrored variables."""
        return variable in self._variables

    def on_commit(self, event: Event) -> None:
        """Notes what was committed."""
        version = event.version
        if version is None:
            return
        mirror = self._mirrors[event.variable]
        mirror.versions.append(version)
        mirror.times_s.append(event.time_s)
        mirror.of.append(event.replica)
        if len(mirror.versions) >= 2 * _KEPT:
            del mirror.versions[:_KEPT], mirror.times_s[:_KEPT], mirror.of[:_KEPT]

    def on_read_by_program(self, event: Event) -> None:
        """Notes what was used."""
        if event.version is not None:
            _use(event, event.version, self._mirrors[event.variable])

    def on_read_by_replica(self, event: Event) -> None:
        """Judges how old it is, and notes that it was used."""
        version = event.version
        if version is None:
            return
        mirror = self._mirrors[event.variable]
        if version < mirror.newest_used:
            self._judge(event, version, mirror)
        else:
            mirror.fresh += 1
        _use(event, version, mirror)

    def finish(self) -> list[Finding]:
        """One finding for each variable with stale reads."""
        stale = [
            (self._variables[number], self._mirrors[number])
            for number in sorted(self._variables)
            if number in self._mirrors and self._mirrors[number].age.evidence.count
        ]
        for _, mirror in stale:
            if mirror.fresh:
                mirror.age.reads[0] += mirror.fresh
        return [finding(subject, mirror.age, "version", _WAIT) for subject, mirror in stale]

    def _judge(self, event: Event, version: int, mirror: _Mirror) -> None:
        missed = self._missed(event, version, mirror)
        if missed and any(
            used >= missed[0][0] and when_s < event.time_s
            for process, (used, when_s) in mirror.used.items()
            if process != event.process
        ):
            counted = all(one is None for one in mirror.of)  # then versions have no gaps
            staleness = missed[-1][0] - version if counted else len(missed)
            mirror.age.add(event, staleness, event.time_s - missed[0][1])
        else:
            mirror.age.reads[0] += 1

    def _missed(self, event: Event, version: int, mirror: _Mirror) -> list[tuple[int, float]]:
        start = bisect_right(mirror.versions, version)
        return [
            (mirror.versions[i], mirror.times_s[i])
            for i in range(start, len(mirror.versions))
            if mirror.of[i] in {None, event.process} and mirror.times_s[i] < event.time_s
        ]


def _use(event: Event, version: int, mirror: _Mirror) -> None:
    used = mirror.used.get(event.process, _NEVER)
    if version > used[0]:
        mirror.used[event.process] = version, event.time_s
        mirror.newest_used = max(mirror.newest_used, version)


_WAIT: Final = (
    "Let the readers wait for the write (ON_WRITE), or have all replicas meet (all_reduce, "
    "merge_call, the end of strategy.run) between the write and the read."
)


def finding(subject: Subject, age: Age, unit: str, remedy: str) -> Finding:
    """What is said of a variable's stale reads."""
    reads = sum(age.reads.values())
    stale = age.evidence.count
    lacked = "lacked" if unit == "write" else "were behind by"
    of = " of other replicas" if unit == "write" else ""
    return Finding(
        kind=Kind.STALE_READ,
        variable_id=subject.variable_id,
        variable=subject.name,
        places=age.evidence.most_places(),
        count=stale,
        what=(
            f"{stale:,} of {times(reads, 'read')} in replicas {lacked} up to "
            f"{times(max(age.reads), unit)}{of} that came before, for up to "
            f"{milliseconds(age.oldest_s)}."
        ),
        remedy=remedy,
        events=tuple(age.evidence.events),
        histogram=age.histogram(),
    )
