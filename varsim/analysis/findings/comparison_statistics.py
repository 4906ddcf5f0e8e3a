"""Count the relations of a variable's compared values at one location."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.findings.comparison import Comparison, Relation, relation_of
from varsim.analysis.findings.model import Evidence

NEARLY_ALL: Final = 0.9
"""Fraction of the comparisons in which a relation must hold to be reported."""

AGAIN: Final = 3
"""If a relation of whole numbers holds in this many comparisons, it does not hold by chance."""

_MOST_KEPT: Final = 64
"""Largest number of a variable's comparisons whose values are kept to find the shard sizes."""

FACTORS: Final = (Relation.TIMES_N, Relation.OVER_N, Relation.TIMES_N_TWICE)
"""Exact relations of a value that is wrong by a factor of the number of replicas."""

INEXACT: Final = (Relation.OTHER, Relation.ABOUT_TIMES_N)
"""Relations after which the changes of the variable are compared instead of its values."""


@dataclass(slots=True)
class ComparisonStatistics:
    """The comparisons of one variable at one location, and their relations."""

    by_program: bool  # whether the program wrote the compared values
    count: int = 0
    first: Relation | None = None
    telling: bool = False  # whether the first comparison excludes a relation by chance
    first_alike: bool = False  # whether the first comparison is counted in `alike`
    alike: int = 0  # comparisons with a wrong value, although all replicas had the same value
    related: Counter[Relation] = field(default_factory=Counter)
    evidence: dict[Relation, Evidence] = field(default_factory=dict)
    shown: dict[Relation, Comparison] = field(default_factory=dict)  # relation → its first
    kept: list[Comparison] = field(default_factory=list)
    values: set[bytes] = field(default_factory=set)  # a few different values of the oracle

    def add(self, comparison: Comparison, aggregation: str) -> None:
        """Add a comparison."""
        relation = relation_of(comparison, aggregation)
        if (
            self.first is None
            and relation in INEXACT
            and (change := comparison.change()) is not None
        ):
            by_change = relation_of(change, aggregation)
            if by_change in FACTORS:
                comparison, relation = change, by_change
        alike = relation is not Relation.RIGHT and comparison.alike
        if self.first is None:
            self.first, self.telling = relation, comparison.telling
            self.first_alike = alike
        self.count += comparison.times
        self.alike += comparison.times if alike else 0
        self.related[relation] += comparison.times
        show(self.evidence.setdefault(relation, Evidence()), comparison)
        if relation not in self.shown or len(self.kept) < _MOST_KEPT:
            few = comparison.thinned()
            self.shown.setdefault(relation, few)
            if len(self.kept) < _MOST_KEPT:
                self.kept.append(few)
                self.values.add(few.wanted.tobytes())

    def clearly(self, relation: Relation, *, by_first: bool = True) -> bool:
        """Return whether this relation holds in so many comparisons that it is reported.

        Args:
            by_first: Whether the first comparison alone may be enough.
        """
        held = self.related[relation]
        if self.first is not relation:
            return False
        if held >= NEARLY_ALL * self.count:
            sure = self.telling or self.alike == self.count or self.shown[relation].large
            return sure or held >= AGAIN
        first = self.telling or self.first_alike
        return by_first and first and not self.related[Relation.RIGHT]

    @property
    def only_mine(self) -> bool:
        """Return whether the single device clearly did only the first replica's part."""
        held = self.related[Relation.ONLY_MINE]
        if not self.clearly(Relation.ONLY_MINE):
            return False
        return held >= AGAIN or self.shown[Relation.ONLY_MINE].odd


def show(evidence: Evidence, comparison: Comparison) -> None:
    """Add a comparison to the evidence."""
    evidence.add(comparison.event, *comparison.others, count=comparison.times)
