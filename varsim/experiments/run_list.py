"""List the runs and sweeps in a folder, and describe one of them.

All comes from the files of each run, so runs can be copied, moved and removed by any program. For a
list, only `summary.json` is read of a run that has one, and not validated as a whole: that would
take most of the time.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from varsim.errors import ConfigError
from varsim.experiments import yaml_lines
from varsim.experiments.nested_keys import in_force, leaves
from varsim.experiments.room import StoredRun, bytes_in, bytes_of, stored_runs
from varsim.experiments.run_checkpoints import how_to_continue
from varsim.experiments.store import (
    EXPERIMENT,
    LOGS,
    SUMMARY,
    SWEEP,
    SWEEP_FILE,
    RunFiles,
    load_summary,
)
from varsim.experiments.sweep_folder import PointStatus, read_sweep
from varsim.experiments.text_files import MAX_JSON_BYTES, read_text
from varsim.report.run_rows import most_telling
from varsim.report.runs_page import ListedRun, RunDetails
from varsim.report.summary import Plain, RunStatus

RUNNING: Final = "running"
NO_SUMMARY: Final = "no summary"
STATUSES: Final = (*(one.value for one in RunStatus), RUNNING, NO_SUMMARY)
"""The words of `--status`."""

Points = tuple[tuple[str, dict[str, Plain]], ...]
"""The status and the settings of each point of a sweep."""

_STAMP: Final = re.compile(r"(\d{8}-\d{6})-")


def listed_runs(out: Path) -> list[ListedRun]:
    """Return the rows of the runs and sweeps in a folder, the newest first."""
    found = []
    for stored in stored_runs(out):
        with suppress(FileNotFoundError):  # another process has removed it
            found.append(listed(stored))
    return found


def listed(stored: StoredRun) -> ListedRun:
    """Return the row of a run or a sweep. A file that cannot be read is said in the status.

    Raises:
        FileNotFoundError: Another process has removed the run.
    """
    path = stored.path
    is_sweep = (path / SWEEP).is_file()
    points: Points = ()
    outcome: dict[str, Plain] = {}
    if is_sweep:
        status, points, started, keys = _of_sweep(path)
    else:
        status, started, keys, outcome = _of_run(path)
    return ListedRun(
        path=path,
        size_bytes=stored.size_bytes,
        tag=stored.tag,
        status=status,
        points=points,
        started=started or _stamp(path.name),
        experiment=keys,
        continues=_sweep_to_continue(path, points) if is_sweep else how_to_continue(path),
        is_sweep=is_sweep,
        outcome=outcome,
    )


def _of_run(path: Path) -> tuple[str, str, dict[str, Any], dict[str, Plain]]:
    """Return the status, the time of the start, the keys of the experiment, and the outcome."""
    if not (path / SUMMARY).is_file():
        with RunFiles(path).claimed() as ours:  # the process of a run locks its folder
            status = NO_SUMMARY if ours else RUNNING
        return status, "", _keys_in(path / EXPERIMENT), {}
    match _raw(path / SUMMARY):
        case {"status": str(status), "started": str(started), "experiment": dict(keys)} as summary:
            if status in STATUSES:
                return status, started, keys, _telling(summary)
    return "unreadable summary", "", {}, {}


def _telling(summary: Mapping[str, Any]) -> dict[str, Plain]:
    """Return the number that shows best how good a run is, with its name; {} without a number."""
    parts = [summary.get(key) for key in ("metrics", "result")]
    known = {
        name: value
        for part in parts
        if isinstance(part, dict)
        for name, value in part.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    name = most_telling(list(known))
    return {name: known[name]} if name else {}


def _raw(file: Path) -> Any:
    """Return the content of a JSON file; None if it cannot be read.

    The caller checks what it uses: to check all of a summary takes five times as long.
    """
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            return None
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _of_sweep(path: Path) -> tuple[str, Points, str, dict[str, Any]]:
    try:
        sweep = read_sweep(path).sweep
    except ConfigError:
        return "unreadable sweep", (), "", {}
    points = tuple((point.status.value, point.settings) for point in sweep.points)
    return sweep.state, points, sweep.started, _keys_in(path / SWEEP_FILE)


def _sweep_to_continue(path: Path, points: Points) -> str:
    """Return the line with the command that continues a sweep; "" if it has ended or runs."""
    if all(PointStatus(status).has_ended for status, _ in points):
        return ""
    with RunFiles(path).claimed() as ours:
        return f"continue {path.name} with: varsim sweep {path}" if ours else ""


def _keys_in(file: Path) -> dict[str, Any]:
    try:
        return yaml_lines.load(read_text(file, yaml_lines.MAX_BYTES), str(file)).values
    except (OSError, ConfigError):
        return {}


def _stamp(name: str) -> str:
    """Return the time with which the name of a run begins; "" if it does not."""
    found = _STAMP.match(name)
    if found is None:
        return ""
    try:
        return datetime.strptime(found[1], "%Y%m%d-%H%M%S").astimezone().isoformat()
    except ValueError:
        return ""


# ---------------------------------------------------------------- one run


def details(stored: StoredRun) -> RunDetails:
    """Return a run or a sweep with its configuration, its outcome and the sizes of its files."""
    run = listed(stored)
    entries = sorted(os.scandir(stored.path), key=lambda entry: entry.name)
    files = {
        entry.name + "/" * entry.is_dir(follow_symlinks=False): _size_of(entry)
        for entry in entries
        if not entry.name.startswith(".")
    }
    points = []
    if run.points:
        points = [
            (str(one.number), one.status.value, ", ".join(_pairs(one.settings)))
            for one in read_sweep(run.path).sweep.points
        ]
    return RunDetails(
        run=run,
        settings=settings_of(run),
        outcome=_outcome(run.path),
        files=files,
        points=points,
    )


def settings_of(run: ListedRun) -> dict[str, Plain]:
    """Return the settings by their names; those of a sweep are its own, without what varies."""
    return dict(leaves(run.experiment)) if run.is_sweep else in_force(run.experiment)


def _pairs(settings: Mapping[str, Plain]) -> list[str]:
    return [f"{key}={value}" for key, value in settings.items()]


def _size_of(entry: os.DirEntry[str]) -> int:
    if entry.is_dir(follow_symlinks=False):
        return bytes_in(Path(entry.path))
    return bytes_of(entry)


def _outcome(path: Path) -> dict[str, Plain]:
    try:
        summary = load_summary(path) if (path / SUMMARY).is_file() else None
    except ConfigError:
        summary = None
    if summary is None:
        return {}
    found: dict[str, Plain] = {}
    if summary.failure is not None:
        found["failure"] = f"{summary.failure.kind} ({summary.failure.location or LOGS})"
    if summary.verdict is not None:
        found["verdict"] = summary.verdict.outcome
    if summary.total_steps:
        found["steps"] = f"{summary.step:,} of {summary.total_steps:,}"
    metrics = {f"last {name}": value for name, value in summary.metrics.items()}
    return found | dict(leaves(summary.result)) | metrics
