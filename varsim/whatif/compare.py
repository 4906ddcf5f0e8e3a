"""Compare a recorded program with its replays under other settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import matches
from varsim.analysis.findings.compared import Compared
from varsim.analysis.findings.model import Finding
from varsim.analysis.findings.staleness import STALE_READ
from varsim.analysis.returned import ReturnedValue
from varsim.analysis.rounding import close
from varsim.analysis.search import Search
from varsim.errors import ConfigError
from varsim.extension_dtypes import kind_of
from varsim.report.formatting import names
from varsim.spec import Array
from varsim.sync.statistics import VariableStatistics
from varsim.texts.facts import share, times
from varsim.tracing.history import History, open_history
from varsim.tracing.merge import merge
from varsim.tracing.progress import Tell
from varsim.tracing.trace import TraceOptions
from varsim.transport.folders import PrivateFolder, new_path
from varsim.whatif.play import CallFailed, Played, Refusal, play
from varsim.whatif.reading import recorded_program, why_not_replayable
from varsim.whatif.recorded import (
    RecordedForget,
    RecordedProgram,
    RecordedRead,
    Settings,
    accesses,
    spec_of,
)


@dataclass(frozen=True, slots=True)
class ChangedRead:
    """A read whose value would change."""

    location: str
    step: int  # number of calls of strategy.run that had begun
    process: int
    before: Array
    after: Array | None  # None: the read would be refused or never happen


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The effect of other settings on one variable."""

    variable: int
    name: str
    before: Settings
    after: Settings
    reads: int
    changed: int  # reads whose value would change
    rounded: int  # reads that would differ by rounding only
    unknown: int  # reads that cannot be compared
    unrecorded: int  # unknown reads that depend on unrecorded values under any settings
    nan: int  # unknown reads with a NaN under both settings, which hides other differences
    astray: int  # unknown reads whose values in the replay and in the run differ
    first: ChangedRead | None  # the first read that would change
    refusal: Refusal | None  # the first operation that only the new settings would refuse
    cost_before: VariableStatistics
    cost_after: VariableStatistics
    stale_before: int  # replicas' reads that lacked earlier writes of other replicas
    stale_after: int  # 0 if the replay was not searched

    @property
    def harmless(self) -> bool:
        """Return whether certainly no read changes."""
        return not (self.changed or self.unknown or self.refusal)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The effect of other settings on a program."""

    effects: tuple[Effect, ...]  # one for each variable, in order of creation
    findings: tuple[Finding, ...]  # in the replayed program; () if it was not searched
    failure: str  # why the program would stop; "" if the program would not stop
    warned: tuple[str, ...]  # new warnings


@dataclass(frozen=True, slots=True)
class _PlayedRun:
    played: Played
    unknown: frozenset[int]  # reads that depend on unrecorded values
    findings: tuple[Finding, ...]
    failure: str
    separate: Mapping[int, str]  # variable → facts about copies that are trained separately
    compared: Compared | None  # the comparison with a single device, if there is one

    def stale(self) -> dict[int, int]:
        """Return the number of stale reads of each variable with such reads."""
        return {
            self.played.numbers[one.variable_id]: one.count
            for one in self.findings
            if one.kind is STALE_READ and one.variable_id is not None
        }


_PLAYED: Final = 0.5
_MERGED: Final = 0.7
"""Finished fractions of a replay: after playing, and after merging. The search comes last."""


class Replays:
    """Replays a recorded program under its own and under other settings.

    Training is not repeated: replicas and the program write the recorded values, also if a read in
    the replay has another value.
    """

    def __init__(
        self,
        history: History,
        oracle: History | None = None,
        tell: Tell | None = None,
        returned: tuple[ReturnedValue, ...] = (),
        *,
        expected: int = 1,
    ) -> None:
        """Replay the program as it was, and compare the reads with the record.

        Args:
            tell: A function that gets the finished fraction of all replays, from 0 to 1.
            returned: What the program returned, compared with a single device.
            expected: The number of replays, at most, as far as the caller knows.
        Raises:
            ConfigError: The record has no variables, or the simulated cluster is not installed.
        """
        self.program: RecordedProgram = recorded_program(history)
        self.left_out = self._left_out()
        """Sentences on the variables that the replay does not have, and what this means."""
        if not self.program.variables:
            none = "the record of this run has no variable: there is nothing to replay"
            raise ConfigError("\n".join(self.left_out) or none)
        if all(isinstance(one, RecordedForget) for one in self.program.actions):
            raise ConfigError("the record of this run has no operation: there is nothing to replay")
        shared = {one.row.name for one in self.program.left_out.values()} & {
            row.name for row in self.program.variables.values()
        }
        self._oracle = None if shared else oracle  # variables are compared by their names
        self._not_compared = sorted(shared) if oracle is not None else []
        self._tell = tell
        self._expected = expected
        self._told = 0.0  # the finished fraction before the current replay
        self._reads = [
            one for one in accesses(self.program.actions) if isinstance(one, RecordedRead)
        ]
        self._reads_by: defaultdict[int, list[RecordedRead]] = defaultdict(list)
        for one in self._reads:
            self._reads_by[one.variable].append(one)
        self._as_it_was = self._outcome(self.program.settings())
        self.findings = self._as_it_was.findings
        """The findings under the recorded settings."""
        self.compared = self._as_it_was.compared
        """The comparison with a single device under the recorded settings; None without one."""
        self.numbers = {row.name: number for number, row in self.program.variables.items()}
        """The numbers of variables by name; findings of a replay have other numbers."""
        self.troubles: dict[int, list[Finding]] = {}
        """For each variable with findings about its values, these findings."""
        for finding in self.findings:
            if finding.kind.about_values and finding.variable in self.numbers:
                self.troubles.setdefault(self.numbers[finding.variable], []).append(finding)
        if self.compared is not None:
            self.compared = replace(
                self.compared,
                returned=returned,
                collectives=(),  # a replay repeats that they happen, and not their values
                num_replicas=self.program.num_replicas,
            )
        self.separate = {
            number: facts
            for number, facts in self._as_it_was.separate.items()
            if number not in self.program.unknown
        }
        """For each variable that each replica trained separately, the facts as a clause."""
        self._astray = self._reads_astray()
        self.doubts = tuple(self._doubts())
        """Sentences on facts that the replay does not show, or that differ from the record."""

    def under(self, changes: Mapping[int, Settings], *, searched: bool = True) -> WhatIf:
        """Replay the program with other settings for some variables.

        Args:
            searched: Whether to record the replay, and to search the record for findings.
        Raises:
            ConfigError: A replay cannot show the effect of a setting.
        """
        now = self._as_it_was
        before = self.program.settings()
        settings = before | dict(changes)
        for number, one in changes.items():
            if why := self.why_not(number, one):
                raise ConfigError(f"variable {self.program.variables[number].name!r}: {why}")
        then = self._outcome(settings, searched=searched) if changes else now
        unknown = now.unknown | then.unknown | self._astray
        stale_before, stale_after = now.stale(), then.stale()
        effects = []
        for number, row in self.program.variables.items():
            if number not in now.played.costs or number not in then.played.costs:
                continue  # the variable was dropped
            own = self.reads_of(number)
            changed, rounded, nan, first = self._differences(own, then, unknown)
            refusal = then.played.refused.get(number)
            effects.append(
                Effect(
                    variable=number,
                    name=row.name,
                    before=before[number],
                    after=settings[number],
                    reads=sum(one.times for one in own),
                    changed=changed,
                    rounded=rounded,
                    unknown=nan + sum(one.times for one in own if one.event in unknown),
                    unrecorded=sum(one.times for one in own if one.event in now.unknown),
                    nan=nan,
                    astray=sum(one.times for one in own if one.event in self._astray),
                    first=first,
                    refusal=None if number in now.played.refused else refusal,
                    cost_before=now.played.costs[number],
                    cost_after=then.played.costs[number],
                    stale_before=stale_before.get(number, 0),
                    stale_after=stale_after.get(number, 0),
                )
            )
        warned = [text for text in then.played.warned if text not in now.played.warned]
        return WhatIf(tuple(effects), then.findings, then.failure, tuple(warned))

    def why_not(self, variable: int, settings: Settings) -> str:
        """Return why a replay cannot show a variable under some settings; "" if it can."""
        if variable in self.program.left_out:
            return self.program.left_out[variable].why
        return why_not_replayable(spec_of(self.program.variables[variable], settings))

    def reads_of(self, variable: int) -> list[RecordedRead]:
        """Return all reads of a variable, in recorded order."""
        return self._reads_by.get(variable, [])

    def _differences(
        self, reads: list[RecordedRead], then: _PlayedRun, unknown: frozenset[int]
    ) -> tuple[int, int, int, ChangedRead | None]:
        changed = rounded = nan = 0
        first = None
        for read in reads:
            before = self._as_it_was.played.values.get(read.event)
            after = then.played.values.get(read.event)
            if before is None or read.event in unknown:
                continue
            is_same = _same(before, after)
            if is_same or (after is not None and close(np.ravel(before), np.ravel(after))):
                if _has_nan(before):
                    nan += read.times
                elif not is_same:
                    rounded += read.times
                continue
            changed += read.times
            if first is None:
                first = ChangedRead(read.location, read.step, read.process, before, after)
        return changed, rounded, nan, first

    def _outcome(self, settings: Mapping[int, Settings], *, searched: bool = True) -> _PlayedRun:
        try:
            if not searched:
                played, failure = self._play(settings)
                return _PlayedRun(played, self._unknown(settings, played), (), failure, {}, None)
            return self._replayed(settings)
        finally:
            self._told += (1 - self._told) / max(self._expected, 1)
            self._expected -= 1

    def _replayed(self, settings: Mapping[int, Settings]) -> _PlayedRun:
        with PrivateFolder(new_path("replay-")) as private:
            folder = private.path
            played, failure = self._play(settings, trace=TraceOptions(folder))
            merge(folder, folder, tell=self._part(_PLAYED, _MERGED))
            with open_history(folder, validated=True) as history:
                search = Search(history, self._oracle)
                search.read(history, self._part(_MERGED, 1.0))
                findings, compared = search.conclude()
        unknown = self._unknown(settings, played)
        separate = {played.numbers[one]: facts for one, facts in search.separate_copies().items()}
        return _PlayedRun(played, unknown, findings, failure, separate, compared)

    def _unknown(self, settings: Mapping[int, Settings], played: Played) -> frozenset[int]:
        """Return the reads that depend on unrecorded values, as a second play shows."""
        if not self.program.unknown:
            return frozenset()
        other, _ = self._play(settings, other=True)
        return frozenset(
            event
            for event, value in played.values.items()
            if not _same(value, other.values.get(event))
        )

    def _part(self, begin: float, end: float) -> Tell | None:
        """Return the function that reports the progress of one part of a replay.

        If the number of replays is not known, the fraction of all never decreases: a replay that
        was not expected adds nothing.
        """
        tell, told = self._tell, self._told
        share = (1 - told) / max(self._expected, 1)
        if tell is None:
            return None
        return lambda done: tell(told + share * (begin + (end - begin) * done))

    def _play(
        self,
        settings: Mapping[int, Settings],
        *,
        other: bool = False,
        trace: TraceOptions | None = None,
    ) -> tuple[Played, str]:
        try:
            return play(
                self.program,
                settings,
                other=other,
                trace=trace,
                tell=None if other else self._part(0.0, _PLAYED),
            ), ""
        except CallFailed as error:
            return error.played, f"step {error.step}: {error.text}"

    def _reads_astray(self) -> frozenset[int]:
        """Return the reads whose values in replay and record differ for an unknown reason."""
        values, unknown = self._as_it_was.played.values, self._as_it_was.unknown
        return frozenset(
            one.event
            for one in self._reads
            if one.event not in unknown
            and (
                one.event not in values
                or matches(np.ravel(values[one.event]), one.recorded) is False
            )
        )

    def _left_out(self) -> list[str]:
        """Return sentences on the variables that the replay does not have."""
        by_reason: dict[str, list[str]] = {}
        for one in self.program.left_out.values():
            by_reason.setdefault(one.why, []).append(one.row.name)
        return [
            f"Left out of the replay: {names(found)}: {why}. So there are no figures about "
            f"{names(found)}, and no deadlock or mismatch at operations on {names(found)} is found."
            for why, found in by_reason.items()
        ]

    def _doubts(self) -> list[str]:
        doubts = [*self.left_out]
        if self._not_compared:
            doubts.append(
                "No value is compared with the single device's, because "
                f"{names(self._not_compared)} is also the name of a variable that is left out: "
                "give each variable its own name."
            )
        if self.program.problem:
            doubts.append(
                f"The record is not whole: {self.program.problem}. All numbers and reasons are "
                "about the recorded part."
            )
        if restored := [self.program.variables[one].name for one in self.program.restored()]:
            doubts.append(
                f"This record begins after {times(self.program.calls_before, 'call')}, with the "
                f"values that a restart put back: {names(restored)}. Under other settings, the "
                "replay begins with the same values, as if the settings were changed then. The "
                "costs do not include the restart."
            )
        if self._as_it_was.failure:
            doubts.append(f"The replay ends early, at {self._as_it_was.failure}.")
        values, unknown = self._as_it_was.played.values, self._as_it_was.unknown
        for number, row in self.program.variables.items():
            own = self.reads_of(number)
            hidden = sum(one.times for one in own if one.event in unknown)
            if hidden:
                doubts.append(
                    f"{row.name}: the values of {times(hidden, 'read')} are not known, because "
                    "values were too large to be recorded with trace: ops; use trace: messages."
                )
            wrong = [
                one
                for one in own
                if one.event not in unknown
                and one.event in values
                and matches(np.ravel(values[one.event]), one.recorded) is False
            ]
            if wrong:
                doubts.append(
                    f"{row.name}: {share(len(wrong), len(own), 'read', ('has', 'have'))} different "
                    f"values in the replay and in the run, first in step {wrong[0].step} at "
                    f"{wrong[0].location}: simultaneous events may have had another order."
                )
        return doubts


def _same(one: Array, other: Array | None) -> bool:
    if other is None or one.dtype != other.dtype or one.shape != other.shape:
        return False
    return bool(np.array_equal(one, other, equal_nan=kind_of(one.dtype) in "fc"))


def _has_nan(array: Array) -> bool:
    return kind_of(array.dtype) in "fc" and bool(np.isnan(array).any())
