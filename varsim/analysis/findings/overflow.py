"""Overflow of a sum: the sum of the replicas' values exceeds the range of their dtype.

The sum is that of a variable, or of a collective without a variable, such as all_reduce. With
dynamic loss scaling, a program expects that such a collective overflows now and then. So an
infinite sum counts only if the collective, at this line, never gets a finite sum again, or if a
variable becomes NaN or infinite by it.

The finder needs no oracle: it recomputes each sum in float64, whose range is large enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from varsim.analysis import sparse
from varsim.analysis.arithmetic import Flat, is_finite, value_of
from varsim.analysis.findings.collectives import Given
from varsim.analysis.findings.collectives import Overflow as GivenOverflow
from varsim.analysis.findings.compared import Site, site_of
from varsim.analysis.findings.comparison import Comparison
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Evidence,
    Finding,
    FindingKind,
    SelectiveFinder,
    finding_of,
)
from varsim.analysis.findings.not_finite_given import MASKED, became
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.rounding import close
from varsim.analysis.sampled import alike, changed, statistics_of
from varsim.extension_dtypes import has_infinity, kind_of, named
from varsim.spec import Rows
from varsim.texts.faces import Face, count_in, reducing
from varsim.texts.facts import times
from varsim.tracing import notices
from varsim.tracing.history import Event

OVERFLOW: Final = FindingKind(name="overflow of a sum", about_values=True)

Exact = np.ndarray[tuple[int], np.dtype[np.float64]]
"""Sums in float64, so that they can exceed the range of the variable's dtype."""

_SIGN: Final = {"assign_add": 1, "assign_sub": -1}
_SPARSE_SUMS: Final = frozenset({"scatter_add", "scatter_sub"})


@dataclass(slots=True)
class _Seen:
    """The sums of one variable that did not fit into its dtype."""

    evidence: Evidence = field(default_factory=Evidence)
    exact: float = 0.0  # the first sum that did not fit
    got: float = 0.0  # the value that the variable has instead
    is_bound: bool = False  # whether `exact` is only the largest possible sum


@dataclass(slots=True)
class _SeenGiven:
    """The sums of one collective of the program that did not fit into their dtype."""

    given: Given  # the first of these collectives
    first: GivenOverflow
    evidence: Evidence = field(default_factory=Evidence)
    recovered: bool = False  # whether a later sum at this line fitted


class Overflow(SelectiveFinder):
    """Finds sums that do not fit into the dtype of their variable or of their collective."""

    kinds = (OVERFLOW,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._contributions = context.contributions
        self._exact: dict[int, list[Exact | None]] = {}  # exact components of gathered variables
        self._wrote: dict[int, dict[int, int]] = {}  # gathered variable → replica → last write
        self._mirrors: dict[int, Flat | None] = {}
        self._seen: dict[int, _Seen] = {}
        self._given: dict[str | None, _SeenGiven] = {}  # by location
        self._reduced: dict[str | None, tuple[Mapping[str, str], Evidence]] = {}
        """By location: the details of the first notice of a `strategy.reduce`, and all notices."""
        self._recovered: set[str | None] = set()  # locations whose last result is finite
        self._explained: Counter[Site] = Counter()  # comparisons that differ only by an overflow
        if context.comparisons is not None:
            context.comparisons.pass_to(self._count_explained)

    def examines(self, facts: VariableFacts) -> bool:
        """Return whether replicas' values are summed for the variable."""
        return (
            (facts.merged or facts.gathered)
            and facts.aggregation in {"SUM", "MEAN"}
            and kind_of(facts.numpy_dtype) in "iuf"
        )

    def on_answer(self, event: Event) -> None:
        """Recompute the sums of a collective without a variable."""
        given = self.context.collectives.answered
        if given is None or given.variable is not None or not given.sums:
            return
        count = len(event.group) or self.num_replicas
        over = given.overflow(self.givers(event), count)
        seen = self._given.get(given.first.location)
        if over is None:
            if seen is not None:
                seen.recovered = given.is_finite
            return
        if seen is None:
            seen = self._given[given.first.location] = _SeenGiven(given, over)
            if not np.isfinite(seen.first.got) and self.context.overflow_given is None:
                self.context.overflow_given = given.first
        seen.recovered = False
        seen.evidence.add(given.first, *(one.event for one in given.arrivals.values()))

    def on_notice(self, event: Event) -> None:
        """Store a result of `strategy.reduce` that its dtype cannot hold."""
        about = notices.details(event.note)
        if event.operation == notices.OVERFLOW and {"op", "dtype", "exact", "got"} <= about.keys():
            _, evidence = self._reduced.setdefault(event.location, (about, Evidence()))
            evidence.add(event)
            self._recovered.discard(event.location)

    def on_take(self, event: Event) -> None:
        """Store that a result of `strategy.reduce` at a line fits again."""
        dtype = named(event.dtype or "bool")
        value = value_of(event, dtype) if event.operation == "reduce" else None
        if value is not None and dtype.kind == "f" and is_finite(value):
            self._recovered.add(event.location)

    def on_write_by_replica(self, event: Event) -> None:
        """Apply a local write to the exact component."""
        assert event.variable is not None
        facts = self._variables[event.variable]
        if facts.gathered:
            self._wrote.setdefault(event.variable, {})[event.process] = event.event
            self._change(event, facts, (event.process,))

    def on_create(self, event: Event) -> None:
        """Store the initial value."""
        self.on_commit(event)

    def on_commit(self, event: Event) -> None:
        """Recompute the sum of a merge."""
        assert event.variable is not None
        facts = self._variables[event.variable]
        if facts.gathered:
            whose = range(self.num_replicas) if event.replica is None else (event.replica,)
            self._change(event, facts, whose)
            return
        if event.operation in sparse.OPERATIONS:
            self._merge_rows(event, facts)
            return
        value = facts.elements_of(event)
        if event.position is not None and value is not None:
            self._merge(event, facts, value)
        whole = event.operation in {None, "assign"} and event.replica is None
        self._mirrors[facts.variable_id] = value if whole else None

    def on_read_by_program(self, event: Event) -> None:
        """Recompute the sum of a read."""
        assert event.variable is not None
        facts = self._variables[event.variable]
        if facts.gathered and event.replica is None:
            self._gather(event, facts)

    def finish(self) -> list[Finding]:
        """Return one finding for each variable with a sum that did not fit."""
        if (comparisons := self.context.comparisons) is not None:
            for site, count in self._explained.items():
                if site.variable_id in self._seen:
                    comparisons.explain(site, count)
        found = [_finding(self._variables[n], one) for n, one in sorted(self._seen.items())]
        for together in self._given.values():
            is_first = together.given.first is self.context.overflow_given
            followers = self.context.overflow_followers if is_first else ()
            if np.isfinite(together.first.got) or followers or not together.recovered:
                masked = not np.isfinite(together.first.got) and not (
                    self.context.not_finite_at.is_after(together.given.first, given=False)
                )
                face = self.context.face
                found.append(_finding_of_given(together, followers, face, masked=masked))
        reduced = [one for at, one in self._reduced.items() if at not in self._recovered]
        return [*found, *(_finding_of_reduced(*one) for one in reduced)]

    def _count_explained(self, comparison: Comparison) -> None:
        """Count a comparison that differs only in elements whose sum does not fit into the dtype.

        Integers wrap on a single device, too, so their overflow explains no difference.
        """
        site, parts, got = site_of(comparison.event), comparison.known, comparison.got
        facts = self._variables.get(site.variable_id)
        if facts is None or parts is None or not comparison.loses_finiteness:
            return
        exact = np.sum([part.astype(np.float64) for part in parts], axis=0)
        over = np.isfinite(exact) & ~np.isfinite(got)
        if over.any() and close(np.where(over, comparison.wanted, got), comparison.wanted):
            self._explained[site] += comparison.times

    def _merge(self, event: Event, facts: VariableFacts, value: Flat) -> None:
        contributions = self._contributions.committed
        if kind_of(value.dtype) == "f" and is_finite(value):
            return
        parts = [_exact(one, facts) for one in contributions.values()]
        arrays = [part for part in parts if isinstance(part, np.ndarray)]
        value, *known = alike([value, *arrays]) or [value]
        if len(known) < len(self.givers(event)) or any(len(one) != len(value) for one in known):
            return
        first = next(iter(contributions.values()))
        together: Exact = np.sum(known, axis=0)
        if facts.aggregation == "MEAN":
            together = together / len(known)
        if first.operation != "assign":
            before = self._mirrors.get(facts.variable_id)
            pair = None if before is None else alike((before, value))
            if pair is None or len(pair[0]) != len(pair[1]):
                return
            before = pair[0]
            together = before.astype(np.float64) + _SIGN[first.operation or ""] * together
        shown = event._replace(location=first.location)
        others = tuple(one.event for one in contributions.values())
        if not self._compare(shown, others, facts, together, value):
            self._merge_outside(shown, list(contributions.values()), facts)

    def _merge_outside(
        self, event: Event, contributions: Sequence[Event], facts: VariableFacts
    ) -> None:
        """Report an infinite sum of finite values outside of the sample that was recorded."""
        after, before = statistics_of(event), self._mirrors.get(facts.variable_id)
        parts = [statistics_of(one) for one in contributions]
        known = [one for one in parts if one is not None and not one.not_finite]
        adds = contributions[0].operation != "assign"
        if after is None or not after.not_finite or len(known) < len(parts):
            return
        if adds and (before is None or not is_finite(before)):
            return
        highest = [one.largest or 0.0 for one in known]
        lowest = [one.smallest or 0.0 for one in known]
        most = max(sum(highest), sum(lowest), key=abs)
        seen = self._seen.get(facts.variable_id)
        if seen is None:
            got = float("nan" if after.nans else "inf")
            seen = self._seen[facts.variable_id] = _Seen(exact=most, got=got, is_bound=True)
        seen.evidence.add(event, *(one.event for one in contributions))

    def _merge_rows(self, event: Event, facts: VariableFacts) -> None:
        """Recompute the commit of a sparse write to a variable of integers.

        `not_finite.py` reports floating-point overflow, when the value is read.
        """
        before, after = self._mirrors.get(facts.variable_id), None
        rows = facts.operand_of(event)
        if before is not None and isinstance(rows, Rows) and facts.numpy_dtype.kind in "iu":
            after = changed(before, event.operation, rows)
        if after is not None and event.operation in _SPARSE_SUMS and event.position is not None:
            assert before is not None
            contributions = self._contributions.committed.values()
            first = next(iter(contributions), event)
            exact = _updated(before.astype(np.float64), event.operation, _exact(event, facts))
            if exact is not None:
                shown = event._replace(location=first.location)
                self._compare(shown, tuple(one.event for one in contributions), facts, exact, after)
        self._mirrors[facts.variable_id] = after if event.replica is None else None

    def _gather(self, event: Event, facts: VariableFacts) -> None:
        value = facts.elements_of(event)
        held = self._held(facts)
        known = [part for part in held if part is not None]
        if value is None or len(known) < len(held):
            return
        value, *known = alike([value, *known]) or [value]
        if known and all(len(part) == len(value) for part in known):
            share = 1 if facts.aggregation == "SUM" else 1 / self.num_replicas
            wrote = tuple(self._wrote.get(facts.variable_id, {}).values())
            self._compare(event, wrote, facts, np.sum(known, axis=0) * share, value)

    def _change(self, event: Event, facts: VariableFacts, whose: Iterable[int]) -> None:
        operand, held = _exact(event, facts), self._held(facts)
        for replica_id in whose:
            held[replica_id] = _updated(held[replica_id], event.operation, operand)

    def _held(self, facts: VariableFacts) -> list[Exact | None]:
        held = self._exact.get(facts.variable_id)
        if held is None:
            held = self._exact[facts.variable_id] = [None] * self.num_replicas
        return held

    def _compare(
        self, event: Event, others: tuple[int, ...], facts: VariableFacts, exact: Exact, value: Flat
    ) -> bool:
        """Report sums that do not fit into the dtype; return whether there are any."""
        dtype = facts.numpy_dtype
        if kind_of(dtype) == "f":
            full = np.isinf(value) if has_infinity(dtype) else np.isnan(value)
            over = np.isfinite(exact) & full
        else:
            most: Any = np.iinfo(dtype)
            over = (exact > float(most.max)) | (exact < float(most.min))
        if not over.any():
            return False
        seen = self._seen.get(facts.variable_id)
        if seen is None:
            index = int(over.argmax())
            seen = _Seen(exact=float(exact[index]), got=float(value[index]))
            self._seen[facts.variable_id] = seen
        seen.evidence.add(event, *others)
        return True


def _exact(event: Event, facts: VariableFacts) -> Exact | Rows | None:
    operand = facts.operand_of(event)
    if isinstance(operand, Rows):
        return replace(operand, values=operand.values.astype(np.float64))
    return None if operand is None else operand.astype(np.float64)


def _updated(
    before: Exact | None, operation: str | None, operand: Exact | Rows | None
) -> Exact | None:
    if isinstance(operand, Rows):
        known = before is not None and operation in _SPARSE_SUMS
        return changed(before, operation, operand) if known and before is not None else None
    if operation not in _SIGN:
        return operand
    pair = None if before is None or operand is None else alike((before, operand))
    if pair is None or len(pair[0]) != len(pair[1]):
        return None
    before, operand = pair
    return before + operand if _SIGN[operation] > 0 else before - operand


def _finding(facts: VariableFacts, seen: _Seen) -> Finding:
    evidence = seen.evidence
    return finding_of(
        OVERFLOW,
        facts,
        evidence,
        _told(
            seen.exact,
            seen.got,
            facts.dtype,
            evidence,
            is_mean=facts.aggregation == "MEAN",
            bound="as much as " if seen.is_bound else "",
        ),
        f"Give the variable a wider dtype, such as {_wider(facts.numpy_dtype)}, or reset it before "
        "it overflows.",
    )


def _finding_of_given(
    seen: _SeenGiven, followers: Sequence[str], face: Face, *, masked: bool
) -> Finding:
    given, first = seen.given, seen.first
    method, op, wider = given.operation, given.arguments.get("op"), _wider(first.dtype)
    in_wider = f"add in {wider}: give it value.astype(np.{wider})."
    if kind_of(first.dtype) == "f":
        when = "before the sum, because MEAN adds first" if op == "MEAN" else "first, for a mean"
        in_wider = f"divide {when}: sum value / {count_in(face)}; or {in_wider}"
    paste: tuple[str, ...] = (f"value = value.astype(np.{wider})  # before the {method}",)
    if method == "all_reduce":
        paste = reducing(face, str(op), f"value.astype(np.{wider})")
    found = finding_of(
        OVERFLOW,
        None,
        seen.evidence,
        _told(first.exact, first.got, first.dtype.name, seen.evidence, is_mean=op == "MEAN")
        + f" The first was the {op} of {method} at {given.first.location} in call "
        f"{given.first.call} of strategy.run." + became(followers) + MASKED * masked,
        in_wider[0].upper() + in_wider[1:],
        paste=paste,
    )
    return replace(found, is_possible=masked)


def _finding_of_reduced(about: Mapping[str, str], evidence: Evidence) -> Finding:
    op, dtype, wider = about["op"], about["dtype"], _wider(named(about["dtype"]))
    exact, got = float(about["exact"]), float(about["got"])
    return finding_of(
        OVERFLOW,
        None,
        evidence,
        _told(exact, got, dtype, evidence, is_mean=op == "MEAN")
        + f" The first was the {op} of strategy.reduce.",
        f"Return the value from the function of strategy.run in {wider}: value.astype(np.{wider}).",
        paste=(f"return value.astype(np.{wider})",),
    )


def _told(
    exact: float, got: float, dtype: str, evidence: Evidence, *, is_mean: bool, bound: str = ""
) -> str:
    number = f"{bound}{exact:,.6g}"
    if is_mean:
        said = f"The mean of the replicas' values is {number}, but {dtype} cannot hold their sum"
    else:
        said = f"The values of the replicas add up to {number}, which {dtype} cannot hold"
    count = times(evidence.count, "sum")
    return f"{said}: the result is {got:,.6g}; {count} did not fit."


def _wider(dtype: np.dtype[Any]) -> str:
    if kind_of(dtype) == "f":
        return "float32" if dtype.itemsize < 4 else "float64"
    return "int64" if dtype.name != "int64" else "float64"
