"""`varsim whatif`: show what other settings would have changed in a run."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from varsim.cli import completion
from varsim.cli.exit_codes import WrongUse
from varsim.cli.output import say_json
from varsim.cli.record import find_records, open_record
from varsim.cli.shown_records import say_of_ending, say_of_others

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from varsim.spec import Synchronization
    from varsim.whatif.compare import Effect, Replays, WhatIf
    from varsim.whatif.recorded import Settings


@click.command(short_help="Replay a run under other settings.")
@click.argument("run", default="runs/latest", shell_complete=completion.runs)
@click.option(
    "--set",
    "changes",
    multiple=True,
    required=True,
    metavar="VARIABLE=MODE",
    help="MODE[/AGGREGATION], or /AGGREGATION, for a variable or a pattern. Repeatable.",
)
@click.option(
    "--all", "everything", is_flag=True, help="Show every variable; do not group similar ones."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, and only that.")
def whatif(*, run: str, changes: Sequence[str], everything: bool, as_json: bool) -> None:
    """Replay what RUN's replicas read and wrote, under other settings.

    The output shows which reads would return another value, which reads would be stale, which
    operations would be refused, and what the synchronisation would cost. The replay does not train
    again: it writes the values that the run wrote. If RUN has lost workers and started new ones,
    its last start is replayed. MODE is on_write, on_read, none, auto
    (on_write, as in TensorFlow), adaptive, or a policy such as local_sgd:8.

    \b
    varsim whatif latest --set loss=on_read
    varsim whatif latest --set 'moving_*=on_read/mean' --set steps=/only_first_replica
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.cli.progress import REPLAYING, telling
    from varsim.errors import ConfigError
    from varsim.report.page import print_page
    from varsim.whatif.compare import Replays
    from varsim.whatif.text import print_what_if

    try:
        records = find_records(run)
        shown = records.incarnations[-1]
        with open_record(shown.path) as (history, oracle):
            names = {number: str(row.name) for number, row in history.variables.items()}
            asked = [_parsed(text, names) for text in changes]
            with telling(REPLAYING) as tell:
                replays = Replays(history, oracle, tell, expected=2)
                settings, kept = _changed(replays, asked)
                result = replays.under(settings)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    say_of_others(records, [shown], as_json=as_json)
    say_of_ending(shown, as_json=as_json)
    doubts = [*replays.doubts, *kept]
    if as_json:
        say_json(_plain(result, doubts), 1)
        return

    def show(console: Console) -> None:
        print_what_if(console, result, list(settings), doubts, everything=everything)

    print_page(show, sys.stdout)


def _parsed(text: str, names: Mapping[int, str]) -> tuple[list[int], str, str]:
    """Return the numbers of the matching variables, the mode and the aggregation."""
    from varsim.experiments.mode_text import MODES
    from varsim.nearest import did_you_mean, listed, no_variable
    from varsim.spec import VariableAggregation
    from varsim.texts.modes import ADAPTIVE

    pattern, equals, words = text.rpartition("=")
    mode, _, aggregation = words.lower().strip().partition("/")
    if not equals or not pattern or not (mode or aggregation):
        raise WrongUse(f"--set {text}: expected VARIABLE=MODE, such as loss=on_read")
    if mode and mode not in (*MODES, ADAPTIVE):
        _check_mode(text, mode)
    ways = [one.name.lower() for one in VariableAggregation]
    if aggregation and aggregation not in ways:
        raise WrongUse(
            f"--set {text}: {aggregation!r} is not an aggregation"
            f"{did_you_mean(aggregation, ways)}\n"
            f"  aggregations: {listed(ways)}"
        )
    meant = [
        number
        for number, name in names.items()
        if name == pattern or fnmatchcase(name, pattern) or str(number) == pattern
    ]
    if not meant:
        raise WrongUse(f"--set {text}: {no_variable(pattern, names.values())}")
    return meant, mode, aggregation


def _check_mode(text: str, mode: str) -> None:
    from varsim.distribute.policies import POLICIES, parse_synchronization
    from varsim.errors import ConfigError
    from varsim.experiments.mode_text import no_mode

    if mode.partition(":")[0] not in POLICIES.names():
        raise WrongUse(f"--set {text}: {no_mode(mode)}")
    try:
        parse_synchronization(mode)
    except ConfigError as error:
        raise WrongUse(f"--set {text}: {error}") from None


def _changed(
    replays: Replays, asked: Sequence[tuple[Sequence[int], str, str]]
) -> tuple[dict[int, Settings], list[str]]:
    """Return the new settings, and a sentence on each variable that a replay cannot have with them.

    Raises:
        ConfigError: No new settings are left.
    """
    from varsim.errors import ConfigError
    from varsim.experiments.mode_text import MODES
    from varsim.spec import VariableAggregation, VariableSynchronization
    from varsim.texts.modes import ADAPTIVE
    from varsim.whatif.recorded import Settings

    modes = {
        **MODES,
        "auto": VariableSynchronization.ON_WRITE,  # AUTO becomes ON_WRITE
        ADAPTIVE: VariableSynchronization.AUTO,
    }
    settings = replays.program.settings()
    changed: dict[int, Settings] = {}
    refused: dict[str, str] = {}
    for meant, mode, aggregation in asked:
        for number in meant:
            if number in replays.program.left_out:
                continue
            now = changed.get(number, settings[number])
            changed[number] = Settings(
                _chosen(mode, modes) if mode else now.synchronization,
                VariableAggregation[aggregation.upper()] if aggregation else now.aggregation,
            )
    for number in [*changed]:
        if why := replays.why_not(number, changed[number]):
            refused[replays.program.variables[number].name] = why
            del changed[number]
    kept = [f"{name} keeps its settings: {why}." for name, why in refused.items()]
    if not changed:
        raise ConfigError("\n  ".join(["no setting can be replayed", *replays.left_out, *kept]))
    return changed, kept


def _chosen(mode: str, modes: Mapping[str, Synchronization]) -> Synchronization:
    from varsim.distribute.policies import parse_synchronization

    return modes[mode] if mode in modes else parse_synchronization(mode)


def _plain(result: WhatIf, doubts: Sequence[str]) -> dict[str, Any]:
    return {
        "variables": [plain_effect(effect) for effect in result.effects],
        "failure": result.failure or None,
        "warnings": list(result.warned),
        "doubts": list(doubts),
    }


def plain_effect(effect: Effect) -> dict[str, Any]:
    """Return the effect on a variable as JSON values."""
    first, refusal = effect.first, effect.refusal
    return {
        "name": effect.name,
        "before": _plain_settings(effect.before),
        "after": _plain_settings(effect.after),
        "reads": effect.reads,
        "changed": effect.changed,
        "rounded": effect.rounded,
        "unknown": effect.unknown,
        "first_change": None
        if first is None
        else {"location": first.location, "step": first.step, "process": first.process},
        "refused": None
        if refusal is None
        else {"location": refusal.location, "count": refusal.count, "text": refusal.text},
        "stale": {"before": effect.stale_before, "after": effect.stale_after},
        **{
            key: {
                "before": getattr(effect.cost_before, key),
                "after": getattr(effect.cost_after, key),
            }
            for key in ("merges", "messages", "size_bytes")
        },
    }


def _plain_settings(settings: Settings) -> dict[str, str]:
    return {
        "synchronization": settings.synchronization.name,
        "aggregation": settings.aggregation.name,
    }
