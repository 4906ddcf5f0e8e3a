"""Sums that differ from a single device by an amount that the record explains.

The components of the variable start at a value that is added N times, or some components keep old
contributions when others start again.
Each rule demands the exact amount, so it needs no other sign that the runs are comparable.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat
from varsim.analysis.findings.compared import NEVER_COUNTED, Access, Site, site_of
from varsim.analysis.findings.comparison import Comparison
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Evidence,
    Finder,
    Finding,
    compared_kind,
    finding_of,
    led_by,
)
from varsim.analysis.findings.summed_parts import CommonStart, PartialReset
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.rounding import close, wide
from varsim.texts.facts import name_replicas, times
from varsim.tracing.history import PROGRAM

SUMMED_START: Final = compared_kind("starts at N times its initial value")
PARTIAL_RESET: Final = compared_kind("partial reset")


@dataclass(slots=True)
class _Reads:
    """The comparisons of the reads of one variable at one location."""

    count: int = 0
    wrong: int = 0
    multiples: int = 0  # values that are exactly N times the single device's
    started: int = 0  # values that exceed the single device's by N - 1 times the common start
    kept: int = 0  # wrong values that exceed the single device's by what was not set back
    begins: bool = False  # whether the first wrong value does, and not by chance
    recovers: bool = False  # whether a value after the first wrong one is right
    by_start: Evidence = field(default_factory=Evidence)
    by_reset: Evidence = field(default_factory=Evidence)
    start: tuple[CommonStart, Comparison] | None = None  # the first one
    reset: tuple[PartialReset, Comparison] | None = None  # the first one

    @property
    def decides_alone(self) -> bool:
        """Return whether the first wrong value shows a partial reset, and later ones follow it.

        If what is added depends on earlier reads, as gradients on weights, a wrong read changes all
        later values in both runs, and they exceed the single device's by other amounts.
        """
        return self.begins and not self.recovers


class Sums(Finder):
    """Finds sums with a summed start or a partial reset."""

    kinds = (SUMMED_START, PARTIAL_RESET)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._reads: dict[Site, _Reads] = {}
        comparisons = context.comparisons
        if comparisons is not None and comparisons.not_comparable != NEVER_COUNTED:
            comparisons.pass_to(self._compare)

    # ------------------------------------------------------------ reads

    def _compare(self, comparison: Comparison) -> None:
        site = site_of(comparison.event)
        facts = self.context.variables[site.variable_id]
        if not facts.gathered or facts.first or site.access is not Access.READ:
            return
        if len(comparison.got) != len(comparison.wanted) or facts.numpy_dtype.kind not in "iufc":
            return
        reads = self._reads.setdefault(site, _Reads())
        got, wanted = wide(comparison.got), wide(comparison.wanted)
        reads.count += comparison.times
        if not close(comparison.got, comparison.wanted):
            self._compare_wrong(reads, site, comparison)
        else:
            reads.recovers = reads.wrong > 0
        if close(got, wanted * self.num_replicas):
            reads.multiples += comparison.times
        start = self.context.summed.start(site.variable_id)
        if start is not None and _is_off_by(
            comparison, wide(start.value) * (self.num_replicas - 1)
        ):
            reads.started += comparison.times
            reads.start = reads.start or (start, comparison)
            reads.by_start.add(comparison.event, start.event.event, count=comparison.times)

    def _compare_wrong(self, reads: _Reads, site: Site, comparison: Comparison) -> None:
        first = not reads.wrong
        reads.wrong += comparison.times
        reset = self.context.summed.reset(site.variable_id)
        if reset is None:
            return
        found = next((one for one in reset.excess if _is_off_by(comparison, one)), None)
        if found is not None:
            reads.begins |= first and comparison.telling
            reads.kept += comparison.times
            reads.reset = reads.reset or (replace(reset, excess=(found,)), comparison)
            for assign in reset.assigns:
                reads.by_reset.add(assign, comparison.event.event, count=comparison.times)

    # ------------------------------------------------------------ the findings

    def finish(self) -> list[Finding]:
        """Return the findings about each variable, at most one of each kind."""
        findings: list[Finding] = []
        if self.context.comparisons is None:
            return findings
        found: set[int] = set()
        for site, reads in self._reads.items():
            one = self._of_start(site, reads) or self._of_reset(site, reads)
            if one is not None and site.variable_id not in found:
                found.add(site.variable_id)
                findings.append(one)
        return findings

    def _explain(self, site: Site, number: int) -> None:
        assert self.context.comparisons is not None
        self.context.comparisons.explain(site, number)
        self.context.explained_sums.add(site.variable_id)

    def _of_start(self, site: Site, reads: _Reads) -> Finding | None:
        if reads.start is None or reads.started < reads.wrong or reads.multiples == reads.count:
            return None
        self._explain(site, reads.started)
        start, comparison = reads.start
        count, value = self.num_replicas, _shown(start.value, comparison)
        how = "is created with" if start.event.kind == "create" else "is assigned, on each replica,"
        facts = self.context.variables[site.variable_id]
        created = start.event.kind == "create"
        finding = finding_of(
            SUMMED_START,
            facts,
            reads.by_start,
            f"The variable {how} {value}. Each of the {count} components starts at this value, and "
            f"a read adds them up, so the value is too large by {count - 1} × {value} in "
            f"{reads.started:,} of {times(reads.count, 'comparison')} with a single device. The "
            f"first time it is {_shown(comparison.got, comparison)} instead of "
            f"{_shown(comparison.wanted, comparison)}.",
            "Create the variable with 0, and assign the start outside strategy.run: a "
            "cross-replica assign gives each replica a part of it.",
            paste=_started_at_zero(facts, value) if created else (),
        )
        where = start.event.location
        if created:
            where = self.context.created_at(site.variable_id)
        return led_by(finding, where)

    def _of_reset(self, site: Site, reads: _Reads) -> Finding | None:
        if reads.reset is None or not (reads.kept == reads.wrong or reads.decides_alone):
            return None
        self._explain(site, reads.kept)
        reset, comparison = reads.reset
        by, kept = name_replicas(list(reset.set_back)), name_replicas(list(reset.kept_by))
        facts = self.context.variables[site.variable_id]
        is_by_program = reset.assigns[0].process == PROGRAM
        how = f"Only {by} set the variable back"
        if is_by_program:
            how = f"The program set only the component of {by} back"
        later = (
            " The later values differ by other amounts, as they do if they depend on the first "
            "wrong one."
            if reads.kept < reads.wrong
            else ""
        )
        left = f"{_shown(reset.excess[0], comparison)} of " if facts.summed else ""
        reads_them = "adds up" if facts.summed else "averages"
        return finding_of(
            PARTIAL_RESET,
            facts,
            reads.by_reset,
            f"{how}, while {kept} kept {left}earlier contributions. A read {reads_them} all "
            f"components, so the value is too large by exactly what was not set back in "
            f"{reads.kept:,} of {times(reads.count, 'comparison')} with a single device. The first "
            f"time it is "
            f"{_shown(comparison.got, comparison)} instead of "
            f"{_shown(comparison.wanted, comparison)}.{later}",
            "Assign to the variable itself outside strategy.run, which sets all components."
            if is_by_program
            else "Let every replica set its own component back; or assign outside strategy.run, "
            "which sets all components.",
            paste=(f"{facts.name}.assign(…)",) if is_by_program else (),
        )


def _is_off_by(comparison: Comparison, excess: Flat) -> bool:
    """Return whether a value exceeds the single device's by an amount that is not 0."""
    if len(excess) != len(comparison.got) or not excess.any():
        return False
    without = wide(comparison.got) - excess
    scale = comparison.got.dtype if comparison.got.dtype.kind in "fc" else without.dtype
    return close(without.astype(scale), wide(comparison.wanted).astype(scale)) and not close(
        comparison.got, comparison.wanted
    )


def _started_at_zero(facts: VariableFacts, value: str) -> tuple[str, ...]:
    """Return lines that create a variable with 0, and then assign its initial value.

    Args:
        value: A scalar's initial value, as the finding shows it; there are no lines if it is not
            exact.
    """
    name, dtype = facts.name, facts.numpy_dtype
    if None in facts.shape:
        return ()
    if facts.shape:
        return (
            f'{name} = tf.Variable(np.zeros({facts.shape}, "{facts.dtype}"), …)',
            f"{name}.assign(start)  # start: its initial value until now",
        )
    if not value.lstrip("-").isdecimal():
        return ()
    point = "" if dtype.kind in "iu" else ".0"
    return f"{name} = tf.Variable(0{point}, …)", f"{name}.assign({value}{point})"


def _shown(value: Flat, comparison: Comparison) -> str:
    """Return a scalar, or the element of an array that is largest on a single device."""
    index = int(np.abs(wide(comparison.wanted)).argmax())
    number = value[index].item()
    return f"{round(number):,}" if number == round(number.real) else f"{number:.4g}"
