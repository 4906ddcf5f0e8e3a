"""Advise settings that save the most messages and change no value in a replay.

The settings of one variable do not affect other variables, because the replay writes the recorded
values. So one replay under ON_READ shows the effect on all variables, and one replay of all chosen
settings checks the choices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from varsim.report.formatting import names
from varsim.spec import Synchronization, VariableAggregation, VariableSynchronization
from varsim.sync import policies
from varsim.sync.statistics import OneSidedCounts
from varsim.texts.facts import times
from varsim.tracing.history import PROGRAM
from varsim.whatif.compare import Effect, Replays, WhatIf
from varsim.whatif.deferring import least_exchanges
from varsim.whatif.lines import at_odds, experiment_keys, python_lines
from varsim.whatif.mending import Mended, mended_variables, proposed_to_save
from varsim.whatif.recorded import Settings, settings_of, wrote_the_same

ON_READ, ON_WRITE, ADAPTIVE = (
    VariableSynchronization.ON_READ,
    VariableSynchronization.ON_WRITE,
    VariableSynchronization.AUTO,
)
SUM, MEAN, FIRST = (
    VariableAggregation.SUM,
    VariableAggregation.MEAN,
    VariableAggregation.ONLY_FIRST_REPLICA,
)

_LEAST_SAVED: Final = 0.1
"""Least fraction of a variable's messages that new settings must save."""


@dataclass(frozen=True, slots=True)
class Advice:
    """The advice for one variable."""

    effect: Effect  # the effect of the chosen settings, which may be the current settings
    proof: str  # the reasons for these settings, in sentences
    saves: str  # the messages that new settings save; "" if no message is saved
    costs: str  # the messages under new settings, if no message is saved; "" otherwise
    risks: str
    mends: tuple[str, ...]  # findings that new settings remove; values may change on purpose

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
    differs: str = ""
    """A sentence on wrong values that no setting mends, or ""."""

    failed: bool = False  # whether the run failed; then `advice` has only changes of settings


MOST_REPLAYS: Final = 6
"""Usual largest number of replays for advice: as recorded, with three synchronizations, with what
findings propose, and with all choices together."""


def advise(
    replays: Replays,
    *,
    only: Iterable[int] | None = None,
    careful: bool = False,
    may_join: bool = False,
    failed: bool = False,
) -> Advised:
    """Advise settings, and check them by a replay of all choices.

    Args:
        only: Variables whose settings may change; None for all.
        careful: Whether later steps may differ from the replayed steps. If true, no value may
            change, and a variable that replicas read must not become ON_READ, because replicas may
            have written equal values only by chance.
        may_join: Whether replicas may join in later steps. If true, no variable may become
            adaptive, because a call without some replicas is then refused. No variable may become
            ON_READ with MEAN, because this mean includes the components of joined replicas.
        failed: Whether the run failed. If true, no advice says to keep settings: the record does
            not show what the rest of the program needs.
    """
    before = replays.program.settings()
    asked = set(before if only is None else only)
    free = {number for number in before if number in asked and not _is_bound(replays, number)}
    mended = mended_variables(replays, before, set() if careful else free)
    chosen = {number: one.settings[0] for number, one in mended.items()}
    tried: dict[int, dict[Settings, Effect]] = {number: {} for number in before}
    useless = _useless_to_defer(replays)
    for synchronization in (ON_READ, ON_WRITE, ADAPTIVE):
        changes = {
            number: Settings(synchronization, settings.aggregation)
            for number, settings in before.items()
            if number in free - chosen.keys()
            and _possible(synchronization, settings)
            and not (synchronization is ADAPTIVE and number in useless)
            and not (careful and synchronization is ON_READ and _is_read_inside(replays, number))
            and not (may_join and _needs_everyone(synchronization, settings.aggregation))
        }
        for effect in _effects(replays, changes):
            tried[effect.variable][effect.after] = effect
    cheaper = {} if careful or may_join else proposed_to_save(replays, free - chosen.keys())
    for effect in _effects(replays, cheaper):
        tried[effect.variable][effect.after] = effect
    for number in free - chosen.keys():
        best = _cheapest(tried[number], cheaper.get(number))
        if best is not None:
            chosen[number] = best
    together = _together(replays, chosen, mended)
    every = (_advice(replays, one, tried[one.variable], mended) for one in together.effects)
    return Advised(
        tuple(one for one in every if not (failed and one.keeps)),
        together,
        experiment_keys(replays.program, chosen),
        tuple(python_lines(replays.program, chosen)),
        replays.doubts,
        _differs(replays, mended.keys() & chosen.keys()),
        failed,
    )


def _differs(replays: Replays, mended: Collection[int]) -> str:
    """Return a sentence on values that are wrong, or differ from a single device.

    It is "" if there are none, or if settings mend some.

    A replay does not repeat the training, so if the settings of one variable are wrong, it does not
    show which other values follow from it.
    """
    compared = replays.compared
    if mended:
        return ""
    differences = () if compared is None else compared.wrong
    if compared is None or not differences:
        left = [found[0].variable for found in replays.troubles.values()]
        if left:
            return (
                f"`varsim check` has findings about the values of {names(left)} that no setting is "
                "known to remove, and says what to do."
            )
        if compared is None or not compared.differs:
            return ""
        if compared.scaled_results:
            of = names([name for name, _ in compared.scaled_results])
            return (
                f"The compared variables are right, but {of}, which the program returned, is a "
                "multiple of the single device's value: `varsim check` says by which factor, and "
                "what to do."
            )
        return (
            "Results outside variables differ from a single device, and no setting is known to "
            "mend this: `varsim check` shows where."
        )
    count = sum(one.count for one in differences)
    of = names([one.variable for one in differences])
    return (
        f"{times(count, 'compared value')} of {of} {'differs' if count == 1 else 'differ'} from a "
        "single device, and no setting is known to mend this: `varsim check` shows where"
        f"{_rules(count, sum(one.explained for one in differences))}."
    )


def _rules(count: int, explained: int) -> str:
    """Return a clause on whether rules explain differing values.

    Args:
        explained: The number of these values that findings explain.
    """
    them = "it" if count == 1 else "them"
    if not explained:
        return f"; no rule explains {them}"
    some = "" if explained == count else f"{explained:,} of "
    return f", and the rule that explains {some}{them}"


def _is_bound(replays: Replays, number: int) -> bool:
    """Return whether the strategy has replaced the synchronization, as for central storage."""
    row = replays.program.variables[number]
    policy = policies.policy_of(settings_of(row).synchronization)
    return policy.has_one_copy and row.requested != row.synchronization


def _together(
    replays: Replays, chosen: dict[int, Settings], mended: Mapping[int, Mended]
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
            and (one.refusal is not None or not (one.variable in mended or _keeps_values(one)))
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


def _needs_everyone(synchronization: Synchronization, aggregation: VariableAggregation) -> bool:
    is_mean = aggregation is VariableAggregation.MEAN
    return synchronization is ADAPTIVE or (synchronization is ON_READ and is_mean)


def _useless_to_defer(replays: Replays) -> set[int]:
    """Return the variables for which adaptive AUTO would need about as many exchanges as merges.

    With ONLY_FIRST_REPLICA, an exchange and a merge can need different numbers of messages, so only
    a replay shows the cost.
    """
    settings = replays.program.settings()
    return {
        number
        for number, (merges, exchanges) in least_exchanges(replays.program).items()
        if merges - exchanges <= _LEAST_SAVED * merges
        and settings[number].synchronization is ON_WRITE
        and settings[number].aggregation is not FIRST
    }


def _is_read_inside(replays: Replays, variable: int) -> bool:
    return any(read.process != PROGRAM for read in replays.reads_of(variable))


def _effects(replays: Replays, changes: Mapping[int, Settings]) -> list[Effect]:
    """Return the effects of new settings; an empty result if the program would stop.

    The replay is not searched for findings: they do not count until all choices are made.
    """
    if not changes:
        return []
    result = replays.under(changes, searched=False)
    return [] if result.failure else [one for one in result.effects if one.variable in changes]


def _cheapest(tried: Mapping[Settings, Effect], proposed: Settings | None) -> Settings | None:
    """Return the settings that save the most messages, if they change no value and save enough.

    Args:
        proposed: The settings that a finding proposes: of equal ones, these are chosen.
    """
    harmless = [one for one in tried.values() if _keeps_values(one) and _is_worth_it(one)]
    order = sorted(harmless, key=lambda one: one.after != proposed)
    return max(order, key=_saved).after if order else None


def _keeps_values(effect: Effect) -> bool:
    """Return whether no read changes, according to the replay or to the rules of adaptive AUTO.

    If no read of a variable was recorded, the replay does not show which values its readers need.
    Adaptive AUTO gives the values of ON_WRITE to all readers, up to rounding.
    """
    if effect.reads and effect.harmless:
        return True
    wrong = effect.changed or effect.astray or effect.refusal is not None
    return _only_defers(effect) and not wrong


def _only_defers(effect: Effect) -> bool:
    """Return whether the change is from ON_WRITE to adaptive, with the same aggregation."""
    before, after = effect.before, effect.after
    return (before.synchronization, after) == (ON_WRITE, Settings(ADAPTIVE, before.aggregation))


def _is_worth_it(effect: Effect) -> bool:
    return effect.cost_before.messages - effect.cost_after.messages > (
        _LEAST_SAVED * effect.cost_before.messages
    )


def _saved(effect: Effect) -> tuple[int, int]:
    before, after = effect.cost_before, effect.cost_after
    return before.messages - after.messages, before.size_bytes - after.size_bytes


# ---------------------------------------------------------------- texts


def _advice(
    replays: Replays,
    effect: Effect,
    tried: Mapping[Settings, Effect],
    mended: Mapping[int, Mended],
) -> Advice:
    mends = mended.get(effect.variable)
    alike = _needs_equal_writes(replays, effect)
    is_bound = _is_bound(replays, effect.variable)
    reason = _BOUND if is_bound else _reason(effect, tried, mends, alike=alike)
    proof = f"{_uses(replays, effect)} {reason}{_left(replays, effect, mends)}"
    if effect.before == effect.after:
        if effect.variable in replays.separate:
            proof += (
                f" But {replays.separate[effect.variable]}: if they are to be one value, combine "
                "them, or choose ON_WRITE with an aggregation."
            )
        return Advice(effect, proof, "", "", "", ())
    difference = _difference(effect)
    saves, costs = (difference, "") if _saved(effect)[0] > 0 else ("", difference)
    findings = mends.findings if mends else ()
    risks = _RISKS[effect.after.synchronization]
    if alike:
        risks = f"{_IF_WRITES_SHOULD_DIFFER} {risks}"
    return Advice(effect, proof, saves, costs, risks, findings)


def _left(replays: Replays, effect: Effect, mends: Mended | None) -> str:
    """Return a sentence on findings about the values that no settings remove, or ""."""
    found = [] if mends else replays.troubles.get(effect.variable, [])
    kinds = ", ".join(dict.fromkeys(one.kind.name for one in found))
    return kinds and (
        f" But `varsim check` has a finding about its values that no setting is known to remove: "
        f"{kinds}. Do first what it says."
    )


_BOUND: Final = "Its strategy stores all variables centrally, whatever their synchronization."


def _needs_equal_writes(replays: Replays, effect: Effect) -> bool:
    """Return whether reads stay equal because all replicas wrote the same values.

    This can be so if ON_WRITE becomes ON_READ, because a replica then reads its own copy.
    """
    local = effect.before.synchronization is not ON_READ and (
        effect.after.synchronization is ON_READ
    )
    variable = effect.variable
    return (
        local
        and effect.harmless
        and _is_read_inside(replays, variable)
        and wrote_the_same(replays.program, variable)
    )


def _uses(replays: Replays, effect: Effect) -> str:
    """Return the number, origin and locations of a variable's reads and writes, as text."""
    reads = replays.reads_of(effect.variable)
    who = [
        ("the program", [one for one in reads if one.process == PROGRAM]),
        ("replicas", [one for one in reads if one.process != PROGRAM]),
    ]
    said = [
        f"{name} {sum(one.times for one in own):,}× ({_location(own)})" for name, own in who if own
    ]
    parts = [f"Written {effect.cost_before.writes:,}×"]
    if said:
        parts.append(f"read by {' and by '.join(said)}")
    if effect.cost_before.one_sided is not None:
        parts.append(_one_sided(effect.cost_before.one_sided))
    elif not said:
        parts.append("never read in this record")
    return f"{'; '.join(parts)}."


def _one_sided(counts: OneSidedCounts) -> str:
    """Return the numbers of one-sided operations, as text."""
    numbers = {
        "published": counts.publishes,
        "fetched": counts.fetches,
        "pushed": counts.pushes,
        "pulled": counts.pulls,
    }
    return ", ".join(f"{name} {one:,}×" for name, one in numbers.items() if one)


def _location(reads: Iterable[object]) -> str:
    """Return the location of most reads: "at p.py:9", or "mostly at p.py:9" if there are others."""
    locations = Counter(one.location for one in reads)  # type: ignore[attr-defined]
    ((location, _),) = locations.most_common(1)
    return f"{'mostly ' if len(locations) > 1 else ''}at {location}"


def _reason(
    effect: Effect, tried: Mapping[Settings, Effect], mends: Mended | None, *, alike: bool
) -> str:
    """Return why these settings are advised.

    Args:
        alike: Whether reads stay equal because all replicas wrote the same values.
    """
    if mends and effect.after == mends.settings[0]:
        others = " and ".join(in_words(one) for one in mends.settings[1:])
        return f"The new settings remove a finding: {', '.join(mends.findings)}." + (
            f" {others} would remove it, too: choose the aggregation whose value you need."
            if others
            else ""
        )
    if effect.before != effect.after:
        return _why_values_stay(effect, alike=alike)
    if effect.cost_before.messages == 0:
        return "Its synchronisation costs nothing."
    refused = [one for one in tried.values() if one.refusal is not None]
    cheaper = [one for one in tried.values() if one.refusal is None and _is_worth_it(one)]
    if not cheaper:
        return " ".join(["No other setting is much cheaper.", *map(_why_refused, refused)])
    other = max(cheaper, key=_saved)
    name = in_words(other.after)
    if other.first is not None:
        return (
            f"{name} would be cheaper, but would change {other.changed:,} of "
            f"{times(other.reads, 'read')}, first in step {other.first.step} at "
            f"{other.first.location}."
        )
    if not other.reads:
        return f"{name} would be cheaper, but no recorded read shows whether values would change."
    if other.unknown:
        return f"{name} would be cheaper, but {_unchecked(other)}."
    return f"{name} would be cheaper, but not with the choices for other variables."


def _why_values_stay(effect: Effect, *, alike: bool) -> str:
    rules = "By its rules, adaptive gives every read the value of ON_WRITE, up to rounding."
    if effect.unknown:
        return f"The replay has no proof: {_unchecked(effect)}. {rules}"
    if not effect.reads:
        return rules
    rounded = f" ({effect.rounded:,} of them up to rounding)" if effect.rounded else ""
    why = ", because all replicas wrote the same values in every step" if alike else ""
    return f"Every read gives the same value in the replay{rounded}{why}."


def _unchecked(effect: Effect) -> str:
    why = f", {effect.nan:,} of them because a NaN hides a difference" if effect.nan else ""
    return f"{times(effect.unknown, 'read')} cannot be checked{why}"


def _why_refused(effect: Effect) -> str:
    assert effect.refusal is not None, "only refused settings have a reason"
    return f"{in_words(effect.after)} refuses the operation at {effect.refusal.location}."


def _difference(effect: Effect) -> str:
    """Return the costs before and after the change, as text."""
    before, after = effect.cost_before, effect.cost_after
    saved = before.messages - after.messages
    if saved > 0:
        said = f"{saved / before.messages:.0%} of the messages"
    else:
        said = f"{times(-saved, 'message')} more" if saved else "as many messages as before"
    return (
        f"{said} ({before.messages:,} → {after.messages:,}), "
        f"{before.size_bytes:,} → {after.size_bytes:,} bytes"
    )


def in_words(settings: Settings) -> str:
    """Return settings as text; AUTO here means adaptive."""
    if settings.synchronization is ADAPTIVE:
        return f"AUTO (adaptive) with {settings.aggregation.name}"
    return f"{settings.synchronization.name} with {settings.aggregation.name}"


_IF_WRITES_SHOULD_DIFFER: Final = (
    "All replicas wrote the same values in every step: if they should get different data, this "
    "advice does not hold."
)

_RISKS: Final[dict[Synchronization, str]] = {
    ON_READ: "A read in strategy.run returns only the replica's own component. If a worker is "
    "lost, its writes since the last cross-replica read are lost, too.",
    ON_WRITE: "Every write waits for all replicas.",
    ADAPTIVE: "Values may differ by rounding, and a read waits for the exchange of deferred "
    "writes. If a worker is lost, the deferred writes of all replicas since the last exchange are "
    "lost, too.",
}
