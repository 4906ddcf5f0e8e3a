"""Run the points of a sweep on the nodes of a Ray cluster, several at the same time.

Each point is a run on one node, as `run_experiment` does it here. Its folder comes home into the
folder of the sweep, so all commands find it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final

from varsim.errors import ConfigError, StartError
from varsim.experiments import point_process
from varsim.experiments.run_archive import unpacked
from varsim.experiments.sent_point import SentPoint
from varsim.experiments.store import load_summary
from varsim.experiments.sweep_folder import PointStatus, SweepFolder, SweepPoint
from varsim.experiments.sweep_plan import PlannedPoint
from varsim.experiments.sweep_points import SweepWatcher, ended_with, one_line
from varsim.experiments.sweep_spread import USER, Spread
from varsim.launch.remote.ray_pool import Again, Began, Ended, RayPool, Task
from varsim.report.formatting import duration
from varsim.report.summary import Summary
from varsim.texts.facts import times

_MODULE: Final = point_process.__name__


def run_spread(
    folder: SweepFolder, points: Sequence[PlannedPoint], spread: Spread, watcher: SweepWatcher
) -> None:
    """Run points on the nodes of a Ray cluster; `folder.sweep` has their states afterwards.

    Raises:
        ConfigError: Ray is not installed, or too old.
        StartError: The cluster cannot be used, or was lost. Points that ran are interrupted.
        KeyboardInterrupt: SIGINT has ended the sweep, and all points that ran.
        OSError: The state of the sweep cannot be saved.
    """
    if not points:
        return
    try:
        with RayPool(spread.settings, USER) as pool:
            nodes = ", ".join(pool.nodes)
            count = times(len(pool.nodes), "node")
            watcher.said(f"spread over {count} of Ray: {nodes}; ready in {duration(pool.start_s)}")
            _Spread(folder, points, pool, watcher).run()
    except StartError as error:
        raise StartError(f"{USER}: {error}") from None


class _Spread:
    """Points that run on nodes."""

    def __init__(
        self,
        folder: SweepFolder,
        points: Sequence[PlannedPoint],
        pool: RayPool,
        watcher: SweepWatcher,
    ) -> None:
        self._folder = folder
        self._pool = pool
        self._watcher = watcher
        self._waiting = {one.number: one for one in points}
        self._sent: dict[int, SentPoint] = {}

    def run(self) -> None:
        """Run all points."""
        try:
            for point in [*self._waiting.values()]:
                self._submit(point)
            while self._waiting:
                for event in self._pool.events():
                    self._take(event)
        finally:
            for number in self._waiting:
                self._partial(number).unlink(missing_ok=True)
                if self._point(number).status is PointStatus.RUNNING:
                    self._folder.note(number, status=PointStatus.INTERRUPTED)

    def _point(self, number: int) -> SweepPoint:
        return self._folder.sweep.points[number - 1]

    def _partial(self, number: int) -> Path:
        run = self._folder.run_folder(self._point(number))
        return run.with_name(f".{run.name}.tar")

    def _submit(self, planned: PlannedPoint) -> None:
        number = planned.number
        self._folder.note(
            number, status=PointStatus.WAITING, error="", seconds=None, node="", overhead_s=None
        )
        run = self._folder.make_room_for(self._point(number))
        self._partial(number).unlink(missing_ok=True)  # of a sweep that was killed
        sent = self._sent[number] = SentPoint(planned.experiment)
        self._pool.submit(
            Task(
                number,
                _MODULE,
                sent.text(run.name),
                len(planned.experiment.device_names),
                self._partial(number),
            )
        )

    def _take(self, event: Began | Again | Ended) -> None:
        number = event.number
        if isinstance(event, Ended):
            self._end(event)
        elif isinstance(event, Again):
            self._watcher.warned(f"point {number} runs again: {event.reason}")
            self._folder.note(number, status=PointStatus.WAITING, node="")
        else:
            self._folder.note(number, status=PointStatus.RUNNING, node=event.node)
            self._watcher.begins(self._waiting[number])

    def _end(self, event: Ended) -> None:
        """Bring a run home, and save the state of its point."""
        number = event.number
        point, summary = self._point(number), None
        took_s, overhead_s = None, None
        ended = replace(point, status=PointStatus.FAILED, error=_why(event, point.node))
        try:
            if event.result is not None:
                took_s = event.result["seconds"]
                overhead_s = event.waited_s + event.took_s - took_s
                if event.result["error"]:
                    ended = replace(ended, error=one_line(event.result["error"]))
                else:
                    summary = self._home(number, event.result["run"])
                    ended = ended_with(point, summary)
        except (ConfigError, OSError) as error:
            text = one_line(f"its files did not come home from node {point.node}: {error}")
            ended = replace(ended, error=text)
        with suppress(OSError):
            self._partial(number).unlink(missing_ok=True)
        planned = self._waiting.pop(number)
        kept = self._folder.note(
            number, status=ended.status, error=ended.error, seconds=took_s, overhead_s=overhead_s
        )
        if summary is not None:
            run = self._watcher.begins(planned)
            for text in summary.warnings:
                run.warned(text)
            for text in summary.unfinished:
                run.unfinished(text)
        self._watcher.ended(kept, summary)

    def _home(self, number: int, there: str) -> Summary:
        """Unpack a run that has come home, and return its summary."""
        run = self._folder.run_folder(self._point(number))
        if not run.exists():
            unpacked(self._partial(number), run.parent)
        self._sent[number].settle(run, there)
        return load_summary(run)


def _why(event: Ended, node: str) -> str:
    """Return why a point has no result, in one line: the end of its output is in the last one."""
    first, *others = (event.failed or f"node {node}: {event.reason}").splitlines()
    return one_line(f"{first} {others[-1].strip()}" if others else first)


def nodes_text(points: Sequence[SweepPoint]) -> str:
    """Return on which nodes points ran, and what their overhead was; "" if none was spread."""
    spread = [one for one in points if one.node and one.overhead_s is not None]
    if not spread:
        return ""
    counts: dict[str, int] = {}
    for one in spread:
        counts[one.node] = counts.get(one.node, 0) + 1
    nodes = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    overheads = [one.overhead_s for one in spread if one.overhead_s is not None]
    return (
        f"{times(len(spread), 'point')} on {times(len(counts), 'node')} of Ray: {nodes}. "
        f"Scheduling overhead per point: median {duration(median(overheads))}, "
        f"from {duration(min(overheads))} to {duration(max(overheads))}"
    )
