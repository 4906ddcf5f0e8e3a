"""The pages of `varsim runs`: the list of stored runs, and one run with its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from varsim.report.formatting import NOTHING, count, number, ranges, size, visible
from varsim.report.page import print_page
from varsim.report.summary import Plain
from varsim.report.tables import Column, narrowed, show_table


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """A run or a sweep in a folder."""

    path: Path
    size_bytes: int  # total size of its files
    tag: str  # "" if it has no tag
    status: str  # done, failed, interrupted, running, no summary, …; of a sweep: how many points
    points: tuple[tuple[str, dict[str, Plain]], ...] = ()
    """Of a sweep: the status of each point, and the settings that vary."""
    started: str  # local time, ISO 8601; "" if it is not known
    experiment: dict[str, Any] = field(default_factory=dict)  # keys; empty if they are not known
    continues: str = ""  # how to continue the run; "" if there is nothing to continue
    is_sweep: bool = False
    outcome: dict[str, Plain] = field(default_factory=dict)
    """The last value of the metric that shows best how good a run is; empty without a metric."""

    @property
    def workload(self) -> str:
        """Return the workload or the script; "" if it is not known."""
        return str(self.experiment.get("script") or self.experiment.get("workload") or "")

    @property
    def mode(self) -> str:
        """Return the mode; "auto" is the default. "" if it is not known, or differs in a sweep."""
        default = "auto" if self.experiment and not self.is_sweep else ""
        return str(self.experiment.get("mode") or default)

    def as_json(self) -> dict[str, Any]:
        """Return the row as an object of JSON."""
        return {
            "run": str(self.path),
            "status": self.status,
            "size_bytes": self.size_bytes,
            "tag": self.tag,
            "continue": self.continues,
            "started": self.started,
            "workload": self.workload,
            "mode": self.mode,
            "is_sweep": self.is_sweep,
            "outcome": self.outcome,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetails:
    """One run or sweep, with its configuration, its outcome and its files."""

    run: ListedRun
    settings: dict[str, Plain]  # the keys of the experiment, with dots for nested keys
    outcome: dict[str, Plain]  # failure, verdict, results and the last value of each metric
    files: dict[str, int]  # file or folder → bytes
    points: list[tuple[str, str, str]] = field(default_factory=list)  # name, status, settings

    def as_json(self) -> dict[str, Any]:
        """Return the details as an object of JSON."""
        names = ("point", "status", "settings")
        return {
            **self.run.as_json(),
            "experiment": self.run.experiment,
            "outcome": self.outcome,
            "files": self.files,
            "points": [dict(zip(names, point, strict=True)) for point in self.points],
        }


def print_runs(
    listed: Sequence[ListedRun],
    folder: Path,
    whole: int,
    file: TextIO,
    matching: Mapping[Path, Sequence[int]],
) -> None:
    """Print a row for each run.

    Args:
        whole: The number of runs in the folder; more than are listed if there are filters.
        matching: The sweeps of which only some points fulfil the filters, with these points.
    """
    total = size(sum(one.size_bytes for one in listed))
    of = "" if len(listed) == whole else f" of {count(whole)}"
    plural = "s" * ((len(listed) if not of else whole) != 1)
    title = f"{folder}/: {count(len(listed))}{of} run{plural}, {total}"

    def show(console: Console) -> None:
        columns = [
            Column("status", [one.status for one in listed], right=False),
            Column("mode", [one.mode for one in listed], right=False),
            *_outcomes(listed),
            Column("size", [size(one.size_bytes) for one in listed]),
            Column("tag", [one.tag for one in listed], right=False),
        ]
        show_table(console, title, [one.path.name for one in listed], columns, corner="run")
        for one in listed:
            if points := matching.get(one.path):
                said = f"in {one.path.name}: {'point' if len(points) == 1 else 'points'}"
                console.print(Text(f"{said} {', '.join(ranges(points))}"), soft_wrap=True)
        for one in listed:
            if one.continues:
                console.print(Text(one.continues), soft_wrap=True)

    if listed:
        print_page(show, file)
    else:
        print_page(lambda console: console.print(Text(title), soft_wrap=True), file)


def _outcomes(listed: Sequence[ListedRun]) -> list[Column]:
    """Return a column with the metric of each run; [] if no run has one."""
    known = {name for one in listed for name in one.outcome}
    if len(known) == 1:
        (name,) = known
        cells = [number(one.outcome[name]) if one.outcome else "" for one in listed]
        return [Column(narrowed(visible(name), cells), cells)]
    cells = [
        ", ".join(f"{visible(name)} {number(value)}" for name, value in one.outcome.items())
        for one in listed
    ]
    return [Column("outcome", cells, right=False)] if any(cells) else []


def print_run(details: RunDetails, file: TextIO) -> None:
    """Print one run: its outcome, its configuration and its files."""
    run = details.run

    def show(console: Console) -> None:
        tag = f", tag {run.tag}" if run.tag else ""
        begun = f", started {run.started}" if run.started else ""
        console.print(Text(f"{run.path}: {run.status}{begun}{tag}\n"), soft_wrap=True)
        _show(console, "outcome", {name: number(one) for name, one in details.outcome.items()})
        if details.points:
            names, statuses, settings = zip(*details.points, strict=True)
            columns = [
                Column("status", statuses, right=False),
                Column("settings", settings, right=False),
            ]
            show_table(console, "points", names, columns, corner="point")
        _show(
            console, "configuration", {name: _said(one) for name, one in details.settings.items()}
        )
        _show(console, "files", {name: size(one) for name, one in details.files.items()}, "size")
        if run.continues:
            console.print(Text(run.continues), soft_wrap=True)

    print_page(show, file)


def _said(value: Plain) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and value:
        return ", ".join(map(_said, value))
    return str(value) if value not in ("", None) else NOTHING


def _show(console: Console, title: str, values: dict[str, str], heading: str = "value") -> None:
    if values:
        column = Column(heading, list(values.values()), right=False)
        show_table(console, title, list(values), [column])
