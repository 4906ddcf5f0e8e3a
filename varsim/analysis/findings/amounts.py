"""Sums that differ from a single device by an amount that the record explains.

The components of the variable start at a value that is added N times; some replicas keep old
contributions when others start again; or the remainder of a batch is left out or counted twice.
Each rule demands the exact amount, so it needs no other sign that the runs are comparable.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat, operand_of
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
from varsim.analysis.findings.scaling_messages import TRUNCATION
from varsim.analysis.findings.summed_parts import CommonStart, PartialReset
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.oracle import FIRST_REPLICA
from varsim.analysis.rounding import close, wide
from varsim.spec import Rows
from varsim.texts.facts import name_replicas, times
from varsim.tracing.history import PROGRAM, Event

SUMMED_START: Final = compared_kind("starts at N times its initial value")
PARTIAL_RESET: Final = compared_kind("partial reset")
COUNTED_TWICE: Final = compared_kind("counted twice")

_MOST_STEPS: Final = 3
"""Largest number of steps that a text lists."""

_MOST_PENDING: Final = 1000
"""Largest number of writes by which one replica may be ahead of another at one location."""


@dataclass(slots=True)
class _Reads:
    """The comparisons of the reads of one variable at one location."""

    count: int = 0
    wrong: int = 0
    multiples: int = 0  # values that are exactly N times the single device's
    started: int = 0  # values that exceed the single device's by N - 1 times the common start
    kept: int = 0  # wrong values that exceed the single device's by what was not set back
    by_start: Evidence = field(default_factory=Evidence)
    by_reset: Evidence = field(default_factory=Evidence)
    start: tuple[CommonStart, Comparison] | None = None  # the first one
    reset: tuple[PartialReset, Comparison] | None = None  # the first one


@dataclass(frozen=True, slots=True)
class _Addition:
    """What all replicas added in one write, and what a single device added."""

    event: Event
    step: int
    got: int
    wanted: int


@dataclass(slots=True)
class _Additions:
    """The additions to one variable at one location."""

    open: dict[int, list[int]] = field(default_factory=dict)  # k → the replicas' k-th operands
    counts: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    known: list[_Addition] = field(default_factory=list)
    lost: bool = False  # whether some additions are not known


class Sums(Finder):
    """Finds sums with a summed start, a partial reset, or a remainder that is counted wrongly."""

    kinds = (SUMMED_START, PARTIAL_RESET, COUNTED_TWICE)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._reads: dict[Site, _Reads] = {}
        self._additions: dict[tuple[int, str], _Additions] = {}
        self._excess: defaultdict[int, int] = defaultdict(int)  # of the additions so far
        self._explained: dict[int, dict[Site, int]] = {}  # variable → reads with this excess
        self._step = 0
        comparisons = context.comparisons
        self._oracle = None if comparisons is None else comparisons.oracle
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
        reads.wrong += comparison.times
        excess = self._excess[site.variable_id]
        if excess and _is_off_by(comparison, np.full(len(comparison.got), float(excess))):
            explained = self._explained.setdefault(site.variable_id, {})
            explained[site] = explained.get(site, 0) + comparison.times
        reset = self.context.summed.reset(site.variable_id)
        if reset is None:
            return
        found = next((one for one in reset.excess if _is_off_by(comparison, one)), None)
        if found is not None:
            reads.kept += comparison.times
            reads.reset = reads.reset or (replace(reset, excess=(found,)), comparison)
            for assign in reset.assigns:
                reads.by_reset.add(assign, comparison.event.event, count=comparison.times)

    # ------------------------------------------------------------ additions

    def on_call(self, event: Event) -> None:
        """Count the steps."""
        self._step += event.begins_step

    def on_write_by_program(self, event: Event) -> None:
        """Begin again if the program sets the variable."""
        if event.variable is not None and event.operation == "assign":
            self._excess[event.variable] = 0

    def on_write_by_replica(self, event: Event) -> None:
        """Compare what the replicas add together with what a single device adds."""
        oracle, variable, location = self._oracle, event.variable, event.location
        if oracle is None or variable is None or location is None:
            return
        facts = self.context.variables.get(variable)
        if facts is None or facts.aggregation != "SUM" or facts.one_copy:
            return
        if event.operation == "assign":
            self._excess[variable] = 0
        if event.operation != "assign_add":
            return
        additions = self._additions.setdefault((variable, location), _Additions())
        value = None if additions.lost else _whole_number(operand_of(event, facts.numpy_dtype))
        if value is None:
            additions.lost = True
            return
        number = additions.counts[event.process]
        additions.counts[event.process] += 1
        together = additions.open.setdefault(number, [])
        together.append(value)
        if len(together) == self.num_replicas:
            del additions.open[number]
            self._add(additions, together, facts, event)
        additions.lost = additions.lost or len(additions.open) > _MOST_PENDING

    def _add(
        self, additions: _Additions, together: list[int], facts: VariableFacts, event: Event
    ) -> None:
        assert self._oracle is not None
        assert event.location is not None
        key = facts.variable_id, FIRST_REPLICA, event.location
        wanted = _whole_number(self._oracle.wrote(*key, len(additions.known)))
        if wanted is None or len(set(together)) > 1:
            additions.lost = True
            return
        additions.known.append(_Addition(event, self._step, sum(together), wanted))
        self._excess[facts.variable_id] += sum(together) - wanted

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
        for (variable, _), additions in self._additions.items():
            facts = self.context.variables[variable]
            if variable not in found and _are_remainders(
                additions, self.num_replicas, may_be_short=facts.gathered
            ):
                found.add(variable)
                findings.append(self._of_remainder(variable, additions))
        return findings

    def _explain(self, site: Site, number: int) -> None:
        assert self.context.comparisons is not None
        self.context.comparisons.explain(site, number)
        self.context.explained_sums.add(site.variable_id)

    def _of_start(self, site: Site, reads: _Reads) -> Finding | None:
        if reads.start is None or reads.started < reads.count or reads.multiples == reads.count:
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
            paste=(f"{facts.name} = tf.Variable(0, …)", f"{facts.name}.assign({value})")
            if created and value.lstrip("-").isdecimal()
            else (),
        )
        where = start.event.location
        if created:
            where = self.context.created_at(site.variable_id)
        return led_by(finding, where)

    def _of_reset(self, site: Site, reads: _Reads) -> Finding | None:
        if reads.reset is None or reads.kept < reads.wrong:
            return None
        self._explain(site, reads.kept)
        reset, comparison = reads.reset
        by, kept = name_replicas(list(reset.set_back)), name_replicas(list(reset.kept_by))
        facts = self.context.variables[site.variable_id]
        is_by_program = reset.assigns[0].process == PROGRAM
        how = f"Only {by} set the variable back"
        if is_by_program:
            how = f"The program set only the component of {by} back"
        left = f"{_shown(reset.excess[0], comparison)} of " if facts.summed else ""
        reads_them = "adds up" if facts.summed else "averages"
        return finding_of(
            PARTIAL_RESET,
            facts,
            reads.by_reset,
            f"{how}, while {kept} kept {left}earlier contributions. A read {reads_them} all "
            f"components, so {reads.kept:,} of {times(reads.count, 'comparison')} with a single "
            f"device are too large by exactly what was not set back. The first time it is "
            f"{_shown(comparison.got, comparison)} instead of "
            f"{_shown(comparison.wanted, comparison)}.",
            "Assign to the variable itself outside strategy.run, which sets all components."
            if is_by_program
            else "Let every replica set its own component back; or assign outside strategy.run, "
            "which sets all components.",
            paste=(f"{facts.name}.assign(…)",) if is_by_program else (),
        )

    def _of_remainder(self, variable: int, additions: _Additions) -> Finding:
        assert self.context.comparisons is not None
        facts, evidence = self.context.variables[variable], Evidence()
        wrong = [one for one in additions.known if one.got != one.wanted]
        for one in wrong:
            evidence.add(one.event)
            site = site_of(one.event)
            if not facts.gathered:
                self._explain(site, 1)
        for site, number in self._explained.get(variable, {}).items():
            self._explain(site, number)
        several = wrong[0].got > wrong[0].wanted
        amount = abs(sum(one.got - one.wanted for one in wrong))
        steps = ", ".join(
            f"{one.got:,} instead of {one.wanted:,} in step {one.step}"
            for one in wrong[:_MOST_STEPS]
        )
        more = f", and {len(wrong) - _MOST_STEPS:,} more" if len(wrong) > _MOST_STEPS else ""
        what = (
            "the parts were made equal by rows that are counted twice"
            if several
            else "the parts are equal, and the remainder of the batch is left out"
        )
        remedy = (
            "Count each row once: let a replica add only the rows that are not padding, for "
            "example the sum of a mask that is 0 for repeated rows."
            if several
            else "Give the remainder to some replicas, as np.array_split does; or choose a batch "
            "size that is a multiple of the number of replicas."
        )
        return finding_of(
            COUNTED_TWICE if several else TRUNCATION,
            facts,
            evidence,
            f"In {len(wrong):,} of {times(len(additions.known), 'write')} the {self.num_replicas} "
            f"replicas add together {steps}{more}: {what}. Together the sum is {amount:,} too "
            f"{'large' if several else 'small'}.",
            remedy,
        )


def _are_remainders(additions: _Additions, count: int, *, may_be_short: bool) -> bool:
    """Return whether each sum is the single device's, rounded to a multiple of the replicas.

    Args:
        may_be_short: Whether to accept sums that are rounded down. Of merged writes, `Scaling`
            finds these.
    """
    known = additions.known
    if additions.lost or not known:
        return False
    uneven = [one for one in known if one.wanted % count]
    if not any(one.wanted > 1 for one in uneven) or any(one.wanted < 0 for one in known):
        return False
    short = all(one.got == one.wanted // count * count for one in known)
    padded = all(one.got == -(-one.wanted // count) * count for one in known)
    return padded or (short and may_be_short)


def _is_off_by(comparison: Comparison, excess: Flat) -> bool:
    """Return whether a value exceeds the single device's by an amount that is not 0."""
    if len(excess) != len(comparison.got) or not excess.any():
        return False
    without = wide(comparison.got) - excess
    scale = comparison.got.dtype if comparison.got.dtype.kind in "fc" else without.dtype
    return close(without.astype(scale), wide(comparison.wanted).astype(scale)) and not close(
        comparison.got, comparison.wanted
    )


def _whole_number(value: Flat | Rows | None) -> int | None:
    """Return a scalar that is a whole number; None for any other value."""
    if value is None or isinstance(value, Rows) or len(value) != 1 or value.dtype.kind not in "iuf":
        return None
    number = float(value[0])
    return int(number) if np.isfinite(number) and number == round(number) else None


def _shown(value: Flat, comparison: Comparison) -> str:
    """Return a scalar, or the element of an array that is largest on a single device."""
    index = int(np.abs(wide(comparison.wanted)).argmax())
    number = value[index].item()
    return f"{round(number):,}" if number == round(number.real) else f"{number:.4g}"
