"""Counts the classes of cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from unittest.mock import patch

from tests.golden.recorded import Case
from tests.golden.replay import SharedStrategies
from tests.golden.rules import STATEMENTS, CaseClass, Classification, classify
from varsim.testing import simulated_cluster
from varsim.testing.simulation import Validation

MAX_SHOWN = 40


class CaseCounts:
    """The numbers of verdicts so far, and the failures."""

    def __init__(self) -> None:
        self.failures: list[tuple[Case, Classification]] = []
        self._classes: Counter[tuple[str, CaseClass]] = Counter()
        self._rules: Counter[str] = Counter()
        self._missing: Counter[str] = Counter()

    def add(self, case: Case, verdict: Classification) -> None:
        """Count one case."""
        self._classes[case.family, verdict.kind] += 1
        self._rules.update(verdict.rules)
        if verdict.kind is CaseClass.NOT_YET:
            self._missing.update(verdict.why)
        if verdict.kind is CaseClass.UNEXPLAINED:
            self.failures.append((case, verdict))

    def __str__(self) -> str:
        """Return a table of families and classes, and the counts of the rules."""
        families = sorted({family for family, _ in self._classes})
        rows = [["family", *(kind.value for kind in CaseClass)]]
        rows += [
            [family, *(str(self._classes[family, kind]) for kind in CaseClass)]
            for family in families
        ]
        totals = [sum(self._classes[family, kind] for family in families) for kind in CaseClass]
        rows.append(["all", *map(str, totals)])
        lines = [
            "  ".join(f"{cell:>{20 if i else 10}}" for i, cell in enumerate(row)) for row in rows
        ]
        lines.append("\ndifferent on purpose, by rule (a case may need two rules):")
        lines += [
            f"{self._rules[rule]:>8}  {rule}: {statement}"
            for rule, statement in STATEMENTS.items()
            if self._rules[rule]
        ]
        lines.append("\nnot yet supported, by missing feature:")
        lines += [f"{count:>8}  {what}" for what, count in sorted(self._missing.items())]
        return "\n".join(lines)

    def unexplained(self) -> str:
        """Return the failures, each with its program and both outcomes."""
        if not self.failures:
            return ""
        lines = [f"\n{len(self.failures)} cases are neither the same nor different on purpose:"]
        for case, verdict in self.failures[:MAX_SHOWN]:
            program = case.text or str(case.program)
            lines += ["", case.id, f"    {program[:400]}", *(f"    {why}" for why in verdict.why)]
        if len(self.failures) > MAX_SHOWN:
            lines.append(f"\n… and {len(self.failures) - MAX_SHOWN} more")
        return "\n".join(lines)


def run_all(cases: Iterable[Case]) -> CaseCounts:
    """Run cases on the simulated cluster.

    The states are not validated after every event: scenarios and random programs do that.
    """
    counts = CaseCounts()
    with patch.object(Validation, "handled", lambda *_: None), simulated_cluster():
        stage = SharedStrategies()
        for case in cases:
            counts.add(case, classify(case, stage.replay(case)))
    return counts
