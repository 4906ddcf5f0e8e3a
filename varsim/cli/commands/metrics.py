"""`varsim metrics`: show the metrics that a program logged, or export them."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from varsim.cli import completion
from varsim.cli.exit_codes import WrongUse, only_one
from varsim.cli.output import complain, say

if TYPE_CHECKING:
    from varsim.experiments.metric_series import Series

_MOST_LISTED: Final = 10  # largest number of metrics that an error lists


@click.command(short_help="Show or export the metrics that a program logged.")
@click.argument(
    "run",
    metavar="[RUN|SWEEP]",
    default="runs/latest",
    shell_complete=completion.runs_and_sweeps,
)
@click.argument("names", nargs=-1, metavar="[METRIC]...")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a row for each step.")
@click.option("--jsonl", "as_jsonl", is_flag=True, help="Print a JSON object for each step.")
def metrics(run: str, names: tuple[str, ...], *, as_csv: bool, as_jsonl: bool) -> None:
    """Show the metrics that the program of RUN logged: first and last value, and the extremes.

    RUN is a run's directory, `latest`, or the beginning of a run's name; by default the last run.
    Of a SWEEP, each metric is a table with a row for each point. METRIC is the name of a metric; by
    default all are shown. With --csv or --jsonl, all values are printed. A program logs metrics by
    `job.log(loss=…)`, `varsim.log(loss=…)` or `job.progress(step, total, loss=…)`.

    \b
    varsim metrics
    varsim metrics latest loss --csv > loss.csv
    varsim metrics latest-sweep loss
    """  # noqa: D301  # \b keeps the lines below it apart
    from varsim.errors import ConfigError
    from varsim.experiments.run_lookup import find_run, named_sweep
    from varsim.experiments.store import RunFiles

    form = only_one(csv=as_csv, jsonl=as_jsonl)
    try:
        sweep = named_sweep(run)
        if sweep is not None:
            _show_sweep(sweep, names, form)
            return
        found = find_run(run)
        folder = RunFiles(found if found.is_dir() else found.parent).of_run().path
        _show_run(folder, names, form)
    except ConfigError as error:
        raise WrongUse(str(error)) from error


def _show_run(folder: Path, names: Sequence[str], form: str | None) -> None:
    """Print the metrics of a run.

    Raises:
        ConfigError: The file of the metrics cannot be read.
        WrongUse: There is no metric with one of the names.
    """
    from varsim.experiments.metric_series import METRICS, read_series, write_csv, write_jsonl
    from varsim.report.metrics_page import print_metrics

    series = read_series(folder)
    for problem in series.problems:
        complain("warning", problem)
    if not series and form is None:
        say(_nothing(folder, METRICS, series))
        return
    _check(names, list(series.metrics), str(folder))
    series = series.only(names) if names else series
    if form is not None:
        text = io.StringIO()
        (write_csv if form == "csv" else write_jsonl)(series, text)
        say(text.getvalue(), nl=False)
    else:
        print_metrics(list(series.metrics.values()), f"metrics of {folder}", sys.stdout)


def _show_sweep(path: Path, names: Sequence[str], form: str | None) -> None:
    """Print a table for each metric, with a row for each point of a sweep.

    Raises:
        ConfigError: A file of the sweep or of a point cannot be read.
        WrongUse: No point has a metric with one of the names, or all values are asked for.
    """
    from varsim.experiments.metric_series import read_series
    from varsim.experiments.sweep_folder import read_sweep
    from varsim.experiments.sweep_plan import settings_text
    from varsim.report.metrics_page import print_metrics

    if form is not None:
        raise WrongUse(f"--{form} takes one run: give a point of the sweep, as in {path}/1")
    folder = read_sweep(path)
    of_points = {}
    for point in folder.sweep.points:
        short = {key.rpartition(".")[2]: value for key, value in point.settings.items()}
        label = f"{point.number}  {settings_text(short)}"
        of_points[label] = read_series(folder.run_folder(point))
    for series in of_points.values():
        for problem in series.problems:
            complain("warning", problem)
    known = list(dict.fromkeys(name for series in of_points.values() for name in series.metrics))
    _check(names, known, str(path))
    for name in names or known:
        rows = [
            replace(series[name], name=label)
            for label, series in of_points.items()
            if name in series.metrics
        ]
        print_metrics(rows, f"{name} of {path}", sys.stdout, corner="point")
    for label in (one for one, series in of_points.items() if not series):
        say(f"no metrics: {label}")


def _check(names: Sequence[str], known: Sequence[str], where: str) -> None:
    """Refuse the name of a metric that was not logged.

    Raises:
        WrongUse: There is such a name; the text has the others.
    """
    from varsim.nearest import did_you_mean
    from varsim.report.formatting import names as listed

    for name in names:
        if name not in known:
            there = f"\n  there is: {listed(known, most=_MOST_LISTED)}" if known else ""
            near = did_you_mean(name, known)
            raise WrongUse(f"{where} has no metric {name!r}{near}{there}")


def _nothing(folder: Path, file: str, series: Series) -> str:
    if series.problems:
        return f"{folder}: no line of {file} can be read"
    return (
        f"{folder} has no {file}: its program logged no metrics. A program logs them by "
        "job.log(loss=…) or varsim.log(loss=…), outside strategy.run"
    )
