"""Overflow of a sum: the sum of the replicas' values exceeds the range of the variable's dtype.

The finder needs no oracle: it recomputes each sum in float64, whose range is large enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from varsim.analysis import sparse
from varsim.analysis.arithmetic import Flat, is_finite, operand_of, value_of
from varsim.analysis.findings.compared import Access, Site
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Evidence,
    Finder,
    Finding,
    FindingKind,
    finding_of,
)
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.extension_dtypes import has_infinity, kind_of
from varsim.spec import Rows
from varsim.texts.facts import times
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


class Overflow(Finder):
    """Finds sums that do not fit into their variable's dtype."""

    kinds = (OVERFLOW,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._variables = {
            number: one
            for number, one in context.variables.items()
            if (one.merged or one.gathered)
            and one.aggregation in {"SUM", "MEAN"}
            and kind_of(one.numpy_dtype) in "iuf"
        }
        self._contributions = context.contributions
        self._exact: dict[int, list[Exact | None]] = {}  # exact components of gathered variables
        self._wrote: dict[int, dict[int, int]] = {}  # gathered variable → replica → last write
        self._mirrors: dict[int, Flat | None] = {}
        self._seen: dict[int, _Seen] = {}

    def concerns(self, variable: int | None) -> bool:
        """Return whether replicas' values are summed for the variable."""
        return variable in self._variables

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
        value = value_of(event, facts.numpy_dtype)
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
            for number, seen in self._seen.items():
                access = Access.READ if self._variables[number].gathered else Access.MERGED
                for location, count in seen.evidence.locations.items():
                    comparisons.explain(Site(number, access, location), count)
        return [_finding(self._variables[n], one) for n, one in sorted(self._seen.items())]

    def _merge(self, event: Event, facts: VariableFacts, value: Flat) -> None:
        contributions = self._contributions.committed
        if kind_of(value.dtype) == "f" and is_finite(value):
            return
        parts = [_exact(one, facts) for one in contributions.values()]
        known = [part for part in parts if isinstance(part, np.ndarray) and len(part) == len(value)]
        if len(known) < len(self.givers(event)):
            return
        first = next(iter(contributions.values()))
        together: Exact = np.sum(known, axis=0)
        if facts.aggregation == "MEAN":
            together = together / len(known)
        if first.operation != "assign":
            before = self._mirrors.get(facts.variable_id)
            if before is None or len(before) != len(value):
                return
            together = before.astype(np.float64) + _SIGN[first.operation or ""] * together
        shown = event._replace(location=first.location)
        self._compare(
            shown, tuple(one.event for one in contributions.values()), facts, together, value
        )

    def _merge_rows(self, event: Event, facts: VariableFacts) -> None:
        """Recompute the commit of a sparse write to a variable of integers.

        `not_finite.py` reports floating-point overflow, when the value is read.
        """
        before, after = self._mirrors.get(facts.variable_id), None
        rows = sparse.rows_of(event, facts.numpy_dtype)
        if before is not None and rows is not None and facts.numpy_dtype.kind in "iu":
            after = sparse.changed(before, event.operation, rows)
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
        value = value_of(event, facts.numpy_dtype)
        held = self._held(facts)
        known = [part for part in held if part is not None]
        if value is None or len(known) < len(held):
            return
        if all(len(part) == len(value) for part in known):
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
    ) -> None:
        dtype = facts.numpy_dtype
        if kind_of(dtype) == "f":
            full = np.isinf(value) if has_infinity(dtype) else np.isnan(value)
            over = np.isfinite(exact) & full
        else:
            most: Any = np.iinfo(dtype)
            over = (exact > float(most.max)) | (exact < float(most.min))
        if not over.any():
            return
        seen = self._seen.get(facts.variable_id)
        if seen is None:
            index = int(over.argmax())
            seen = _Seen(exact=float(exact[index]), got=float(value[index]))
            self._seen[facts.variable_id] = seen
        seen.evidence.add(event, *others)


def _exact(event: Event, facts: VariableFacts) -> Exact | Rows | None:
    operand = operand_of(event, facts.numpy_dtype)
    if isinstance(operand, Rows):
        return Rows(operand.indices, operand.values.astype(np.float64))
    return None if operand is None else operand.astype(np.float64)


def _updated(
    before: Exact | None, operation: str | None, operand: Exact | Rows | None
) -> Exact | None:
    if isinstance(operand, Rows):
        known = before is not None and operation in _SPARSE_SUMS
        return sparse.changed(before, operation, operand) if known and before is not None else None
    if operation not in _SIGN:
        return operand
    if before is None or operand is None or len(before) != len(operand):
        return None
    return before + operand if _SIGN[operation] > 0 else before - operand


def _finding(facts: VariableFacts, seen: _Seen) -> Finding:
    evidence = seen.evidence
    kind = kind_of(facts.numpy_dtype)
    wider = "float32" if kind == "f" and facts.numpy_dtype.itemsize < 4 else "float64"
    if kind != "f":
        wider = "int64" if facts.dtype != "int64" else "float64"
    return finding_of(
        OVERFLOW,
        facts,
        evidence,
        f"The values of the replicas add up to {seen.exact:,.6g}, which {facts.dtype} cannot "
        f"hold: the result is {seen.got:,.6g}; {times(evidence.count, 'sum')} did not fit.",
        f"Give the variable a wider dtype, such as {wider}, or reset it before it overflows.",
    )
