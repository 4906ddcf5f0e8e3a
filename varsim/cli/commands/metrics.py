"""`varsim metrics`: show the metrics that a program logged, or export them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from varsim.cli import completion
from varsim.cli.exit_codes import WrongUse, only_one
from varsim.cli.output import complain, say

if TYPE_CHECKING:
    from varsim.experiments.metric_series import Series


@click.command(short_help="Show or export the metrics that a program logged.")
@click.argument("run", default="runs/latest", shell_complete=completion.runs)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a row for each step.")
@click.option("--jsonl", "as_jsonl", is_flag=True, help="Print a JSON object for each step.")
def metrics(run: str, *, as_csv: bool, as_jsonl: bool) -> None:
    """Show the metrics that the program of RUN logged: first and last value, and the extremes.

    RUN is a run's directory, `latest`, or the beginning of a run's name; by default the last run.
    With --csv or --jsonl, all values are printed. A program logs metrics by `job.log(loss=…)`,
    `varsim.log(loss=…)` or `job.progress(step, total, loss=…)`.

    \b
    varsim metrics
    varsim metrics latest --csv > loss.csv
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError
    from varsim.experiments.metric_series import METRICS, read_series, write_csv, write_jsonl
    from varsim.experiments.run_lookup import find_run
    from varsim.experiments.store import RunFiles
    from varsim.report.metrics_page import print_metrics

    only_one(csv=as_csv, jsonl=as_jsonl)
    try:
        found = find_run(run)
        folder = RunFiles(found if found.is_dir() else found.parent).of_run().path
        series = read_series(folder)
    except ConfigError as error:
        raise WrongUse(str(error)) from error
    for problem in series.problems:
        complain("warning", problem)
    if as_csv or as_jsonl:
        text = io.StringIO()
        (write_csv if as_csv else write_jsonl)(series, text)
        say(text.getvalue(), nl=False)
    elif series:
        print_metrics(list(series.metrics.values()), f"metrics of {folder}", sys.stdout)
    else:
        say(_nothing(folder, METRICS, series))


def _nothing(folder: Path, file: str, series: Series) -> str:
    if series.problems:
        return f"{folder}: no line of {file} can be read"
    return (
        f"{folder} has no {file}: its program logged no metrics. A program logs them by "
        "job.log(loss=…) or varsim.log(loss=…), outside strategy.run"
    )
