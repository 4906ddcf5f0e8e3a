"""Show the progress of a sweep on stderr: a bar on a terminal, and a line for each point."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

import click

from varsim.cli.output import complain, in_lines
from varsim.cli.progress import (
    BAR_EVERY_S,
    PHASE_TITLES,
    STARTING,
    Quiet,
    in_words,
    progress_bar,
    time_left,
)
from varsim.experiments.sweep_folder import PointStatus, SweepPoint
from varsim.experiments.sweep_plan import PlannedPoint, settings_text
from varsim.report.formatting import duration, visible
from varsim.report.summary import Phase, Plain, Summary
from varsim.report.terminal import takes_escapes

if TYPE_CHECKING:
    from rich.progress import Progress

_NO_BREAK: Final = "\N{NO-BREAK SPACE}"

ENDING: Final = "ending the sweep: another Ctrl-C skips the merge and the verdict of this point"


class SweepProgress:
    """A watcher of a sweep."""

    def __init__(
        self,
        to_run: Sequence[PlannedPoint],
        total: int,
        *,
        quiet: bool,
        progress: Progress | None = None,
    ) -> None:
        """Watch a sweep.

        Args:
            to_run: The points that have not ended.
            total: The number of all points.
            quiet: Whether to show only warnings and errors.
            progress: The bar on a terminal.
        """
        self.summaries: list[Summary] = []
        self._stream = sys.stderr  # `sys.stderr` changes while a program runs
        self._quiet, self._total, self._progress = quiet, total, progress
        self._warned: set[str] = set()
        self._left = _TimeLeft([point.processes for point in to_run])
        self._title = ""
        self._shown_s = 0.0
        self._task = (
            None if progress is None else progress.add_task("", total=1, count="", words="")
        )

    def begins(self, point: PlannedPoint) -> Quiet:
        """Show the point, and return a watcher of its run."""
        self._title = self._title_of(point)
        self.draw(STARTING, now=True)
        return _PointProgress(self)

    def ended(self, point: SweepPoint, summary: Summary | None) -> None:
        """Print a line about the point."""
        self._left.count()
        if summary is not None:
            self.summaries.append(summary)
        if point.status is PointStatus.FAILED:
            what, settings = point.error or "it failed", settings_text(point.settings)
            self.complain("Error", f"point {point.number} ({settings}) failed: {what}")
        elif not self._quiet:
            metrics = "" if summary is None else in_words(summary.metrics)
            took = "" if point.seconds is None else _times(point.seconds, summary)
            words = (point.status.value, took, _where(point), metrics, self._left.text())
            title = self._title_of(point)
            self.say("  ".join([title, *map(_kept_whole, filter(None, words))]))

    def _title_of(self, point: PlannedPoint | SweepPoint) -> str:
        return f"{point.number}/{self._total}  {settings_text(point.settings)}"

    def said(self, text: str) -> None:
        """Print a fact about the sweep."""
        if not self._quiet:
            self.say(text)

    def warned(self, text: str) -> None:
        """Print a warning, unless an earlier point has had the same one."""
        if text not in self._warned:
            self._warned.add(text)
            self.complain("warning", text)

    def complain(self, label: str, text: str) -> None:
        """Print an error or a warning, above the bar if there is one."""
        if self._progress is None:
            complain(label, text, self._stream)
        else:
            from rich.text import Text

            style = {"Error": "red", "warning": "yellow"}[label]
            console = self._progress.console
            console.print(Text(in_lines(f"{label}: {text}", console.width), style=style))

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        if self._progress is None:
            click.echo(visible(text.replace(_NO_BREAK, " ")), file=self._stream)
        else:
            from rich.text import Text

            console = self._progress.console
            console.print(Text(in_lines(text, console.width).replace(_NO_BREAK, " ")))

    def draw(self, words: str, *, now: bool = False) -> None:
        """Draw the bar, with words about the running point; at most every `BAR_EVERY_S`."""
        now_s = time.monotonic()
        if self._progress is None or self._task is None:
            return
        if now or now_s - self._shown_s >= BAR_EVERY_S:
            self._shown_s = now_s
            said = "  ".join(filter(None, (words, self._left.text())))
            self._progress.update(
                self._task, completed=self._left.done, description=self._title, words=said
            )
            self._progress.refresh()


def _times(whole_s: float, summary: Summary | None) -> str:
    """Return the time of a point, and the part of it that the comparison shows."""
    training_s = None if summary is None else summary.seconds.get(Phase.TRAINING.value)
    of_which = "" if training_s is None else f" (training {duration(training_s)})"
    return f"{duration(whole_s)}{of_which}"


def _where(point: SweepPoint) -> str:
    """Return the node of a point, and the time for which its place was kept beside the run."""
    if not point.node:
        return ""
    more = "" if point.overhead_s is None else f" (+{duration(point.overhead_s)})"
    return f"on {point.node}{more}"


def _kept_whole(words: str) -> str:
    """Return words separated by two blanks, such that no line breaks within one of them."""
    return "  ".join(part.replace(" ", _NO_BREAK) for part in words.split("  "))


class _PointProgress(Quiet):
    """A watcher of one run of a sweep."""

    def __init__(self, sweep: SweepProgress) -> None:
        super().__init__()
        self._sweep = sweep

    def progressed(self, step: int, total: int, metrics: dict[str, Plain]) -> None:  # noqa: ARG002  # no room
        """Show the step."""
        self._sweep.draw(f"step {step:,}/{total:,}")

    def turned_to(self, phase: Phase) -> None:
        """Show the phase."""
        self._sweep.draw(PHASE_TITLES[phase])

    def interrupted(self) -> None:
        """Say what Ctrl-C has ended, and what another Ctrl-C ends."""
        self._sweep.say(ENDING)

    def unfinished(self, text: str) -> None:
        """Print what could not be written or judged."""
        self._sweep.complain("Error", text)

    def warned(self, text: str) -> None:
        """Print a warning, once for all points."""
        self._sweep.warned(text)


class _TimeLeft:
    """An estimate of the remaining time: that of a point is proportional to its processes."""

    def __init__(self, weights: Sequence[int]) -> None:
        self._weights = weights
        self._counted = 0
        self._began_s = time.monotonic()
        self._end_s: float | None = None

    @property
    def done(self) -> float:
        """Return the finished fraction of the sweep, from 0 to 1."""
        return sum(self._weights[: self._counted]) / sum(self._weights)

    def count(self) -> None:
        """Count a point that has ended."""
        self._counted += 1
        now_s = time.monotonic()
        self._end_s = self._began_s + (now_s - self._began_s) / self.done

    def text(self) -> str:
        """Return the remaining time as text; "" if it is unknown or short."""
        return "" if self._end_s is None else time_left(self._end_s - time.monotonic())


@contextmanager
def watching_sweep(
    to_run: Sequence[PlannedPoint], total: int, *, quiet: bool
) -> Iterator[SweepProgress]:
    """Yield a watcher that shows the progress of a sweep."""
    with nullcontext() if quiet or not takes_escapes(sys.stderr) else progress_bar() as progress:
        yield SweepProgress(to_run, total, quiet=quiet, progress=progress)
