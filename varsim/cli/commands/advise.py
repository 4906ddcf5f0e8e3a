"""`varsim advise`: recommend settings for the variables of a run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from varsim.cli import completion
from varsim.cli.commands.whatif import plain_effect
from varsim.cli.exit_codes import WrongUse
from varsim.cli.output import say_json
from varsim.cli.record import find_records, open_record
from varsim.cli.shown_records import say_of_ending, say_of_others

if TYPE_CHECKING:
    from rich.console import Console

    from varsim.whatif.advice import Advised


@click.command(short_help="Recommend settings for a run's variables.")
@click.argument("run", default="runs/latest", shell_complete=completion.runs)
@click.option(
    "--all", "everything", is_flag=True, help="Show every variable; do not group similar ones."
)
@click.option("--json", "as_json", is_flag=True, help="Print the advice as JSON, and only that.")
def advise(*, run: str, everything: bool, as_json: bool) -> None:
    """Recommend a synchronization and an aggregation for the variables of RUN.

    Every recommendation is checked by a replay of the recorded reads and writes. A recommendation
    either saves messages and changes no value; or it fixes a finding of `varsim check`, and the
    output lists the values that change. If RUN has lost workers and started new ones, the advice is
    about the last start.

    \b
    varsim advise
    varsim advise 20260101
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.analysis.narrow_values import rounded_alike
    from varsim.cli.progress import REPLAYING, telling
    from varsim.errors import ConfigError
    from varsim.experiments import yaml_lines
    from varsim.report.page import print_page
    from varsim.whatif.advice import MOST_REPLAYS
    from varsim.whatif.advice import advise as advised_by
    from varsim.whatif.compare import Replays
    from varsim.whatif.text import print_advice

    try:
        records = find_records(run)
        shown = records.incarnations[-1]
        with open_record(shown.path) as (history, oracle), telling(REPLAYING) as tell:
            returned = () if shown.ending is None else shown.ending.returned
            returned = rounded_alike(returned, history, oracle)
            replays = Replays(history, oracle, tell, returned, expected=MOST_REPLAYS)
            failed = shown.ending is not None and shown.ending.failed
            advised = advised_by(replays, failed=failed)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    say_of_others(records, [shown], as_json=as_json)
    say_of_ending(shown, as_json=as_json)
    if as_json:
        say_json(_plain(advised), 1)
        return
    yaml = yaml_lines.dump(advised.experiment)

    def show(console: Console) -> None:
        print_advice(console, advised, yaml, everything=everything)

    print_page(show, sys.stdout)


def _plain(advised: Advised) -> dict[str, Any]:
    return {
        "advice": [
            {
                "keep": one.keeps,
                "proof": one.proof,
                "saves": one.saves or None,
                "costs": one.costs or None,
                "risks": one.risks or None,
                "mends": list(one.mends),
                **plain_effect(one.effect),
            }
            for one in advised.advice
        ],
        "experiment": advised.experiment,
        "doubts": list(advised.doubts),
        "differs": advised.differs or None,
    }
