"""What both ways to run a sweep share: who is told, and what became of a point."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Protocol

from varsim.experiments.active_run import RunWatcher
from varsim.experiments.sweep_folder import PointStatus, SweepPoint
from varsim.experiments.sweep_plan import PlannedPoint
from varsim.report.summary import RunStatus, Summary

_MAX_ERROR: Final = 200  # characters of a point's error; its summary has the whole text


class SweepWatcher(Protocol):
    """A receiver of the progress of a sweep."""

    def begins(self, point: PlannedPoint) -> RunWatcher:
        """Report that a point begins, and return the receiver of its run's progress."""

    def ended(self, point: SweepPoint, summary: Summary | None) -> None:
        """Report that a point has ended; there is no summary if its run could not begin."""

    def said(self, text: str) -> None:
        """Report a fact about the sweep."""

    def warned(self, text: str) -> None:
        """Report a warning about the sweep."""


def ended_with(point: SweepPoint, summary: Summary) -> SweepPoint:
    """Return a point whose run has ended."""
    if summary.interrupted:  # also in the merge or the verdict, after a complete training
        return replace(point, status=PointStatus.INTERRUPTED)
    if summary.failure is None and summary.status is RunStatus.DONE:
        return replace(point, status=PointStatus.DONE)
    failure = summary.failure
    said = "" if failure is None else f"{failure.kind}: {failure.text}"
    return replace(point, status=PointStatus.FAILED, error=one_line(said))


def one_line(text: str) -> str:
    """Return the first line of an error, for the table of points."""
    line, *others = text.strip().splitlines() or [""]
    if line.endswith(":") and others:  # what a worker has printed follows
        line = f"{line} {others[0].strip()}"
    return line if len(line) <= _MAX_ERROR else f"{line[: _MAX_ERROR - 1]}…"
