"""Values whose error follows a known rule, found by comparison with a single device.

For example, a value is N times too large, where N is the number of replicas.

A relation is reported if it holds in the first comparison and in nearly all others. Some values,
such as weights, depend on the value of the previous step. After a mistake in the first step, later
values of such a variable cannot be compared. Then only the first comparison counts, if its numbers
exclude a relation by chance.

A single device that did not get the whole batch cannot be an oracle; `whole_batch.py` decides this.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from varsim.analysis.findings.compared import NOT_WHOLE, Access, Site, site_of
from varsim.analysis.findings.comparison import (
    Comparison,
    Relation,
    is_truncated,
)
from varsim.analysis.findings.comparison_statistics import (
    AGAIN,
    FACTORS,
    NEARLY_ALL,
    ComparisonStatistics,
    show,
)
from varsim.analysis.findings.comparisons import Comparisons
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.example_counts import ExampleCounts
from varsim.analysis.findings.extremes import extreme_of
from varsim.analysis.findings.model import Evidence, Finder, Finding, FindingKind
from varsim.analysis.findings.other_means import other_mean_of, spread_of
from varsim.analysis.findings.quotients import quotients
from varsim.analysis.findings.scaling_messages import (
    FIRST_REPLICA_ONLY,
    MEAN_OF_MEANS,
    TRUNCATION,
    WRONG_FACTOR,
    ScalingFault,
    ending_early,
    faults_like_the_first,
    following,
    message,
    source_message,
    together,
)
from varsim.analysis.findings.shard_weights import Weights, sizes, uneven
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.findings.whole_batch import had_the_whole_batch, is_proved, weighed
from varsim.analysis.rounding import close, material
from varsim.tracing.history import Event


class Scaling(Finder):
    """Finds values that are wrong by a factor, or by the weights of the replicas."""

    kinds = (WRONG_FACTOR, MEAN_OF_MEANS, FIRST_REPLICA_ONLY, TRUNCATION)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._variables = context.variables
        self._statistics: dict[Site, ComparisonStatistics] = {}
        self._facts: dict[Site, VariableFacts] = {}  # about the writes at each site
        self._counted = ExampleCounts(self.num_replicas, context.variables)
        if context.comparisons is not None:
            context.comparisons.pass_to(self._add)

    def concerns(self, variable: int | None) -> bool:
        """Return whether the variable can be a counter of examples, and is compared."""
        return self.context.comparisons is not None and self._counted.concerns(variable)

    def on_write_by_replica(self, event: Event) -> None:
        """Count what a replica adds to a counter of examples."""
        self._counted.on_write_by_replica(event)

    def _add(self, comparison: Comparison) -> None:
        if comparison.comparable:
            site = site_of(comparison.event)
            by_program = site.access is Access.WRITTEN
            statistics = self._statistics.setdefault(site, ComparisonStatistics(by_program))
            facts = self._variables[site.variable_id].for_operation(comparison.event.operation)
            self._facts[site] = facts
            statistics.add(comparison, "" if by_program else facts.aggregation)

    def finish(self) -> list[Finding]:
        """Return one finding for each variable whose values are clearly wrong."""
        comparisons = self.context.comparisons
        return [] if comparisons is None else self._findings(comparisons)

    def _findings(self, comparisons: Comparisons) -> list[Finding]:
        comparisons.proved = is_proved(self._aggregated())
        if not comparisons.proved:
            for site in [one for one in self._statistics if comparisons.is_prefix(one)]:
                del self._statistics[site]
        aggregated = self._aggregated()
        counted = self._counted
        counted.listed += [
            known
            for facts, statistics in aggregated
            if facts.aggregation == "SUM" and statistics.related[Relation.RIGHT] == statistics.count
            for known in sizes(statistics.kept)
        ]
        modes = {one.variable_id: comparisons.mode_of(one.variable_id) for one, _ in aggregated}
        inexact = {number for number, mode in modes.items() if mode is not None}
        if not comparisons.not_comparable:
            if had_the_whole_batch(aggregated, counted):  # then replicas did not train apart
                inexact = {n for n, mode in modes.items() if mode is not None and mode.approximate}
            elif not had_the_whole_batch(aggregated, counted, inexact):
                comparisons.not_comparable = NOT_WHOLE
        whole_batch = not comparisons.not_comparable
        compared: defaultdict[int, dict[Site, ScalingFault]] = defaultdict(dict)
        for site, statistics in self._statistics.items():
            facts = self._facts[site]
            found = _truncated(statistics) if statistics.by_program and facts.summed else None
            if whole_batch and statistics.by_program:
                found = found or _by_program(comparisons, facts, statistics)
            elif whole_batch and site.variable_id in inexact:
                found = _by_factor(comparisons, facts, statistics)
            elif whole_batch:
                found = _by_replicas(comparisons, facts, statistics, counted)
                found = found or self._other_mean(facts, statistics)
            if found is not None:
                compared[site.variable_id][site] = found
        sources = self._sources(comparisons, compared) if whole_batch else {}
        return [*self._told(comparisons, compared, sources), *self._told_of(comparisons, sources)]

    def _sources(
        self, comparisons: Comparisons, compared: Mapping[int, Mapping[Site, ScalingFault]]
    ) -> dict[int, Site]:
        """Return the sums that are N times too large because of a factor in a value read before.

        Returns:
            The variable of such a sum, and the site of the value with the factor.
        """
        scaled = {
            site.variable_id: site
            for site, statistics in self._statistics.items()
            if site.variable_id not in compared
            and statistics.clearly(Relation.TIMES_N, by_first=False)
            and (statistics.by_program or self._facts[site].first)
        }
        found = {}
        for number, faults in compared.items():
            first = next(iter(faults.values()))
            origin = comparisons.origin_of(number)
            summed = self._variables[number].aggregation == "SUM"
            if first.relation is Relation.TIMES_N and summed and origin in scaled:
                found[number] = scaled[origin]
        return found

    def _told_of(self, comparisons: Comparisons, sources: Mapping[int, Site]) -> list[Finding]:
        """Return a finding for each value with the factor, which its readers pass on."""
        findings = []
        for site in dict.fromkeys(sources.values()):
            fault = _fault(WRONG_FACTOR, self._statistics[site], Relation.TIMES_N)
            comparisons.explain(site, fault.evidence.count)
            sums = [self._variables[one].name for one, by in sources.items() if by == site]
            findings.append(source_message(self._facts[site], fault, sums))
        return findings

    def _other_mean(
        self, facts: VariableFacts, statistics: ComparisonStatistics
    ) -> ScalingFault | None:
        """Judge whether MEAN averages values of which a single device has another mean."""
        if facts.aggregation != "MEAN" or statistics.first is Relation.RIGHT:
            return None
        kept, weights = statistics.kept, list(self._counted.weights_for(statistics.kept))
        found = other_mean_of(kept, weights)
        for other, means in self._aggregated():
            right = means.related[Relation.RIGHT] == means.count
            if found is None and right and other.aggregation == "MEAN":
                found = spread_of(kept, means.kept, weights)
        return None if found is None else _of(MEAN_OF_MEANS, found[1], statistics, found[0])

    def _aggregated(self) -> list[tuple[VariableFacts, ComparisonStatistics]]:
        return [
            (self._facts[site], statistics)
            for site, statistics in self._statistics.items()
            if self._facts[site].aggregation and not statistics.by_program
        ]

    def _told(
        self,
        comparisons: Comparisons,
        compared: Mapping[int, Mapping[Site, ScalingFault]],
        sources: Mapping[int, Site],
    ) -> list[Finding]:
        """Return a finding for each variable with a fault that nothing else explains."""
        findings = []
        explained, context = self.context.explained_sums, self.context
        for one in quotients(compared, self._variables, context.reads, context.returned):
            comparisons.quotients.append(one)
            explained.update(one.variable_ids)
            for number in one.variable_ids:
                for site, fault in compared[number].items():
                    comparisons.explain(site, fault.evidence.count)
        for number, faults in sorted(compared.items()):
            if number in explained:
                continue
            alike = faults_like_the_first(faults)
            for site, fault in alike.items():
                comparisons.explain(site, fault.evidence.count)
            if number in self.context.started_apart:
                continue  # `Parted` has the cause
            fault = together(list(alike.values()))
            summed_at = self.context.summed_before.get(number)
            finding = message(
                self._variables[number], fault, comparisons.oracle, context.face, summed_at
            )
            often = comparisons.oracle.uneven.get(next(iter(alike)).key)
            if often and fault.relation is Relation.TIMES_N and often.here < often.there:
                finding = ending_early(finding, often)
            if number in sources:
                finding = following(finding, self._variables[sources[number].variable_id])
            findings.append(finding)
        return findings


def _by_replicas(
    comparisons: Comparisons,
    facts: VariableFacts,
    statistics: ComparisonStatistics,
    counted: ExampleCounts,
) -> ScalingFault | None:
    if statistics.related[Relation.RIGHT] == statistics.count:
        return None
    if not facts.aggregation:
        return _synchronised_by_hand(comparisons, facts, statistics)
    if facts.first and facts.gathered and not comparisons.written_by_others(facts.variable_id):
        return None  # the others wrote no value that could be merged
    if (found := _by_factor(comparisons, facts, statistics)) is not None:
        return found
    if facts.first:
        return _first_only(comparisons, facts, statistics, counted)
    if (lossy := _truncated(statistics)) is not None:
        return lossy
    if facts.aggregation == "MEAN":
        extreme = extreme_of(statistics.kept, whole_batch=comparisons.proved)
        if extreme is not None:
            return _of(MEAN_OF_MEANS, [(one, None) for one in extreme[1]], statistics, extreme[0])
    if statistics.clearly(Relation.ABOUT_TIMES_N, by_first=False):
        return _fault(WRONG_FACTOR, statistics, Relation.ABOUT_TIMES_N)
    if statistics.clearly(Relation.RIGHT) and facts.aggregation == "SUM":
        return None
    pairs = weighed(statistics, counted)
    if facts.aggregation == "SUM":
        return _of(WRONG_FACTOR, _wrong(pairs), statistics, Relation.ABOUT_TIMES_N)
    unequal = [(comparison, weights) for comparison, weights in pairs if uneven(weights)]
    return _of(MEAN_OF_MEANS, _wrong(unequal), statistics)


def _by_factor(
    comparisons: Comparisons, facts: VariableFacts, statistics: ComparisonStatistics
) -> ScalingFault | None:
    """Judge whether the value is wrong by an exact factor."""
    for relation in FACTORS:
        if statistics.clearly(relation) and not _is_meant(comparisons, facts, statistics, relation):
            kind = FIRST_REPLICA_ONLY if facts.first else WRONG_FACTOR
            return _fault(kind, statistics, relation)
    return None


def _is_meant(
    comparisons: Comparisons,
    facts: VariableFacts,
    statistics: ComparisonStatistics,
    relation: Relation,
) -> bool:
    """Return whether the program may scale by the number of replicas on purpose."""
    number = facts.variable_id
    reduced, added = number in comparisons.reduced_before, number in comparisons.added_to
    alike = statistics.alike == statistics.count
    if facts.first:
        constant = alike or len(statistics.values) < min(AGAIN, statistics.count)
        return relation is not Relation.OVER_N or (constant and not added)
    if relation is Relation.OVER_N:
        return alike and not (added or reduced)
    if facts.aggregation == "MEAN":
        return not reduced
    ones = all((comparison.wanted == 1).all() for comparison in statistics.kept)
    return ones and alike and not added  # a value that counts the replicas


def _first_only(
    comparisons: Comparisons,
    facts: VariableFacts,
    statistics: ComparisonStatistics,
    counted: ExampleCounts,
) -> ScalingFault | None:
    for relation in (Relation.FIRST_OF_SUM, Relation.FIRST_OF_MEAN):
        if statistics.clearly(relation):
            return _fault(FIRST_REPLICA_ONLY, statistics, relation)
    pairs = _wrong(weighed(statistics, counted))
    found = _of(FIRST_REPLICA_ONLY, pairs, statistics, Relation.FIRST_OF_WEIGHTED)
    if found is not None or facts.variable_id in comparisons.reduced_before:
        return found
    return _another_throughout(statistics, added=facts.variable_id in comparisons.added_to)


def _synchronised_by_hand(
    comparisons: Comparisons, facts: VariableFacts, statistics: ComparisonStatistics
) -> ScalingFault | None:
    if facts.variable_id not in comparisons.reduced_before or statistics.alike < statistics.count:
        return None
    for relation in FACTORS:
        if statistics.clearly(relation) and (statistics.telling or relation is not Relation.OVER_N):
            return _fault(WRONG_FACTOR, statistics, relation)
    return None


def _by_program(
    comparisons: Comparisons, facts: VariableFacts, statistics: ComparisonStatistics
) -> ScalingFault | None:
    """Judge a write by the program. If replicas read the value, it may be scaled on purpose."""
    varied = len(statistics.values) >= AGAIN and statistics.telling
    read = facts.variable_id in comparisons.read_in_replicas
    merged = facts.variable_id in comparisons.merged
    if merged and not facts.gathered:
        return next(
            (_fault(WRONG_FACTOR, statistics, one) for one in FACTORS if statistics.clearly(one)),
            None,
        )
    if facts.gathered or read or not varied:
        return None
    for relation in FACTORS:
        if statistics.clearly(relation, by_first=False):
            return _fault(WRONG_FACTOR, statistics, relation)
    if statistics.related[Relation.ABOUT_TIMES_N] == statistics.count:
        return _fault(WRONG_FACTOR, statistics, Relation.ABOUT_TIMES_N)
    return None


def _fault(kind: FindingKind, statistics: ComparisonStatistics, relation: Relation) -> ScalingFault:
    shown = statistics.shown[relation]
    return ScalingFault(
        kind,
        relation,
        statistics.evidence[relation],
        (shown,),
        statistics.count,
        alike=shown.alike and statistics.alike >= statistics.related[relation],
    )


def _of(
    kind: FindingKind,
    wrong: Sequence[tuple[Comparison, Weights | None]],
    statistics: ComparisonStatistics,
    relation: Relation = Relation.OTHER,
) -> ScalingFault | None:
    """Return the fault that the wrong comparisons show; None if no comparison is wrong."""
    if not wrong:
        return None
    evidence = Evidence()
    for comparison, _ in wrong:
        show(evidence, comparison)
    weights = wrong[0][1]
    constant = all(one is weights for _, one in wrong)
    return ScalingFault(
        kind,
        relation,
        evidence,
        tuple(one for one, _ in wrong),
        len(statistics.kept),
        weights if constant else None,
        alike=all(one.alike for one, _ in wrong),
    )


def _wrong(some: list[tuple[Comparison, Weights]]) -> list[tuple[Comparison, Weights]]:
    return [
        (comparison, weights)
        for comparison, weights in some
        if material(comparison.got, comparison.wanted)
    ]


def _another_throughout(statistics: ComparisonStatistics, *, added: bool) -> ScalingFault | None:
    """Judge whether the first replica's value is wrong in nearly all comparisons.

    The other replicas must have had different values. If their values are unknown, the difference
    from the single device must not be a constant factor.
    """
    wrong = [one for one in statistics.kept if material(one.got, one.wanted)]
    if statistics.first is Relation.RIGHT or len(wrong) < NEARLY_ALL * len(statistics.kept):
        return None
    known = [parts for one in wrong if (parts := one.known) is not None]
    if len(known) == len(wrong):
        differ = sum(any(material(part, parts[0]) for part in parts) for parts in known)
        sure = 2 * differ > len(known)
    else:
        sure = len(wrong) >= AGAIN and (added or not _one_ratio(wrong))
    return _of(FIRST_REPLICA_ONLY, [(one, None) for one in wrong], statistics) if sure else None


def _one_ratio(comparisons: list[Comparison]) -> bool:
    first = comparisons[0]
    ratio = float(np.abs(first.got).max()) / float(np.abs(first.wanted).max())
    return all(close(one.wanted * ratio, one.got) for one in comparisons)


def _truncated(statistics: ComparisonStatistics) -> ScalingFault | None:
    """Judge whether a value was split among the replicas and its remainder was lost."""
    wrong = [
        comparison
        for comparison in statistics.kept
        if is_truncated(comparison, comparison.known or [comparison.got])
    ]
    right = (
        statistics.by_program or len(wrong) + statistics.related[Relation.RIGHT] == statistics.count
    )
    return _of(TRUNCATION, [(one, None) for one in wrong], statistics) if right else None
