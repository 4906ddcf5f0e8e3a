"""Settings that remove findings, and settings that findings propose to save messages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from varsim.analysis.findings.model import Finding
from varsim.spec import VariableAggregation, VariableSynchronization
from varsim.whatif.compare import Replays
from varsim.whatif.recorded import Settings

_MENDING: Final = tuple(
    Settings(synchronization, aggregation)
    for synchronization in (VariableSynchronization.ON_WRITE, VariableSynchronization.ON_READ)
    for aggregation in (
        VariableAggregation.MEAN,
        VariableAggregation.SUM,
        VariableAggregation.ONLY_FIRST_REPLICA,
    )
)
"""Settings that may remove a finding which proposes no settings itself."""


@dataclass(frozen=True, slots=True)
class Mended:
    """Settings that remove the findings of one variable."""

    findings: tuple[str, ...]  # the names of the findings
    settings: tuple[Settings, ...]  # the chosen settings first; the others differ in aggregation


def mended_variables(
    replays: Replays, before: Mapping[int, Settings], free: set[int]
) -> dict[int, Mended]:
    """Return, by variable, the settings that remove all of its findings."""
    troubled = {
        number: found
        for number, found in replays.troubles.items()
        if number in free and any(map(_has_settings, found))
    }
    found: dict[int, list[Settings]] = {number: [] for number in troubled}
    proposed = {number: _proposed(own) for number, own in troubled.items()}
    order = {
        number: list(dict.fromkeys([*proposed[number], *_nearest_first(before[number])]))
        for number in found
    }
    for rank in range(max(map(len, order.values()), default=0)):
        changes = {
            number: settings[rank]
            for number, settings in order.items()
            if rank < len(settings)
            and before[number] != settings[rank]
            and _is_like(settings[rank], found[number])
        }
        if not changes:
            continue
        result = replays.under(changes)
        left = {one.variable for one in result.findings if one.kind.about_values}
        for one in result.effects:
            fine = one.variable in changes and one.refusal is None and not result.failure
            if fine and one.name not in left:
                found[one.variable].append(changes[one.variable])
    return {
        number: Mended(tuple(one.kind.name for one in troubled[number]), tuple(settings))
        for number, settings in found.items()
        if settings
    }


def _is_like(settings: Settings, found: list[Settings]) -> bool:
    """Return whether settings only have another aggregation than the first found settings."""
    if not found:
        return True
    combined = found[0].aggregation is not VariableAggregation.NONE
    return combined and found[0].synchronization is settings.synchronization


def _nearest_first(now: Settings) -> list[Settings]:
    """Return settings that may remove findings, the most similar to the current ones first."""
    return sorted(
        _MENDING,
        key=lambda one: (
            one.synchronization is not now.synchronization,
            one.aggregation is not now.aggregation,
        ),
    )


def _has_settings(finding: Finding) -> bool:
    return finding.mended_by_settings or finding.settings is not None


def _proposed(findings: Iterable[Finding]) -> list[Settings]:
    """Return the settings that the first of these findings with settings proposes."""
    return [Settings(*one.settings) for one in findings if one.settings is not None][:1]


def proposed_to_save(replays: Replays, free: Collection[int]) -> dict[int, Settings]:
    """Return the settings that findings about cost only propose."""
    numbers = replays.numbers
    return {
        numbers[one.variable]: Settings(*one.settings)
        for one in replays.findings
        if one.kind.costs_only and one.settings is not None and numbers.get(one.variable) in free
    }
