"""Counting what the cases came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.golden.recorded import Case
from tests.golden.replay import Stage
from tests.golden.rules import STATEMENTS, Class, Verdict, classify
from varsim.testing import simulated_cluster

MAX_SHOWN = 40


class Tally:
    """The verdicts so far, counted; and the failures, in full."""

    def __init__(self) -> None:
        self.failures: list[tuple[Case, Verdict]] = []
        self._classes: Counter[tuple[str, Class]] = Counter()
        self._rules: Counter[str] = Counter()
        self._missing: Counter[str] = Counter()

    def add(self, case: Case, verdict: Verdict) -> None:
        """Counts one case."""
        self._classes[case.family, verdict.kind] += 1
        self._rules.update(verdict.rules)
        if verdict.kind is Class.NOT_YET:
            self._missing.update(verdict.why)
        if verdict.kind is Class.UNEXPLAINED:
            self.failures.append((case, verdict))

    def __str__(self) -> str:
        """A table of families and classes, and the counts of the rules."""
        families = sorted({family for family, _ in self._classes})
        rows = [["family", *(kind.value for kind in Class)]]
        rows += [
            [family, *(str(self._classes[family, kind]) for kind in Class)] for family in families
        ]
        totals = [sum(self._classes[family, kind] for family in families) for kind in Class]
        rows.append(["all", *map(str, totals)])
        lines = [
            "  ".join(f"{cell:>{20 if i else 10}}" for i, cell in enumerate(row)) for row in rows
        ]
        lines.append("\ndifferent on purpose, by rule (a case may need two):")
        lines += [
            f"{self._rules[rule]:>8}  {rule}: {statement}"
            for rule, statement in STATEMENTS.items()
            if self._rules[rule]
        ]
        lines.append("\nnot yet, by what it needs:")
        lines += [f"{count:>8}  {what}" for what, count in sorted(self._missing.items())]
        return "\n".join(lines)

    def unexplained(self) -> str:
        """The failures, each with its program and both sides."""
        if not self.failures:
            return ""
        lines = [f"\n{len(self.failures)} cases are neither the same nor different on purpose:"]
        for case, verdict in self.failures[:MAX_SHOWN]:
            program = case.text or str(case.program)
            lines += ["", case.id, f"    {program[:400]}", *(f"    {why}" for why in verdict.why)]
        if len(self.failures) > MAX_SHOWN:
            lines.append(f"\n… and {len(self.failures) - MAX_SHOWN} more")
        return "\n".join(lines)


def run_all(cases: Iterable[Case]) -> Tally:
    """Runs cases on the simulated cluster."""
    tally = Tally()
    with simulated_cluster():
        stage = Stage()
        for case in cases:
            tally.add(case, classify(case, stage.replay(case)))
    return tally
