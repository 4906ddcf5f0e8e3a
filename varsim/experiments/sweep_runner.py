"""Run the points of a sweep, and keep what each of them became.

Here, all points run one after the other in one process, so Python, varsim and the data are imported
once. `spread_sweep.py` runs them on the nodes of a Ray cluster. A point is a run like any other,
with its record and its verdict.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import varsim
from varsim.errors import ConfigError
from varsim.experiments import yaml_lines
from varsim.experiments.loading import load_experiment
from varsim.experiments.room import limit_bytes, room_after
from varsim.experiments.run_lookup import find_sweep, sweep_names
from varsim.experiments.runner import run_experiment
from varsim.experiments.spread_sweep import run_spread
from varsim.experiments.store import LATEST_SWEEP, SWEEP, SWEEP_FILE, RunDirectory
from varsim.experiments.sweep_folder import (
    PointStatus,
    Sweep,
    SweepFolder,
    SweepPoint,
    is_sweep,
    read_sweep,
)
from varsim.experiments.sweep_plan import PlannedPoint, SweepPlan, plan_sweep
from varsim.experiments.sweep_points import SweepWatcher, ended_with, one_line
from varsim.experiments.sweep_trust import check_trust, write_origin
from varsim.report.json_values import in_standard_json


def begin_sweep(plan: SweepPlan, started: datetime | None = None) -> SweepFolder:
    """Create the folder of a sweep in the experiment's `out`.

    Raises:
        ConfigError: The folder or its files cannot be written.
    """
    experiment, started = plan.experiment, started or datetime.now().astimezone()
    keys = plan.as_keys()
    points = [
        SweepPoint(
            number=point.number,
            settings=in_standard_json(point.settings),
            status=PointStatus.WAITING,
            run=point.folder,
        )
        for point in plan.points
    ]
    sweep = Sweep(
        name=experiment.title,
        varsim=varsim.__version__,
        started=started.isoformat(timespec="seconds"),
        program=plan.program,
        points=points,
    )
    with experiment.locations.located_errors():
        directory = RunDirectory.make(
            Path(experiment.out), f"{experiment.title}-sweep", started, latest=LATEST_SWEEP
        )
    folder = SweepFolder(directory, sweep)
    about = f"# Swept by varsim {varsim.__version__} on {started:%Y-%m-%d at %H:%M:%S}\n"
    text = about + yaml_lines.dump(keys)
    try:
        write_origin(directory, text)
        directory.write(SWEEP_FILE, text.removesuffix("\n"))
        folder.save()
    except OSError as error:
        directory.discard()
        raise ConfigError(f"the sweep cannot begin: its files cannot be written: {error}") from None
    return folder


def find_unfinished(word: str) -> Path | None:
    """Return the sweep that a word names; None if the word is not a path or `latest-sweep`.

    Raises:
        ConfigError: There is no sweep to be `latest-sweep`.
    """
    path = Path(word).expanduser()
    if path.name == SWEEP and path.is_file():
        return path.parent
    if is_sweep(path):
        return path
    if path.name == LATEST_SWEEP or any(name.startswith(word) for name in sweep_names()):
        return find_sweep(word)
    return None


def resume_sweep(
    path: Path, *, trust: bool = False, retry_failed: bool = False, spread: object = None
) -> tuple[SweepFolder, SweepPlan]:
    """Return an interrupted sweep and its plan.

    Args:
        trust: Whether to run the programs of a sweep that comes from another machine or user.
        retry_failed: Whether the points that have failed will run again; then the program may have
            changed.
        spread: Where the points run that are left, if not where the sweep began.
    Raises:
        ConfigError: The folder has no sweep; its programs are not trusted; or its experiment or its
            program has changed since the sweep began, so the points would not be comparable.
    """
    folder = read_sweep(path)
    folder.check_links()
    file = path / SWEEP_FILE

    def check(points: Sequence[PlannedPoint]) -> None:
        planned = [(in_standard_json(point.settings), point.folder) for point in points]
        if planned != [(point.settings, point.run) for point in folder.sweep.points]:
            raise ConfigError(
                f"{file} does not have the points of the sweep any more: restore it, or begin "
                f"another sweep with `varsim sweep {file}`"
            )
        if not trust:
            check_trust(path, points)

    plan = plan_sweep(
        lambda overrides: load_experiment(file, overrides, allow_paths=True),
        spread=spread,
        allow_paths=True,
        before_programs=check,
    )
    if plan.program != folder.sweep.program and not retry_failed:
        failed = folder.sweep.count(PointStatus.FAILED)
        again = ", run only what has failed again with --retry-failed" if failed else ""
        raise ConfigError(
            f"the program has changed since {path} began, so its points would not be comparable: "
            f"restore the program{again}, or begin another sweep with `varsim sweep {file}`"
        )
    return folder, plan


def run_sweep(
    folder: SweepFolder, plan: SweepPlan, watcher: SweepWatcher, *, retry_failed: bool = False
) -> None:
    """Run all points that have not ended; `folder.sweep` has their states afterwards.

    A point that fails is kept with its error, and the next one runs. SIGINT ends the running point,
    which is saved as far as it came, and then the sweep.

    Args:
        retry_failed: Whether to run the points again that have failed before.
    Raises:
        ConfigError: Another process runs this sweep.
        StartError: The points are spread, and the cluster cannot be used, or was lost.
        KeyboardInterrupt: SIGINT has ended the sweep.
        OSError: The state of the sweep cannot be saved.
    """
    limit_bytes()  # an invalid limit is an error before the first run
    with folder.files.claimed() as ours:
        if not ours:
            raise ConfigError(f"{folder.path} is running in another process")
        folder.read_again()
        if folder.sweep.program != plan.program:
            kept = folder.sweep.count(PointStatus.DONE)
            folder.change_program(plan.program)
            if kept:
                has = (
                    "1 point keeps its result" if kept == 1 else f"{kept} points keep their results"
                )
                watcher.warned(f"the program has changed: {has} of the earlier program")
        to_run = points_to_run(folder, plan, retry_failed=retry_failed)
        if plan.spread is not None:
            run_spread(folder, to_run, plan.spread, watcher)
        else:
            for planned in to_run:
                _run_point(folder, planned, watcher)
    said = room_after(folder.path)
    if said:
        watcher.warned(said)


def points_to_run(
    folder: SweepFolder, plan: SweepPlan, *, retry_failed: bool = False
) -> Sequence[PlannedPoint]:
    """Return the points that have not ended.

    Args:
        retry_failed: Whether to return those that have failed, too.
    """
    again = {PointStatus.FAILED} if retry_failed else set()
    points = zip(folder.sweep.points, plan.points, strict=True)
    return [
        planned for point, planned in points if not point.status.has_ended or point.status in again
    ]


def _run_point(folder: SweepFolder, planned: PlannedPoint, watcher: SweepWatcher) -> None:
    """Run a point, and save its state.

    Raises:
        KeyboardInterrupt: SIGINT has ended the point.
    """
    number, summary = planned.number, None
    point = folder.note(
        number, status=PointStatus.RUNNING, error="", seconds=None, node="", overhead_s=None
    )
    path = folder.make_room_for(point)
    began_s = time.perf_counter()
    ended = replace(point, status=PointStatus.INTERRUPTED)
    try:
        summary = run_experiment(planned.experiment, watcher.begins(planned), folder=path)
        ended = ended_with(point, summary)
    except (ConfigError, OSError) as error:
        ended = replace(point, status=PointStatus.FAILED, error=one_line(str(error)))
    finally:
        took_s = time.perf_counter() - began_s if ended.status.has_ended else None
        kept = folder.note(number, status=ended.status, error=ended.error, seconds=took_s)
    watcher.ended(kept, summary)
    if kept.status is PointStatus.INTERRUPTED:
        raise KeyboardInterrupt
