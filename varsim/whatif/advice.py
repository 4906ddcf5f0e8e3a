"""Advise settings that save the most messages and change no value in a replay.

The settings of one variable do not affect other variables, because the replay writes the recorded
values. So one replay under ON_READ shows the effect on all variables, and one replay of all chosen
settings checks the choices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from varsim.spec import Synchronization, VariableAggregation, VariableSynchronization
from varsim.tracing.history import PROGRAM
from varsim.whatif.compare import Effect, Replays, WhatIf
from varsim.whatif.lines import at_odds, experiment_keys, python_lines
from varsim.whatif.recorded import Settings

ON_READ, ON_WRITE, ADAPTIVE = (
    VariableSynchronization.ON_READ,
    VariableSynchronization.ON_WRITE,
    VariableSynchronization.AUTO,
)
SUM, MEAN = VariableAggregation.SUM, VariableAggregation.MEAN

_LEAST_SAVED: Final = 0.1
"""Least share of a variable's messages that new settings must save."""

_MENDING: Final = tuple(
    Settings(synchronization, aggregation)
    for synchronization in (ON_WRITE, ON_READ)
    for aggregation in (MEAN, SUM)
)
"""Settings that may remove a finding."""


@dataclass(frozen=True, slots=True)
class Advice:
    """The advice for one variable."""

    effect: Effect  # of the chosen settings, which may be the current settings
    proof: str  # the reasons for these settings, in sentences
    saves: str
    risks: str
    mends: tuple[str, ...]  # findings that new settings remove; values then change on purpose

    @property
    def keeps(self) -> bool:
        """Return whether the settings do not change."""
        return self.effect.before == self.effect.after


@dataclass(frozen=True, slots=True)
class Advised:
    """The advice for all variables, and its total effect."""

    advice: tuple[Advice, ...]
    together: WhatIf
    experiment: dict[str, Any]  # the experiment keys for the choice
    program: tuple[str, ...]  # the program lines for the choice
    doubts: tuple[str, ...]


def advise(
    replays: Replays, *, only: Iterable[int] | None = None, careful: bool = False
) -> Advised:
    """Advise settings, and check them by a replay of all choices.

    Args:
        only: Variables whose settings may change; None for all.
        careful: Whether later steps may differ from the replayed steps. If so, no value may change,
            and a variable that replicas read must not become ON_READ, because replicas may have
            written equal values only by chance.
    """
    before = replays.program.settings()
    free = {number for number in before if only is None or number in set(only)}
    chosen, mended = _mended(replays, before, set() if careful else free)
    tried: dict[int, dict[Settings, Effect]] = {number: {} for number in before}
    for synchronization in (ON_READ, ON_WRITE, ADAPTIVE):
        changes = {
            number: Settings(synchronization, settings.aggregation)
            for number, settings in before.items()
            if number in free - chosen.keys()
            and _possible(synchronization, settings)
            and not (careful and synchronization is ON_READ and _is_read_inside(replays, number))
        }
        for effect in _effects(replays, changes):
            tried[effect.variable][effect.after] = effect
    for number in free - chosen.keys():
        best = _cheapest(tried[number])
        if best is not None:
            chosen[number] = best
    together = _together(replays, chosen, mended)
    return Advised(
        tuple(_advice(replays, one, tried[one.variable], mended) for one in together.effects),
        together,
        experiment_keys(replays.program, chosen),
        tuple(python_lines(replays.program, chosen)),
        replays.doubts,
    )


def _together(
    replays: Replays, chosen: dict[int, Settings], mended: Mapping[int, tuple[str, ...]]
) -> WhatIf:
    """Replay all choices together; revert the choices that change values in this replay."""
    while True:
        for number in at_odds(replays.program, chosen):
            del chosen[number]
        result = replays.under(chosen)
        wrong = {
            one.variable
            for one in result.effects
            if one.variable in chosen
            and (one.refusal is not None or not (one.variable in mended or one.harmless))
        }
        if result.failure:
            wrong = set(chosen)
        if not wrong:
            return result
        for number in wrong:
            del chosen[number]


def _possible(synchronization: VariableSynchronization, settings: Settings) -> bool:
    if synchronization is settings.synchronization:
        return False
    return settings.aggregation is not VariableAggregation.NONE


def _is_read_inside(replays: Replays, variable: int) -> bool:
    return any(read.process != PROGRAM for read in replays.reads_of(variable))


def _effects(replays: Replays, changes: Mapping[int, Settings]) -> list[Effect]:
    """Return the effects of new settings; an empty result if the program would stop."""
    if not changes:
        return []
    result = replays.under(changes)
    return [] if result.failure else [one for one in result.effects if one.variable in changes]


def _cheapest(tried: Mapping[Settings, Effect]) -> Settings | None:
    """Return the settings that save the most messages, if they change no value and save enough.

    If no read of a variable was recorded, it is unknown which values its readers need.
    """
    harmless = [one for one in tried.values() if one.reads and one.harmless and _is_worth_it(one)]
    return max(harmless, key=_saved).after if harmless else None


def _is_worth_it(effect: Effect) -> bool:
    return effect.cost_before.messages - effect.cost_after.messages > (
        _LEAST_SAVED * effect.cost_before.messages
    )


def _saved(effect: Effect) -> tuple[int, int]:
    before, after = effect.cost_before, effect.cost_after
    return before.messages - after.messages, before.size_bytes - after.size_bytes


# ---------------------------------------------------------------- findings to remove


def _mended(
    replays: Replays, before: Mapping[int, Settings], free: set[int]
) -> tuple[dict[int, Settings], dict[int, tuple[str, ...]]]:
    """For some variables, return settings that remove findings, and the findings' names."""
    troubled = _troubles(replays)
    chosen: dict[int, Settings] = {}
    order = {number: _nearest_first(before[number]) for number in troubled.keys() & free}
    for rank in range(len(_MENDING)):
        changes = {
            number: settings[rank]
            for number, settings in order.items()
            if number not in chosen and before[number] != settings[rank]
        }
        if not changes:
            continue
        result = replays.under(changes)
        left = {one.variable for one in result.findings if one.kind.mended_by_settings}
        for one in result.effects:
            fine = one.variable in changes and one.refusal is None and not result.failure
            if fine and one.name not in left:
                chosen[one.variable] = changes[one.variable]
    return chosen, {number: troubled[number] for number in chosen}


def _nearest_first(now: Settings) -> list[Settings]:
    """Return settings that may remove findings, the most similar to the current ones first."""
    return sorted(
        _MENDING,
        key=lambda one: (
            one.synchronization is not now.synchronization,
            one.aggregation is not now.aggregation,
        ),
    )


def _troubles(replays: Replays) -> dict[int, tuple[str, ...]]:
    found: dict[int, list[str]] = {}
    by_name = {row.name: number for number, row in replays.program.variables.items()}
    for one in replays.findings:
        if one.kind.mended_by_settings and one.variable in by_name:
            found.setdefault(by_name[one.variable], []).append(one.kind.name)
    return {number: tuple(kinds) for number, kinds in found.items()}


# ---------------------------------------------------------------- texts


def _advice(
    replays: Replays,
    effect: Effect,
    tried: Mapping[Settings, Effect],
    mended: Mapping[int, tuple[str, ...]],
) -> Advice:
    mends = mended.get(effect.variable, ())
    proof = f"{_uses(replays, effect)} {_reason(effect, tried, mends)}"
    if effect.before == effect.after:
        return Advice(effect, proof, "", "", ())
    return Advice(effect, proof, _saving(effect), _RISKS[effect.after.synchronization], mends)


def _uses(replays: Replays, effect: Effect) -> str:
    """Return the number, origin and locations of a variable's reads and writes, as text."""
    reads = replays.reads_of(effect.variable)
    who = [
        ("the program", [one for one in reads if one.process == PROGRAM]),
        ("replicas", [one for one in reads if one.process != PROGRAM]),
    ]
    said = [
        f"{name} {sum(one.times for one in own):,}× (mostly at {_location(own)})"
        for name, own in who
        if own
    ]
    writes = effect.cost_before.writes
    return (
        f"Written {writes:,}×; read by {' and by '.join(said)}."
        if said
        else (f"Written {writes:,}×; never read.")
    )


def _location(reads: Iterable[object]) -> str:
    ((location, _),) = Counter(one.location for one in reads).most_common(1)  # type: ignore[attr-defined]
    return str(location)


def _reason(effect: Effect, tried: Mapping[Settings, Effect], mends: tuple[str, ...]) -> str:
    if mends:
        return f"The new settings remove a finding: {', '.join(mends)}."
    if effect.before != effect.after:
        rounded = f" ({effect.rounded:,} of them up to rounding)" if effect.rounded else ""
        return f"Every read gives the same value in the replay{rounded}."
    if effect.cost_before.messages == 0:
        return "Its synchronisation costs nothing."
    cheaper = [one for one in tried.values() if _is_worth_it(one)]
    if not cheaper:
        return "No other setting is much cheaper."
    other = max(cheaper, key=_saved)
    name = in_words(other.after)
    if other.refusal is not None:
        return f"{name} would be cheaper, but refuses the operation at {other.refusal.location}."
    if not other.reads:
        return f"{name} would be cheaper, but no recorded read shows whether values would change."
    if other.first is None and not other.unknown:
        return f"{name} would be cheaper, but not with the choices for other variables."
    if other.first is None:
        return f"{name} would be cheaper, but {other.unknown:,} reads cannot be checked."
    return (
        f"{name} would be cheaper, but would change {other.changed:,} of {other.reads:,} reads, "
        f"first in step {other.first.step} at {other.first.location}."
    )


def _saving(effect: Effect) -> str:
    before, after = effect.cost_before, effect.cost_after
    if not before.messages:
        return f"nothing: it costs {after.messages:,} messages, instead of none"
    saved = before.messages - after.messages
    share = f"{saved / before.messages:.0%} of the messages" if saved > 0 else "no message"
    return (
        f"{share} ({before.messages:,} → {after.messages:,}), "
        f"{before.size_bytes:,} → {after.size_bytes:,} bytes"
    )


def in_words(settings: Settings) -> str:
    """Return settings as text; AUTO here means adaptive."""
    if settings.synchronization is ADAPTIVE:
        return f"AUTO (adaptive) with {settings.aggregation.name}"
    return f"{settings.synchronization.name} with {settings.aggregation.name}"


_RISKS: Final[dict[Synchronization, str]] = {
    ON_READ: "A read in strategy.run returns only the replica's own component. If a worker is "
    "lost, its writes since the last cross-replica read are lost, too.",
    ON_WRITE: "Every write waits for all replicas.",
    ADAPTIVE: "Values may differ by rounding, and a read waits for the exchange of deferred "
    "writes.",
}
