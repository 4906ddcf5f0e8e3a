"""The comparisons of one variable at one place, and what may be concluded from all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.findings.found import Evidence
from varsim.analysis.findings.shards import Weights, explains, fitted
from varsim.analysis.findings.share import Relation, Share, relation_of
from varsim.analysis.findings.subject import Subject

NEARLY_ALL: Final = 0.9
"""Of the comparisons, for a relation to be the rule."""

AGAIN: Final = 3
"""How often whole numbers must be related, if replicas differ, to be no chance."""

_MOST_KEPT: Final = 64
"""Shares of a variable whose values are kept to find the sizes of shards."""

FACTORS: Final = (Relation.TIMES_N, Relation.OVER_N, Relation.TIMES_N_TWICE)
"""What is exact, and wrong by the number of replicas."""

INEXACT: Final = (Relation.OTHER, Relation.ABOUT_TIMES_N)


@dataclass(slots=True)
class Tally:
    """The comparisons of one variable at one place."""

    by_program: bool  # what is compared is what the program wrote
    count: int = 0
    first: Relation | None = None
    telling: bool = False  # the first
    first_alike: bool = False
    alike: int = 0  # of those that are not right: replicas had the same
    related: Counter[Relation] = field(default_factory=Counter)
    evidence: dict[Relation, Evidence] = field(default_factory=dict)
    shown: dict[Relation, Share] = field(default_factory=dict)  # the first of each
    kept: list[Share] = field(default_factory=list)
    values: set[bytes] = field(default_factory=set)  # of the oracle, the first few

    def add(self, share: Share, aggregation: str) -> None:
        """Counts a comparison."""
        relation = relation_of(share, aggregation)
        if self.first is None and relation in INEXACT and (change := share.change()) is not None:
            by_change = relation_of(change, aggregation)
            if by_change in FACTORS:
                share, relation = change, by_change
        alike = relation is not Relation.RIGHT and share.alike
        if self.first is None:
            self.first, self.telling = relation, share.telling
            self.first_alike = alike
        self.count += 1
        self.alike += alike
        self.related[relation] += 1
        self.evidence.setdefault(relation, Evidence()).add(share.event, *share.others)
        if relation not in self.shown or len(self.kept) < _MOST_KEPT:
            few = share.thinned()
            self.shown.setdefault(relation, few)
            if len(self.kept) < _MOST_KEPT:
                self.kept.append(few)
                self.values.add(few.wanted.tobytes())

    def clearly(self, relation: Relation, *, by_first: bool = True) -> bool:
        """Whether this relation is the rule."""
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
        """Whether a single device clearly did what the first replica did, and no more."""
        held = self.related[Relation.ONLY_MINE]
        if not self.clearly(Relation.ONLY_MINE):
            return False
        return held >= AGAIN or self.shown[Relation.ONLY_MINE].odd


def had_the_whole_batch(
    aggregated: list[tuple[Subject, Tally]], counted: list[list[Weights]]
) -> bool:
    """Whether the oracle can be one: some number of it is made of those of all replicas.

    If no number tells anything, there is no reason to doubt it.
    """
    if any(tally.only_mine for _, tally in aggregated):
        return False
    if any(one.aggregation == "SUM" and tally.first is Relation.RIGHT for one, tally in aggregated):
        return True
    telling = [(one, tally) for one, tally in aggregated if tally.telling]
    if any(tally.first not in INEXACT for _, tally in telling):
        return True
    others = [tally for one, tally in telling if not one.first]
    return not others or any(
        weighed(tally, counted) or all(share.sums_fractions for share in tally.kept)
        for tally in others
    )


def weighed(tally: Tally, counted: list[list[Weights]]) -> list[tuple[Share, Weights]]:
    """The shares with the sizes of their shards, if these explain what a single device has."""
    kept = tally.kept
    for known in counted:
        if len(known) in {1, len(kept)}:
            pairs = list(zip(kept, known * (len(kept) // len(known)), strict=True))
            if all(explains(weights, share) for share, weights in pairs):
                return pairs
    for some in (kept, kept[:1] if tally.telling and not tally.related[Relation.RIGHT] else []):
        if some and (weights := fitted(some)) is not None:
            return [(share, weights) for share in some]
    return []
