"""Try the settings that findings propose, in a replay, before they are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from shlex import quote
from typing import Final

from varsim.analysis.findings.model import Finding
from varsim.analysis.outcome import Note
from varsim.errors import ConfigError
from varsim.texts.facts import share, times
from varsim.tracing.history import History
from varsim.tracing.progress import Tell
from varsim.whatif.advice import in_words
from varsim.whatif.compare import Replays, WhatIf
from varsim.whatif.recorded import Settings

MOST_EVENTS: Final = 20_000
"""The longest record that is replayed for its findings, in events: a replay takes about 2 s."""

_MOST_APART: Final = 8
"""Largest number of proposals that are replayed one by one, if they do not work together."""

_UNTRIED: Final = "whether the proposed settings remove the findings"

_FOLLOWS: Final = "the finding follows from another one, which is to be corrected first"
_TOO_MANY: Final = f"only {_MOST_APART} proposals are tried one by one"
_NOT_SHOWN: Final = "a replay does not show the finding"

_Key = tuple[str, str]
"""A kind of finding and the name of its variable: replays number variables in their own way."""

_Proposal = tuple[int, Settings]
"""The number of a variable, and the settings that a finding proposes for it."""


def tried(
    history: History,
    oracle: History | None,
    findings: Sequence[Finding],
    tell: Tell | None = None,
) -> tuple[tuple[Finding, ...], tuple[Note, ...]]:
    """Return the findings with the results of their proposals, and notes on what was not tried.

    If a replay shows that a proposal does not remove its finding, or causes another one about
    values, the finding loses its lines to paste and says so. A proposal that is not tried has the
    reason, and the command that tries it.

    Args:
        oracle: The history of the same program on one replica, if there is one.
        tell: A function that gets the fraction that is done, from 0 to 1.
    """
    proposals = dict.fromkeys(
        (one.variable_id, Settings(*one.settings))
        for one in findings
        if one.settings is not None and one.variable_id is not None and one.cause is None
    )
    if not proposals:
        return tuple(_untried(one, _FOLLOWS) for one in findings), ()
    if history.last_event > MOST_EVENTS:
        why = f"a record with more than {times(MOST_EVENTS, 'event')} is not replayed for this"
        note = Note(text=f"{_UNTRIED}: {why}", option="`varsim advise`")
        return tuple(_untried(one, why) for one in findings), (note,)
    try:
        replays = Replays(history, oracle, tell, expected=2 + min(len(proposals), _MOST_APART))
        before = {_key(one) for one in replays.findings}
        results = _results(replays, list(proposals), before)
    except ConfigError as error:
        found = tuple(replace(one, untried=str(error)) for one in findings)
        return found, (Note(text=f"{_UNTRIED}: {error}"),)
    return tuple(_with_result(one, results, before) for one in findings), ()


def _results(
    replays: Replays, proposals: Sequence[_Proposal], before: set[_Key]
) -> dict[_Proposal, WhatIf]:
    """Return what a replay shows for each proposal.

    The first proposals for each variable are replayed together. If this does not work, they are
    replayed alone, as are further proposals for the same variables.
    """
    changes: dict[int, Settings] = {}
    for number, settings in proposals:
        changes.setdefault(number, settings)
    together = replays.under(changes)
    results: dict[_Proposal, WhatIf] = {}
    if len(changes) == 1 or not (together.failure or _new(together, before)):
        results = dict.fromkeys(changes.items(), together)
    alone = [one for one in proposals if one not in results][:_MOST_APART]
    return results | {one: replays.under(dict([one])) for one in alone}


def _with_result(
    finding: Finding, results: Mapping[_Proposal, WhatIf], before: set[_Key]
) -> Finding:
    """Return a finding with the result of its proposal, if a replay has the finding, too."""
    number = finding.variable_id
    if number is None or finding.settings is None:
        return finding
    settings = Settings(*finding.settings)
    result = results.get((number, settings))
    if result is None:
        return _untried(finding, _TOO_MANY if finding.cause is None else _FOLLOWS)
    if _key(finding) not in before:
        return _untried(finding, _NOT_SHOWN)
    if flaw := _flaw(finding, result, before):
        said = f"{in_words(settings)} is no remedy here: in a replay, {flaw}"
        return replace(finding, paste=(), settings=None, tried=said)
    said = f"in a replay with these settings, the finding is gone; {_values(result, number)}"
    return replace(finding, tried=said)


def _untried(finding: Finding, why: str) -> Finding:
    """Return a finding that says why its settings were not tried, and which command tries them."""
    if finding.settings is None:
        return finding
    synchronization, aggregation = finding.settings
    chosen = f"{finding.variable}={synchronization.name.lower()}/{aggregation.name.lower()}"
    return replace(finding, untried=f"{why}; `varsim whatif RUN --set {quote(chosen)}` tries it")


def _flaw(finding: Finding, result: WhatIf, before: set[_Key]) -> str:
    """Return why proposed settings are no remedy, as a clause; "" if they are one."""
    if result.failure:
        return f"the program would stop: {result.failure}"
    if any(_key(one) == _key(finding) for one in result.findings):
        return "the finding stays"
    new = _new(result, before)
    return f"there is another finding, {new[0].kind.name}: {new[0].variable}" if new else ""


def _values(result: WhatIf, number: int) -> str:
    """Return how many reads of a variable have other values, as a clause."""
    (effect,) = [one for one in result.effects if one.variable == number]
    unclear = f", and {effect.unknown:,} cannot be compared" if effect.unknown else ""
    if not effect.reads:
        return "no recorded read shows whether values change"
    changed = share(effect.changed, effect.reads, "read", ("has", "have"))
    return f"{changed} another value{unclear}"


def _new(result: WhatIf, before: set[_Key]) -> list[Finding]:
    """Return the findings about values that only the replay with other settings has."""
    return [one for one in result.findings if one.kind.about_values and _key(one) not in before]


def _key(finding: Finding) -> _Key:
    return finding.kind.name, finding.variable
