"""Rows that are counted twice or left out, because the parts of a batch are made equal or overlap.

What all replicas add to a counter in one write is compared with what a single device adds. If all
replicas add the same number, this is the size of a part, and the sum must be that of the batch,
rounded to a multiple of the replicas. Other numbers, such as errors or tokens, show no exact
amount: then the sums of a variable must all be too large, or all too small, and one of these must
hold as well:

- the amount is always the same, although the numbers change;
- another counter of the same calls shows that its rows are counted twice or left out;
- the amount is less than the number of replicas, or small, in so many writes that chance and other
  causes are excluded: the replicas read no variable whose value could differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat
from varsim.analysis.findings.compared import Access, Site, site_of
from varsim.analysis.findings.comparison import Comparison
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Evidence,
    Finder,
    Finding,
    compared_kind,
    finding_of,
)
from varsim.analysis.findings.scaling_messages import TRUNCATION
from varsim.analysis.rounding import close, wide
from varsim.texts.facts import times
from varsim.tracing.history import Event

COUNTED_TWICE: Final = compared_kind("counted twice")

_MOST_MEANS: Final = 3
"""Largest number of means that a text names."""

_MOST_STEPS: Final = 3
"""Largest number of steps that a text lists."""

_MOST_ELEMENTS: Final = 4096
"""Largest number of elements of a counter."""

# ---------------------------------------------------------------- how many wrong sums are a proof

# Other causes, such as other random numbers, make a sum too large as often as too small. So n wrong
# sums are all too large, or all too small, by chance with the probability 2 / 2**n.

_FREQUENT: Final = 6
"""Least number of wrong sums if each amount is a whole number less than the number of replicas.

The probability is 1/32. It suffices, because the amounts show a remainder as well.
"""

_FREQUENT_ALONE: Final = 8
"""Least number of wrong sums if the amounts are only small. The probability is 1/128."""

_WITH_PROOF: Final = 2
"""Least number of wrong sums if another counter proves rows that are counted twice or left out."""

_CONSTANT: Final = 3
"""Least number of sums with one whole amount. Amounts by chance would not be equal three times."""

_SMALL: Final = 1 / 3
"""Largest mean amount that a few rows can cause, relative to the right sums.

Sums of norms, which differ for another reason, differ more.
"""

_LARGEST: Final = 1 / 2
"""Largest amount of one sum, relative to the right sum. `Scaling` finds a factor."""


@dataclass(frozen=True, slots=True)
class _Addition:
    """What all replicas added in one write, and what a single device added, over all elements."""

    event: Event
    step: int
    got: float
    wanted: float
    largest: float  # the largest part of a replica
    parts_equal: bool
    too_large: bool  # whether an element is too large beyond rounding
    too_small: bool
    whole: bool  # whether all numbers are whole

    @property
    def excess(self) -> float:
        """Return by how much the sum is too large."""
        return self.got - self.wanted

    @property
    def is_wrong(self) -> bool:
        """Return whether the sum differs beyond rounding."""
        return self.too_large or self.too_small


@dataclass(slots=True)
class _Additions:
    """The additions to one variable at one location."""

    site: Site
    known: list[_Addition] = field(default_factory=list)
    lost: bool = False  # whether some additions are not known

    @property
    def wrong(self) -> list[_Addition]:
        """Return the additions whose sums differ."""
        return [one for one in self.known if one.is_wrong]

    @property
    def is_one_sided(self) -> bool:
        """Return whether some sums are wrong, and all of these too large, or all too small.

        Each must be a sum of parts: larger than each part.
        """
        wrong = self.wrong
        sides = {(one.too_large, one.too_small) for one in wrong}
        return len(sides) == 1 and (True, True) not in sides and all(map(_is_of_parts, wrong))


def _is_of_parts(one: _Addition) -> bool:
    return one.largest < one.wanted and abs(one.excess) <= _LARGEST * one.wanted


class Remainders(Finder):
    """Finds counters of rows, or of what rows contain, that count some rows twice or not at all."""

    kinds = (COUNTED_TWICE,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._additions: dict[Site, _Additions] = {}
        self._excess: defaultdict[int, Flat | float] = defaultdict(float)  # of the additions so far
        self._explained: dict[int, dict[Site, int]] = {}  # variable → reads with this excess
        self._differing: set[int] = set()  # variables with a value that differs
        self._means: dict[str, None] = {}  # variables and collectives that average
        self._step = 0
        if context.comparisons is not None:
            context.comparisons.pass_to(self._compare)
            context.comparisons.pass_writes_to(self._add)

    def _compare(self, comparison: Comparison) -> None:
        if close(comparison.got, comparison.wanted):
            return
        site = site_of(comparison.event)
        self._differing.add(site.variable_id)
        excess = self._excess[site.variable_id]
        if site.access is not Access.READ or not np.any(excess):
            return
        without = wide(comparison.got) - excess
        if close(without, wide(comparison.wanted)):
            explained = self._explained.setdefault(site.variable_id, {})
            explained[site] = explained.get(site, 0) + comparison.times

    # ------------------------------------------------------------ additions

    def on_call(self, event: Event) -> None:
        """Count the steps."""
        self._step += event.begins_step

    def on_write_by_program(self, event: Event) -> None:
        """Begin again if the program sets the variable."""
        self._begin_again(event)

    def on_write_by_replica(self, event: Event) -> None:
        """Begin again if a replica sets the variable."""
        self._begin_again(event)

    def _begin_again(self, event: Event) -> None:
        if event.variable is not None and event.operation == "assign":
            self._excess[event.variable] = 0.0

    def on_answer(self, event: Event) -> None:
        """Record a collective that averages what replicas compute of their parts."""
        del event
        given = self.context.collectives.answered
        if given is None or given.variable is not None or "weight" in given.arguments:
            return
        if given.arguments.get("op") == "MEAN":
            self._means[f"the {given.operation} at {given.first.location}"] = None

    def _add(self, event: Event, compared: Comparison | None) -> None:
        """Compare what the replicas add together with what a single device adds."""
        site = site_of(event)
        facts = self.context.variables[site.variable_id]
        if facts.aggregation == "MEAN":
            self._means[facts.name] = None
        if facts.aggregation != "SUM" or facts.one_copy or event.operation != "assign_add":
            return
        additions = self._additions.setdefault(site, _Additions(site))
        counted = None if additions.lost or compared is None else _counted(compared)
        if counted is None or len(counted) != self.num_replicas + 1:
            additions.lost = True
            return
        *parts, wanted = counted
        got: Flat = np.sum([wide(one) for one in parts], axis=0)
        excess = got - wide(wanted)
        if close(got.astype(wanted.dtype), wanted):
            excess = np.zeros_like(excess)
        sums = [float(wide(one).sum()) for one in parts]
        whole = bool((wanted == np.round(wanted)).all())
        additions.known.append(
            _Addition(
                event=event,
                step=self._step,
                got=float(got.sum()),
                wanted=float(wide(wanted).sum()),
                largest=max(sums),
                parts_equal=len(set(sums)) == 1,
                too_large=bool((excess > 0).any()),
                too_small=bool((excess < 0).any()),
                whole=whole and all(one == round(one) for one in sums),
            )
        )
        self._excess[facts.variable_id] = self._excess[facts.variable_id] + excess

    # ------------------------------------------------------------ the findings

    def finish(self) -> list[Finding]:
        """Return the findings about each variable, at most one of each."""
        if self.context.comparisons is None:
            return []
        unpaired = self.context.comparisons.writes.unpaired
        for site, additions in self._additions.items():
            additions.lost = additions.lost or site in unpaired
        exact = {
            site: one
            for site, one in self._additions.items()
            if _are_remainders(
                one,
                self.num_replicas,
                may_be_short=self.context.variables[site.variable_id].gathered,
            )
        }
        found = exact if self.context.comparisons.not_comparable else exact | self._others(exact)
        first: dict[int, _Additions] = {}
        for site, additions in found.items():
            if site.variable_id not in self.context.explained_sums:
                first.setdefault(site.variable_id, additions)
        findings = [self._finding(variable, additions) for variable, additions in first.items()]
        return [
            replace(one, what=f"{one.what}{self._with_the_same_rows(one.variable_id, additions)}")
            for one, additions in zip(findings, first.values(), strict=True)
        ]

    def _with_weights(self) -> str:
        """Return a sentence on the means that need weights when the parts are unequal, or ""."""
        if not self._means:
            return ""
        first = list(self._means)[:_MOST_MEANS]
        more = len(self._means) - len(first)
        names = ", ".join(first) + (f" and {more:,} more" if more else "")
        return (
            f" The parts are then unequal, so means of parts need weights ({names}): "
            "all_reduce('MEAN', value, weight=rows), with the replica's number of rows, before the "
            "write; or SUM of sums and of rows, and a division."
        )

    def _with_the_same_rows(self, variable: int | None, additions: _Additions) -> str:
        """Return a sentence on the sums that are wrong because of the same rows; "" if none is.

        Such a sum is wrong only in calls in which this variable is wrong, and right in others.
        """
        comparisons, explained = self.context.comparisons, self.context.explained_sums
        assert comparisons is not None
        calls = {one.event.call for one in additions.wrong}
        if len(calls) == len(additions.known):
            return ""
        found = [
            facts
            for number, facts in self.context.variables.items()
            if number != variable and number not in explained and facts.aggregation == "SUM"
            if comparisons.wrong_calls.get(number, calls | {-1}) <= calls
        ]
        for facts in found:
            comparisons.explain_all(facts.variable_id)
            explained.add(facts.variable_id)
        names = " and ".join(one.name for one in found)
        verb = "is" if len(found) == 1 else "are"
        return (
            f" {names} {verb} wrong only in these calls, probably because of the same rows."
            if found
            else ""
        )

    def _others(self, exact: dict[Site, _Additions]) -> dict[Site, _Additions]:
        """Return the additions of other numbers than rows that count some rows twice or not."""
        assert self.context.comparisons is not None
        unequal = self.context.comparisons.writes.unequal()
        one_sided = {
            site: one
            for site, one in self._additions.items()
            if site not in exact and site not in unequal and _is_known(one) and one.is_one_sided
        }
        constant = {
            site: one for site, one in one_sided.items() if _is_constant(one, self.num_replicas)
        }
        proved = {one.wrong[0].too_large for one in (*exact.values(), *constant.values())}
        is_closed = self._is_closed({site.variable_id for site in (*exact, *one_sided)})
        return {
            site: one
            for site, one in one_sided.items()
            if site in constant
            or (len(one.wrong) >= _WITH_PROOF and one.wrong[0].too_large in proved)
            or (is_closed and _is_frequent(one, self.num_replicas))
        }

    def _is_closed(self, counters: set[int]) -> bool:
        """Return whether only these counters differ, and the replicas read no local values.

        Copies that are trained separately also make more errors than the model of one device.
        """
        comparisons, variables = self.context.comparisons, self.context.variables
        assert comparisons is not None
        local = {one for one in comparisons.read_in_replicas if not variables[one].mirrored}
        return not local and self._differing <= counters

    def _explain(self, site: Site, number: int) -> None:
        assert self.context.comparisons is not None
        self.context.comparisons.explain(site, number)
        self.context.explained_sums.add(site.variable_id)

    def _finding(self, variable: int, additions: _Additions) -> Finding:
        facts, evidence, wrong = self.context.variables[variable], Evidence(), additions.wrong
        for one in wrong:
            evidence.add(one.event)
            if not facts.gathered:
                self._explain(site_of(one.event), 1)
        for site, number in self._explained.get(variable, {}).items():
            self._explain(site, number)
        several = wrong[0].too_large
        amount = _shown(abs(sum(one.excess for one in wrong)))
        steps = ", ".join(
            f"{_shown(one.got)} instead of {_shown(one.wanted)} in step {one.step}"
            for one in wrong[:_MOST_STEPS]
        )
        more = f", and {len(wrong) - _MOST_STEPS:,} more" if len(wrong) > _MOST_STEPS else ""
        return finding_of(
            COUNTED_TWICE if several else TRUNCATION,
            facts,
            evidence,
            f"In {len(wrong):,} of {times(len(additions.known), 'write')}, the sum over the "
            f"{self.num_replicas} replicas is wrong: {steps}{more}. The reason: "
            f"{_cause(additions)}. The total error is {amount} (too "
            f"{'large' if several else 'small'}).",
            f"{_REMEDY_TWICE if several else _REMEDY_SHORT}{self._with_weights()}",
        )


_REMEDY_TWICE: Final = (
    "Count each row once: let a replica add only the rows that are not padding, for example the "
    "sum of a mask that is 0 for repeated rows."
)
_REMEDY_SHORT: Final = (
    "Give the remainder to some replicas, as np.array_split does; or choose a batch size that is a "
    "multiple of the number of replicas."
)


def _cause(additions: _Additions) -> str:
    several = additions.wrong[0].too_large
    if all(one.parts_equal for one in additions.known):
        if several:
            return "the parts were made equal by rows that are counted twice"
        return "the parts are equal, and the remainder of the batch is left out"
    if several:
        return (
            "the sums are never too small, as if some rows were counted twice: repeated rows that "
            "make the parts equal, or parts that overlap"
        )
    return (
        "the sums are never too large, as if some rows were counted by no replica: the remainder "
        "of a batch, or rows between two parts"
    )


def _is_known(additions: _Additions) -> bool:
    """Return whether all additions are known, and the replicas' parts differ in some of them."""
    known = additions.known
    if additions.lost or not known:
        return False
    return not all(one.parts_equal for one in known)


def _are_remainders(additions: _Additions, count: int, *, may_be_short: bool) -> bool:
    """Return whether each sum is the single device's, rounded to a multiple of the replicas.

    Args:
        may_be_short: Whether to accept sums that are rounded down. Of merged writes, `Scaling`
            finds these.
    """
    known = additions.known
    if additions.lost or not known or not all(one.parts_equal and one.whole for one in known):
        return False
    uneven = [one for one in known if one.wanted % count]
    if not any(one.wanted > 1 for one in uneven):
        return False
    short = all(one.got == one.wanted // count * count for one in known)
    padded = all(one.got == -(-one.wanted // count) * count for one in known)
    return padded or (short and may_be_short)


def _is_constant(additions: _Additions, count: int) -> bool:
    """Return whether the amount is the same whole number in each write.

    If the numbers do not change, the amount must be less than the number of replicas.
    """
    known = additions.known
    amounts = {one.excess for one in known}
    if len(known) < _CONSTANT or len(amounts) > 1 or not all(one.whole for one in known):
        return False
    return len({one.wanted for one in known}) > 1 or all(abs(one) < count for one in amounts)


def _is_frequent(additions: _Additions, count: int) -> bool:
    """Return whether so many sums are wrong in one direction that this is no chance."""
    wrong = additions.wrong
    if all(one.whole and abs(one.excess) < count for one in wrong):
        return len(wrong) >= _FREQUENT
    small = _mean(abs(one.excess) / one.wanted for one in wrong) <= _SMALL
    # squares of distances from the mean of a part add up to less than those of the batch
    additive = wrong[0].too_large or all(one.whole for one in wrong)
    return additive and small and len(wrong) >= _FREQUENT_ALONE


def _mean(numbers: Iterable[float]) -> float:
    return float(np.mean(list(numbers)))


def _counted(compared: Comparison) -> list[Flat] | None:
    """Return the replicas' values and the single device's if they count something, or None.

    Each is one to `_MOST_ELEMENTS` finite numbers from 0; rows and samples are not looked at.
    """
    parts, wanted = compared.known, compared.wanted
    if parts is None or compared.elements is not None or not 0 < len(wanted) <= _MOST_ELEMENTS:
        return None
    values = [*parts, wanted]
    if any(one.dtype.kind not in "iuf" for one in values):
        return None
    return values if all(((one >= 0) & np.isfinite(one)).all() for one in values) else None


def _shown(number: float) -> str:
    return f"{round(number):,}" if number == round(number) else f"{number:.6g}"
