"""What is said of a value that is wrong by a rule: the rule, the numbers, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat
from varsim.analysis.findings.found import Evidence, Finding, Kind, times
from varsim.analysis.findings.shards import Weights
from varsim.analysis.findings.share import Relation, Share
from varsim.analysis.findings.subject import Subject
from varsim.analysis.oracle import Oracle
from varsim.analysis.rounding import close

_OWN_BATCH: Final = "divide what each replica contributes by its own number of examples"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found of one variable."""

    kind: Kind
    relation: Relation
    evidence: Evidence
    shown: Share  # the first that shows it
    count: int  # of all that was compared
    weights: Weights | None = None  # the sizes of unequal shards, if they are constant


def together(found: list[Comparison]) -> Comparison:
    """What was found of one variable at several places: the first, and what is like it."""
    first, *others = found
    alike = [one for one in others if _sort(one) == _sort(first)]
    for one in alike:
        first.evidence.merge(one.evidence)
    return replace(first, count=sum(one.count for one in [first, *alike]))


def _sort(one: Comparison) -> tuple[Kind, Relation, str]:
    return one.kind, one.relation, one.shown.event.kind


def worded(subject: Subject, found: Comparison, oracle: Oracle) -> Finding:
    """The finding of a comparison."""
    evidence = found.evidence
    what, remedy = _WORDS[found.kind](subject, found, oracle)
    if found.kind is not Kind.TRUNCATION:
        compared = f"{evidence.count:,} of {times(found.count, 'comparison')}"
        what = f"{what} {_numbers(found.shown)}; so in {compared} with a single device."
    return Finding(
        kind=found.kind,
        variable_id=subject.variable_id,
        variable=subject.name,
        places=evidence.most_places(),
        count=evidence.count,
        what=what,
        remedy=remedy,
        events=tuple(evidence.events),
    )


def _numbers(share: Share) -> str:
    """The two values of a share, and their ratio; of an array, of its largest element."""
    place = int(np.abs(share.wanted).argmax())
    got, wanted = share.got[place].item(), share.wanted[place].item()
    what = f"element {place * share.step}" if len(share.wanted) > 1 else "it"
    ratio = f", {_number(got / wanted)} times as much" if wanted else ""
    verb = "changes by" if share.is_change else "is"
    return f"At first {what} {verb} {_number(got)} instead of {_number(wanted)}{ratio}"


def _number(value: complex) -> str:
    if isinstance(value, int) or (value == round(value.real) and abs(value) < 1e15):
        return f"{round(value.real):,}"
    return f"{value:.4g}"


def _wrong_factor(subject: Subject, found: Comparison, oracle: Oracle) -> tuple[str, str]:
    share, count = found.shown, len(found.shown.parts)
    if found.relation is Relation.TIMES_N_TWICE:
        return (
            f"It is {count} × {count} times what a single device has: what was summed over the "
            "replicas already is summed once more.",
            "Sum once: without the all_reduce, or with MEAN.",
        )
    if found.relation is Relation.OVER_N:
        return (
            f"It is 1/{count} of what a single device has: MEAN is taken where SUM is meant.",
            f"Aggregate with SUM; or {_OWN_BATCH}, not by that of all replicas.",
        )
    parts = share.known
    about = "about " if found.relation is Relation.ABOUT_TIMES_N else ""
    if subject.aggregation != "SUM" or parts is None:
        return (
            f"It is {about}{count} times what a single device has: before it is written, SUM is "
            "taken where MEAN is meant.",
            "Reduce with MEAN; or divide what each replica contributes by the number of "
            "examples of all replicas together.",
        )
    created = oracle.created(subject.variable_id)
    if share.alike and _is_initial(parts[0], created):
        return (
            f"Each of the {count} components starts at the initial value, and SUM adds them up.",
            "Create it with 0, and assign what it is to start with outside strategy.run; or "
            "choose another aggregation.",
        )
    if share.alike:
        return (
            f"Each of the {count} replicas contributes what a single device has, and SUM adds "
            "them up.",
            "Choose ONLY_FIRST_REPLICA, as all replicas write the same; SUM is for parts of a "
            "whole.",
        )
    return (
        f"It is {about}{count} times what a single device has: SUM is taken where MEAN is meant, "
        "of values that each replica has divided already.",
        "Keep the sum and the number of examples apart, both with SUM, and divide what is read; "
        "or aggregate with MEAN, if all replicas have as many examples.",
    )


def _is_initial(part: Flat, created: Flat | None) -> bool:
    return created is not None and len(created) == len(part) and close(part, created)


def _mean_of_means(subject: Subject, found: Comparison, oracle: Oracle) -> tuple[str, str]:
    del subject, oracle
    return (
        "Each replica contributes a mean of its own examples, and MEAN weighs all replicas alike; "
        f"but their shards are not equal{_shards(found.weights)}.",
        "Keep the sum and the number of examples apart, both with SUM, and divide what is read; "
        "or weigh each contribution by the replica's share of the examples, with SUM.",
    )


def _shards(weights: Weights | None) -> str:
    if weights is None or len(weights) > 8:
        return ""
    return f": {', '.join(f'{100 * one:.0f} %' for one in weights)} of the examples"


def _first_replica(subject: Subject, found: Comparison, oracle: Oracle) -> tuple[str, str]:
    del oracle
    summed = found.relation in {Relation.FIRST_OF_SUM, Relation.OVER_N}
    meant = "the sum of all replicas' values" if summed else "a mean over all replicas"
    if found.relation is Relation.OTHER and found.weights is None:
        meant = "another value, of the whole batch"
    instead = "SUM" if summed else "MEAN"
    if subject.dtype.startswith(("int", "uint")):
        instead = "SUM"
    return (
        f"It is the first replica's value alone, while a single device has {meant}.",
        f"Aggregate with {instead}; ONLY_FIRST_REPLICA is for what all replicas write alike.",
    )


def _truncation(subject: Subject, found: Comparison, oracle: Oracle) -> tuple[str, str]:
    del subject, oracle
    share = found.shown
    place = int((np.abs(share.wanted) % len(share.parts)).argmax())
    whole, part = int(share.wanted[place]), int(share.got[place])
    lost = whole - part * len(share.parts)
    return (
        f"{whole:,} was assigned, and split into whole numbers: each of the {len(share.parts)} "
        f"replicas got {part:,}, and {lost:,} is lost.",
        "Give it a float dtype, assign multiples of the number of replicas, or let one replica "
        "write it.",
    )


_WORDS: Final = {
    Kind.WRONG_FACTOR: _wrong_factor,
    Kind.MEAN_OF_MEANS: _mean_of_means,
    Kind.FIRST_REPLICA: _first_replica,
    Kind.TRUNCATION: _truncation,
}
