"""`varsim lens`: what a variable held on every replica, step by step."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from varsim.cli import completion
from varsim.cli.lazy import WrongUse

if TYPE_CHECKING:
    from rich.console import Console

    from varsim.analysis.lens import Moment


@click.command(short_help="Show what a variable held, step by step.")
@click.argument("run", shell_complete=completion.runs)
@click.argument("variable", shell_complete=completion.variables)
@click.option("--at", metavar="I,J,…", help="Which element of an array; by default its mean.")
@click.option("--all", "everything", is_flag=True, help="Every step, also of long runs.")
@click.option("--json", "as_json", is_flag=True, help="Print the values as JSON, and only that.")
def lens(*, run: str, variable: str, at: str | None, everything: bool, as_json: bool) -> None:
    """Show what VARIABLE held on every replica at the end of each step of RUN.

    RUN is a run's directory or its history.db, `latest`, or the beginning of its name. A step is a
    call of strategy.run; step 0 is the variable's creation. Beside the components stands what a
    read from outside gives and, of a run with --oracle, what a single device had.

    \b
    varsim lens latest weights
    varsim lens latest weights --at 0,3
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.analysis.lens import find_variable, moments
    from varsim.errors import ConfigError
    from varsim.experiments.found_runs import find_record
    from varsim.report.lens_steps import print_steps, title_of
    from varsim.report.page import print_page
    from varsim.tracing.history import open_history, open_oracle

    try:
        path = find_record(run)
        with open_history(path) as history, open_oracle(path) as oracle:
            row = find_variable(history, variable)
            shape = json.loads(row.shape)
            element = None if at is None else _element(at, shape, row.name)
            found = list(moments(history, row, oracle))
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    if not found:
        raise WrongUse(f"the record of this run does not have the creation of {row.name!r}")
    if as_json:
        click.echo(json.dumps([_plain(one) for one in found], indent=1))
        return
    title = title_of(row.name, f"({row.synchronization}, {row.aggregation})", shape, element)

    def show(console: Console) -> None:
        print_steps(console, title, found, element, everything=everything)

    print_page(show, sys.stdout)


def _element(text: str, shape: Sequence[int | None], name: str) -> int:
    """The place of an element in the flat value."""
    try:
        index = [int(part) for part in text.split(",")]
    except ValueError:
        raise WrongUse(f"--at {text!r}: give whole numbers, as in --at 0,3") from None
    fits = len(index) == len(shape) and all(
        size is not None and 0 <= one < size for one, size in zip(index, shape, strict=False)
    )
    if not fits:
        raise WrongUse(f"--at {text}: {name} has the shape {list(shape)}")
    place = 0
    for one, size in zip(index, shape, strict=True):
        assert size is not None, "it fits"
        place = place * size + one
    return place


def _plain(moment: Moment) -> dict[str, Any]:
    return {
        "step": moment.step,
        "time_s": moment.time_s,
        "components": [None if one is None else one.tolist() for one in moment.components],
        "value": None if moment.value is None else moment.value.tolist(),
        "oracle": None if moment.oracle is None else moment.oracle.tolist(),
        "parted": moment.parted,
        "unlike": moment.unlike,
    }
