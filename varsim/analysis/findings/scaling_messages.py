"""The kinds and texts of findings about values whose error follows a known rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat
from varsim.analysis.findings.compared import Site
from varsim.analysis.findings.comparison import Comparison, Relation
from varsim.analysis.findings.first_replica import (
    aggregation_of_all,
    lines_instead,
    remedy_of_first,
    what_is_first,
    what_no_aggregation_gives,
)
from varsim.analysis.findings.mean_messages import lines_of_right, mean_of_means
from varsim.analysis.findings.model import (
    Cause,
    Certainty,
    Evidence,
    Finding,
    FindingKind,
    Proposed,
    compared_kind,
    finding_of,
)
from varsim.analysis.findings.shard_weights import Weights
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.oracle import Oracle, Uneven
from varsim.analysis.rounding import close
from varsim.spec import VariableAggregation, VariableSynchronization
from varsim.texts.faces import Face
from varsim.texts.facts import element_text, share, times

WRONG_FACTOR: Final = compared_kind("scaled by the number of replicas", mended_by_settings=True)
MEAN_OF_MEANS: Final = compared_kind("mean of means")
FIRST_REPLICA_ONLY: Final = compared_kind("first replica only", mended_by_settings=True)
TRUNCATION: Final = FindingKind(
    name="integer truncation", about_values=True, certainty=Certainty.COMPARED, needs_oracle=True
)

_OWN_BATCH: Final = "divide each replica's contribution by the number of this replica's examples"


@dataclass(frozen=True, slots=True)
class ScalingFault:
    """A variable whose values have an error that follows a known rule."""

    kind: FindingKind
    relation: Relation
    evidence: Evidence
    wrong: tuple[Comparison, ...]  # the first comparisons that show the fault, at least one
    count: int  # number of all comparisons
    weights: Weights | None = None  # the shares of unequal shards, if they are constant
    alike: bool = False  # whether all replicas had the same value in each comparison that shows it

    @property
    def shown(self) -> Comparison:
        """Return the first comparison that shows the fault."""
        return self.wrong[0]


def faults_like_the_first(faults: Mapping[Site, ScalingFault]) -> dict[Site, ScalingFault]:
    """Return the first fault of a variable, and those of its other faults that are similar."""
    first = next(iter(faults.values()))
    return {site: one for site, one in faults.items() if _sort(one) == _sort(first)}


def together(alike: Sequence[ScalingFault]) -> ScalingFault:
    """Return the first of similar faults, with the evidence of all."""
    first, *others = alike
    for one in others:
        first.evidence.merge(one.evidence)
    return replace(
        first,
        wrong=tuple(comparison for one in alike for comparison in one.wrong),
        count=sum(one.count for one in alike),
        alike=all(one.alike for one in alike),
    )


def _sort(one: ScalingFault) -> tuple[FindingKind, Relation, str]:
    return one.kind, one.relation, one.shown.event.kind


def sum_once(location: str, num_replicas: int) -> tuple[str, str]:
    """Return the text and the remedy for a SUM of what an all_reduce has already summed.

    Args:
        location: The line of the all_reduce.
    """
    return (
        f"Each of the {num_replicas} replicas writes the sum that the all_reduce at {location} has "
        "returned, and the variable with SUM adds these equal sums.",
        f"Sum only once: remove the all_reduce at {location} and write the replica's own part, or "
        "choose ONLY_FIRST_REPLICA, which takes the sum of one replica.",
    )


def message(
    facts: VariableFacts,
    fault: ScalingFault,
    oracle: Oracle,
    face: Face,
    summed_at: str | None = None,
) -> Finding:
    """Return the finding about a fault: the rule, the numbers, and the remedy.

    Args:
        face: The face of varsim that the program uses, for lines to paste.
        summed_at: The line of an all_reduce whose sum all replicas write to the variable.
    """
    evidence = fault.evidence
    what, remedy = _what_and_remedy(facts, fault, oracle, face)
    if fault.kind is WRONG_FACTOR and summed_at is not None:
        what, remedy = sum_once(summed_at, len(fault.shown.by_replica))
        evidence.locations.setdefault(summed_at, 0)
    if fault.kind is not TRUNCATION:
        compared = _compared(evidence.count, fault.count)
        what = f"{what} {compared} this. {_numbers(fault.shown, facts)}."
    settings = _settings(facts, fault, oracle)
    if fault.kind is FIRST_REPLICA_ONLY:
        return _of_first_replica(facts, fault, what, remedy, settings, face)
    is_mean = fault.kind is MEAN_OF_MEANS
    paste = lines_of_right(fault.relation, fault.weights, facts.dtype, face) if is_mean else ()
    return finding_of(fault.kind, facts, evidence, what, remedy, paste=paste, settings=settings)


def _what_and_remedy(
    facts: VariableFacts, fault: ScalingFault, oracle: Oracle, face: Face
) -> tuple[str, str]:
    relation, kind = fault.relation, fault.kind
    if kind is MEAN_OF_MEANS:
        return mean_of_means(facts.name, relation, fault.weights, face)
    if kind is FIRST_REPLICA_ONLY:
        mended = aggregation_of_all(fault.wrong)
        return what_is_first(relation), remedy_of_first(relation, mended, face)
    return _truncation(fault) if kind is TRUNCATION else _wrong_factor(facts, fault, oracle)


def _of_first_replica(
    facts: VariableFacts,
    fault: ScalingFault,
    what: str,
    remedy: str,
    settings: Proposed | None,
    face: Face,
) -> Finding:
    """Return the finding about a value that is the first replica's alone.

    It can follow from another one if the right value is no sum and no mean of the replicas' values:
    then these values themselves are wrong.
    """
    mended, relation = aggregation_of_all(fault.wrong), fault.relation
    own_cause = mended is not None or relation is not Relation.OTHER
    finding = finding_of(
        fault.kind,
        facts,
        fault.evidence,
        what if own_cause else f"{what}{what_no_aggregation_gives(fault.shown)}",
        remedy,
        paste=() if mended else lines_instead(relation, facts.dtype, face),
        settings=settings,
        mended_by_settings=mended is not None,
    )
    return replace(finding, own_cause=own_cause)


def ending_early(finding: Finding, often: Uneven) -> Finding:
    """Return the finding about a value that is too large, which a single device wrote more often.

    Args:
        often: The numbers of the writes.
    """
    return replace(
        finding,
        what=f"{finding.what} The run made this write {times(often.here, 'time')}, and a single "
        f"device {times(often.there, 'time')}: what depends on the value, such as the end of a "
        "loop or a decay, comes too early.",
    )


def source_message(facts: VariableFacts, fault: ScalingFault, sums: Sequence[str]) -> Finding:
    """Return the finding about a value with a factor N that comes into sums of what replicas write.

    Args:
        sums: The names of the variables with SUM that are N times too large because of it.
    """
    count, into = len(fault.shown.by_replica), " and ".join(sums)
    compared = _compared(fault.evidence.count, fault.count)
    return finding_of(
        WRONG_FACTOR,
        facts,
        fault.evidence,
        f"The value is {count} times the single device's, and the replicas read it before they "
        f"write {into}. The sum of what the replicas write is already the value of the whole "
        f"batch. With this factor, {into} changes {count} times too much. {compared} the factor. "
        f"{_numbers(fault.shown, facts)}.",
        "Write the value without the factor: the batch of all replicas together is that of the "
        "single device. A rate grows with the number of replicas only if the batch grows, too.",
    )


def following(finding: Finding, source: VariableFacts) -> Finding:
    """Return the finding about a sum whose factor comes from a variable that was read before."""
    return replace(
        finding,
        what=f"{finding.what} Replicas read {source.name} before, which has this factor.",
        remedy=f"Correct {source.name} first: this sum is then right.",
        paste=(),
        settings=None,
        cause=Cause(WRONG_FACTOR, source.variable_id, source.name),
    )


def _compared(count: int, total: int) -> str:
    verbs = "with a single device shows", "with a single device show"
    return share(count, total, "comparison", verbs)


def _settings(facts: VariableFacts, fault: ScalingFault, oracle: Oracle) -> Proposed | None:
    """Return the settings that the remedy proposes; None unless it is one other aggregation."""
    synchronization = VariableSynchronization.__members__.get(facts.synchronization)
    aggregation = None
    if fault.kind is FIRST_REPLICA_ONLY:
        aggregation = aggregation_of_all(fault.wrong)
    elif fault.kind is WRONG_FACTOR:
        aggregation = _other_factor(facts, fault, oracle)
    if synchronization is None or aggregation is None or facts.one_copy:
        return None
    return Proposed(synchronization, aggregation)


def _other_factor(
    facts: VariableFacts, fault: ScalingFault, oracle: Oracle
) -> VariableAggregation | None:
    """Return the aggregation that gives the single device's value, if there is one."""
    if fault.shown.is_change:
        return None  # the replicas wrote more than the change, and a sum adds all of it
    if fault.relation is Relation.OVER_N and facts.aggregation == "MEAN":
        return VariableAggregation.SUM
    parts = fault.shown.known
    if fault.relation is not Relation.TIMES_N or facts.aggregation != "SUM" or parts is None:
        return None
    if not fault.alike:
        return None if _is_integer(facts) else VariableAggregation.MEAN
    if _is_initial(parts[0], oracle.created(facts.variable_id)):
        return None
    return VariableAggregation.ONLY_FIRST_REPLICA


def _is_integer(facts: VariableFacts) -> bool:
    return facts.dtype.startswith(("int", "uint"))


def _numbers(comparison: Comparison, facts: VariableFacts) -> str:
    """Return two values and their ratio as text. Of arrays, use only the largest element."""
    index = int(np.abs(comparison.wanted).argmax())
    got, wanted = comparison.got[index].item(), comparison.wanted[index].item()
    element = comparison.index_of(index, facts.shape)
    what = "it" if element is None else element_text(element)
    ratio = f" ({_number(got / wanted)} times as much)" if wanted else ""
    verb = "changes by" if comparison.is_change else "is"
    return (
        f"In the first comparison {what} {verb} {_number(got)} instead of {_number(wanted)}{ratio}"
    )


def _number(value: complex) -> str:
    if isinstance(value, int) or (value == round(value.real) and abs(value) < 1e15):
        return f"{round(value.real):,}"
    return f"{value:.4g}"


def _wrong_factor(facts: VariableFacts, fault: ScalingFault, oracle: Oracle) -> tuple[str, str]:
    comparison, count = fault.shown, len(fault.shown.by_replica)
    if fault.relation is Relation.TIMES_N_TWICE:
        return (
            f"The value is {count} × {count} times the single device's: a value that is already "
            "summed over the replicas is summed again.",
            "Sum it only once: remove the all_reduce, or use MEAN.",
        )
    if fault.relation is Relation.OVER_N:
        if comparison.is_change:
            return (
                f"The change is 1/{count} of the single device's: MEAN averages the replicas' "
                "changes, but their sum is needed.",
                f"Write the sum of the changes: reduce the change by SUM before the write; or "
                f"{_OWN_BATCH}, not by the number of examples of all replicas.",
            )
        return (
            f"The value is 1/{count} of the single device's: MEAN is used where SUM is needed.",
            f"Aggregate with SUM; or {_OWN_BATCH}, not by the number of examples of all replicas.",
        )
    if facts.one_copy and facts.for_operation(comparison.event.operation) is not facts:
        return (
            f"The value is {count} times the single device's: the variable has one copy, which "
            f"gets the rows of {count} replicas. The aggregation has no effect on rows.",
            "Divide the values of the rows by the number of replicas; or write the whole value, "
            "which is aggregated.",
        )
    parts = comparison.known
    about = "about " if fault.relation is Relation.ABOUT_TIMES_N else ""
    if facts.aggregation != "SUM" or parts is None:
        return (
            f"The value is {about}{count} times the single device's: the replicas' values are "
            "summed before the write, but MEAN is needed.",
            "Reduce with MEAN; or divide each replica's contribution by the number of examples of "
            "all replicas together.",
        )
    created = oracle.created(facts.variable_id)
    if fault.alike and _is_initial(parts[0], created):
        return (
            f"Each of the {count} components starts at the initial value, and SUM adds them up.",
            "Create the variable with 0, and assign the initial value outside strategy.run; or "
            "choose another aggregation.",
        )
    if fault.alike:
        return (
            f"Each of the {count} replicas contributes what a single device has, and SUM adds "
            "them up.",
            "Choose ONLY_FIRST_REPLICA, because all replicas write the same value; SUM is for "
            "values that are parts of a total.",
        )
    return (
        f"The value is {about}{count} times the single device's: SUM is used where MEAN is needed. "
        "Each replica already contributes a mean.",
        "Use two variables with SUM, one for the sum and one for the number of examples, and "
        "divide the values that you read; or use MEAN, if all replicas have the same number of "
        "examples.",
    )


def _is_initial(part: Flat, created: Flat | None) -> bool:
    return created is not None and len(created) == len(part) and close(part, created)


def _truncation(fault: ScalingFault) -> tuple[str, str]:
    comparison = fault.shown
    count = len(comparison.by_replica)
    index = int((np.abs(comparison.wanted) % count).argmax())
    whole, part = int(comparison.wanted[index]), int(comparison.got[index])
    lost = whole - part * count
    return (
        f"{whole:,} was assigned, and split into whole numbers: each of the {count} replicas got "
        f"{part:,}, and {lost:,} is lost.",
        "Give the variable a float dtype, and cast what is added to it; or assign multiples of the "
        "number of replicas; or let one replica write it.",
    )
