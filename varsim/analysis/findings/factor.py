"""Wrong by a rule: what replicas computed, compared with what a single device did.

A relation must be clear: it holds from the first comparison on, and in nearly all. Where a value
feeds the next one, as weights do, a mistake in the first step makes all later ones incomparable;
then the first alone decides, if its numbers are related by no chance. If a single device did what
the first replica did, while others did more of the same, or if nothing that it computed is made of
what the replicas did, it had not the whole batch, and is no oracle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from varsim.analysis.findings.account import Compared
from varsim.analysis.findings.components import Components
from varsim.analysis.findings.factor_words import Comparison, together, worded
from varsim.analysis.findings.found import Evidence, Finder, Finding, Kind
from varsim.analysis.findings.shards import Weights, sizes, uneven
from varsim.analysis.findings.share import Relation, Share, is_truncated
from varsim.analysis.findings.shares import Shares
from varsim.analysis.findings.subject import Subject
from varsim.analysis.findings.tally import (
    AGAIN,
    FACTORS,
    NEARLY_ALL,
    Tally,
    had_the_whole_batch,
    weighed,
)
from varsim.analysis.observer import Take
from varsim.analysis.oracle import Oracle
from varsim.analysis.rounding import close, material
from varsim.tracing.history import Event


class Factor(Finder):
    """Finds values that are wrong by a factor, or by how replicas are weighed."""

    def __init__(
        self,
        num_replicas: int,
        variables: Mapping[int, Subject],
        components: Components,
        oracle: Oracle,
    ) -> None:
        self._variables = variables
        self._shares = Shares(num_replicas, variables, components, oracle)
        self._oracle = oracle
        self._tallies: dict[tuple[int, bool, str], Tally] = {}
        self._whole_batch = True
        self._explained: set[tuple[int | None, str]] = set()  # variables and places

    def taker(self, kind: str, *, by_program: bool) -> Take | None:  # noqa: ARG002  # of both
        """What makes shares."""
        return self._take if kind in Shares.kinds else None

    def _take(self, event: Event) -> None:
        """Compares what an event completes."""
        for share in self._shares.of(event):
            subject = self._variables[share.event.variable or 0]
            by_program = share.event.kind == "write" and share.event.process < 0
            if share.comparable:
                key = subject.variable_id, by_program, share.event.place or ""
                tally = self._tallies.setdefault(key, Tally(by_program))
                tally.add(share, "" if by_program else subject.aggregation)

    def finish(self) -> list[Finding]:
        """One finding for each variable that is clearly wrong."""
        aggregated = [
            (self._variables[number], tally)
            for (number, by_program, _), tally in self._tallies.items()
            if self._variables[number].aggregation and not by_program
        ]
        counted = [
            known
            for subject, tally in aggregated
            if subject.aggregation == "SUM" and tally.related[Relation.RIGHT] == tally.count
            for known in sizes(tally.kept)
        ]
        whole_batch = self._whole_batch = had_the_whole_batch(aggregated, counted)
        compared: dict[int, list[Comparison]] = {}
        for (number, by_program, _), tally in self._tallies.items():
            subject = self._variables[number]
            found = _truncated(tally) if by_program and subject.summed else None
            if whole_batch and by_program:
                found = found or self._by_program(subject, tally)
            elif whole_batch:
                found = self._by_replicas(subject, tally, counted)
            if found is not None:
                compared.setdefault(number, []).append(found)
        conclusions = {number: together(some) for number, some in sorted(compared.items())}
        for number, one in conclusions.items():
            self._explained |= {(number, place) for place in one.evidence.places}
        return [
            worded(self._variables[number], one, self._oracle)
            for number, one in conclusions.items()
        ]

    def compared(self) -> Compared:
        """What all comparisons came to; asked after `finish`, which explains some differences."""
        compared = self._shares.compared().explained_at(self._explained)
        return replace(compared, rules_tried=self._whole_batch)

    def _by_replicas(
        self, subject: Subject, tally: Tally, counted: list[list[Weights]]
    ) -> Comparison | None:
        if tally.related[Relation.RIGHT] == tally.count:
            return None
        if not subject.aggregation:
            return self._synchronised_by_hand(subject, tally)
        for relation in FACTORS:
            if tally.clearly(relation) and not self._is_meant(subject, tally, relation):
                kind = Kind.FIRST_REPLICA if subject.first else Kind.WRONG_FACTOR
                return _comparison(kind, tally, relation)
        if subject.first:
            return self._first_only(subject, tally, counted)
        if (lossy := _truncated(tally)) is not None:
            return lossy
        if tally.clearly(Relation.ABOUT_TIMES_N, by_first=False):
            return _comparison(Kind.WRONG_FACTOR, tally, Relation.ABOUT_TIMES_N)
        if tally.clearly(Relation.RIGHT) and subject.aggregation == "SUM":
            return None
        pairs = weighed(tally, counted)
        if subject.aggregation == "SUM":
            return _of(Kind.WRONG_FACTOR, _wrong(pairs), tally, Relation.ABOUT_TIMES_N)
        unequal = [(share, weights) for share, weights in pairs if uneven(weights)]
        return _of(Kind.MEAN_OF_MEANS, _wrong(unequal), tally)

    def _is_meant(self, subject: Subject, tally: Tally, relation: Relation) -> bool:
        """Whether a program may be after the factor: it scales by the number of replicas."""
        number = subject.variable_id
        reduced, added = number in self._shares.reduced_before, number in self._shares.added_to
        alike = tally.alike == tally.count
        if subject.first:
            constant = alike or len(tally.values) < min(AGAIN, tally.count)
            return relation is not Relation.OVER_N or (constant and not added)
        if relation is Relation.OVER_N:
            return alike and not (added or reduced)
        if subject.aggregation == "MEAN":
            return not reduced
        ones = all((share.wanted == 1).all() for share in tally.kept)
        return ones and alike and not added  # it counts the replicas

    def _first_only(
        self, subject: Subject, tally: Tally, counted: list[list[Weights]]
    ) -> Comparison | None:
        for relation in (Relation.FIRST_OF_SUM, Relation.FIRST_OF_MEAN):
            if tally.clearly(relation):
                return _comparison(Kind.FIRST_REPLICA, tally, relation)
        found = _of(Kind.FIRST_REPLICA, _wrong(weighed(tally, counted)), tally)
        if found is not None or subject.variable_id in self._shares.reduced_before:
            return found
        return _another_throughout(tally, added=subject.variable_id in self._shares.added_to)

    def _synchronised_by_hand(self, subject: Subject, tally: Tally) -> Comparison | None:
        if subject.variable_id not in self._shares.reduced_before or tally.alike < tally.count:
            return None
        for relation in FACTORS:
            if tally.clearly(relation) and (tally.telling or relation is not Relation.OVER_N):
                return _comparison(Kind.WRONG_FACTOR, tally, relation)
        return None

    def _by_program(self, subject: Subject, tally: Tally) -> Comparison | None:
        """What replicas read may be scaled on purpose, as a learning rate is."""
        varied = len(tally.values) >= AGAIN and tally.telling
        read = subject.variable_id in self._shares.read_in_replicas
        merged = subject.variable_id in self._shares.merged
        if merged and not subject.gathered:
            return next(
                (
                    _comparison(Kind.WRONG_FACTOR, tally, one)
                    for one in FACTORS
                    if tally.clearly(one)
                ),
                None,
            )
        if subject.gathered or read or not varied:
            return None
        for relation in FACTORS:
            if tally.clearly(relation, by_first=False):
                return _comparison(Kind.WRONG_FACTOR, tally, relation)
        if tally.related[Relation.ABOUT_TIMES_N] == tally.count:
            return _comparison(Kind.WRONG_FACTOR, tally, Relation.ABOUT_TIMES_N)
        return None


def _comparison(kind: Kind, tally: Tally, relation: Relation) -> Comparison:
    return Comparison(kind, relation, tally.evidence[relation], tally.shown[relation], tally.count)


def _of(
    kind: Kind,
    wrong: Sequence[tuple[Share, Weights | None]],
    tally: Tally,
    relation: Relation = Relation.OTHER,
) -> Comparison | None:
    """A comparison of shares that are wrong, with the sizes of shards; None if none is."""
    if not wrong:
        return None
    evidence = Evidence()
    for share, _ in wrong:
        evidence.add(share.event, *share.others)
    first, weights = wrong[0]
    constant = all(one is weights for _, one in wrong)
    return Comparison(
        kind, relation, evidence, first, len(tally.kept), weights if constant else None
    )


def _wrong(some: list[tuple[Share, Weights]]) -> list[tuple[Share, Weights]]:
    return [(share, weights) for share, weights in some if material(share.got, share.wanted)]


def _another_throughout(tally: Tally, *, added: bool) -> Comparison | None:
    """The first replica's value is another than a single device's, from the first to the last.

    The others must have had another value as well; or, if that is not known, it must not be one
    that depends on the number of replicas alone.
    """
    wrong = [one for one in tally.kept if material(one.got, one.wanted)]
    if tally.first is Relation.RIGHT or len(wrong) < NEARLY_ALL * len(tally.kept):
        return None
    known = [parts for one in wrong if (parts := one.known) is not None]
    if len(known) == len(wrong):
        differ = sum(any(material(part, parts[0]) for part in parts) for parts in known)
        sure = 2 * differ > len(known)
    else:
        sure = len(wrong) >= AGAIN and (added or not _one_ratio(wrong))
    return _of(Kind.FIRST_REPLICA, [(one, None) for one in wrong], tally) if sure else None


def _one_ratio(shares: list[Share]) -> bool:
    first = shares[0]
    ratio = float(np.abs(first.got).max()) / float(np.abs(first.wanted).max())
    return all(close(one.wanted * ratio, one.got) for one in shares)


def _truncated(tally: Tally) -> Comparison | None:
    """What was split among the replicas lost its remainder; the rest, if any, is right."""
    wrong = [share for share in tally.kept if is_truncated(share, share.known or [share.got])]
    right = tally.by_program or len(wrong) + tally.related[Relation.RIGHT] == tally.count
    return _of(Kind.TRUNCATION, [(one, None) for one in wrong], tally) if right else None
