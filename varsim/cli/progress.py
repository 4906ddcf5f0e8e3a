"""Show the progress of a run on stderr: a bar on a terminal, else a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, TypeVar

import click

from varsim.cli.output import complain, in_lines
from varsim.interrupts import Interrupts
from varsim.report.formatting import SAME_WARNING, number, on_one_line, visible
from varsim.report.summary import Failure, Phase, Plain, Summary
from varsim.report.terminal import is_terminal, takes_escapes
from varsim.tracing.progress import Tell

if TYPE_CHECKING:
    from rich.progress import Progress

    from varsim.cli.above_bar import BarBelow
    from varsim.cli.results import Results
    from varsim.distribute.mirrored import MirroredStrategy
    from varsim.distribute.parameter_servers.strategy import ParameterServerStrategy
    from varsim.launch.watched_channel import WaitWatcher

AnyProgress = TypeVar("AnyProgress", bound="BarBelow")

BAR_EVERY_S: Final = 0.1  # users cannot see faster changes
_MOST_REPEATED: Final = 2  # a warning is shown again for at most two further variables
LINE_EVERY_S: Final = 2.0  # more lines would make the log of a long run hard to read
_TOO_EARLY_S: Final = 1.0  # before this time an estimate is unreliable


PHASE_TITLES: Final[Mapping[Phase, str]] = {
    Phase.PILOT: "pilot run",
    Phase.MERGING: "merging the record",
    Phase.ORACLE: "oracle on 1 worker",
    Phase.JUDGING: "judging the record",
    Phase.WRITING: "writing the summary",
}
"""The titles of a run's phases, except the training."""

REPLAYING: Final = "replaying the record"
STARTING: Final = "starting workers"


class Quiet:
    """A watcher that shows only warnings and results."""

    def __init__(self, results: Results | None = None) -> None:
        self._results = results
        self._stream = sys.stderr  # `sys.stderr` changes while a program runs
        self._repeated = 0  # how many warnings repeated a warning about another variable

    def started(self, summary_so_far: Summary) -> None:
        """Ignore the start."""

    def follow(
        self, strategy: MirroredStrategy | ParameterServerStrategy, number: int
    ) -> WaitWatcher | None:
        """Follow no strategy."""

    def progressed(self, step: int, total: int, metrics: dict[str, Plain]) -> None:
        """Ignore the step."""

    def turned_to(self, phase: Phase) -> None:
        """Begin the phase, with its title."""
        self.begins(PHASE_TITLES[phase])

    def begins(self, title: str) -> None:
        """Ignore the title."""

    def done(self, fraction: float) -> None:
        """Ignore the fraction."""

    def warned(self, text: str) -> None:
        """Print a warning. If many warnings are repetitions, print only the first of them."""
        repeats = SAME_WARNING in text
        self._repeated += repeats
        if not repeats or self._repeated <= _MOST_REPEATED:
            self.warn(text)

    def failed(self, failure: Failure) -> None:
        """Show why the run failed."""
        self.show(lambda results: results.failed(failure))

    def interrupted(self) -> None:
        """Show that Ctrl-C has ended the program."""
        self.show(lambda results: results.interrupted())

    def measured(self, summaries: Sequence[Summary]) -> None:
        """Show the measurements."""
        self.show(lambda results: results.measured(summaries))

    def unfinished(self, text: str) -> None:
        """Show what could not be written or judged."""
        self.show(lambda results: results.unfinished(text))

    def finished(self, summaries: Sequence[Summary]) -> None:
        """Keep the final summaries."""
        self.show(lambda results: results.finished(summaries))

    def show(self, what: Callable[[Results], None]) -> None:
        """Call a method of the results."""
        if self._results is not None:
            what(self._results)

    def ended(self) -> None:
        """Print how many warnings were left out."""
        more = self._repeated - _MOST_REPEATED
        if more > 0:
            self.warn(f"{more:,} more such warnings; summary.json has each warning")

    def warn(self, text: str) -> None:
        """Print a warning."""
        complain("warning", text, self._stream)


class Lines(Quiet):
    """A watcher that prints a line every few seconds, and at the end of the training."""

    def __init__(self, results: Results | None = None) -> None:
        super().__init__(results)
        self._shown_s = time.monotonic()
        self._title = ""
        self._is_open = False  # whether the last line says that the phase is not finished
        self._clock = _Clock()

    def progressed(self, step: int, total: int, metrics: dict[str, Plain]) -> None:
        """Print a line, if it is time."""
        if self._is_time(last=step == total):
            left = self._clock.left(step, total)
            self._say(f"step {step}/{total}", in_words(metrics), left)

    def begins(self, title: str) -> None:
        """Keep the title for the next line, and restart the clock."""
        self._title, self._is_open = title, False
        self._clock = _Clock()

    def done(self, fraction: float) -> None:
        """Print a line, if it is time; at the end of a phase, if an earlier line is about it."""
        last = self._is_open and fraction >= 1
        if fraction and self._is_time(last=last):
            self._is_open = fraction < 1
            self._say(f"{self._title}: {fraction:.0%}", self._clock.left(fraction, 1))

    def _say(self, *words: str) -> None:
        click.echo(visible("  ".join(filter(None, words))), file=self._stream)

    def _is_time(self, *, last: bool = False) -> bool:
        now_s = time.monotonic()
        if now_s - self._shown_s < LINE_EVERY_S and not last:
            return False
        self._shown_s = now_s
        return True


class Bar(Quiet):
    """A watcher that draws a bar. It has no thread, so it redraws only at each report."""

    def __init__(
        self, progress: Progress, title: str = STARTING, results: Results | None = None
    ) -> None:
        super().__init__(results)
        self._progress = progress
        self._task = progress.add_task(title, total=None, count="", words="")
        self._shown_s = 0.0
        self._clock = _Clock()
        progress.refresh()

    def started(self, summary_so_far: Summary) -> None:
        """Set the bar's title."""
        workers = len(summary_so_far.devices)
        title = f"{summary_so_far.experiment['name']} on {workers} worker{'s' * (workers != 1)}"
        self.begins(title)

    def progressed(self, step: int, total: int, metrics: dict[str, Plain]) -> None:
        """Draw a longer bar."""
        words = f"{step:,}/{total:,}", in_words(metrics), self._clock.left(step, total)
        self._draw(step, total, *words)

    def done(self, fraction: float) -> None:
        """Draw a longer bar."""
        self._draw(fraction, 1.0, f"{fraction:.0%}", "", self._clock.left(fraction, 1))

    def warn(self, text: str) -> None:
        """Print a paragraph above the bar."""
        from rich.text import Text

        console = self._progress.console
        console.print(Text(in_lines(f"warning: {text}", console.width), style="yellow"))

    def show(self, what: Callable[[Results], None]) -> None:
        """Show results above the bar, which is hidden meanwhile."""
        self._progress.update(self._task, visible=False)
        self._progress.refresh()
        super().show(what)
        self._progress.update(self._task, visible=True)

    def begins(self, title: str) -> None:
        """Set another title, and empty the bar."""
        self._clock = _Clock()
        self._shown_s = 0.0
        self._progress.reset(self._task, total=None, description=title, count="", words="")
        self._progress.refresh()

    def _draw(self, done: float, total: float, count: str, metrics: str, left: str) -> None:
        now_s = time.monotonic()
        if now_s - self._shown_s >= BAR_EVERY_S or done == total:
            self._shown_s = now_s
            words = "  ".join(filter(None, (metrics, left)))
            self._progress.update(self._task, completed=done, total=total, count=count, words=words)
            self._progress.refresh()


class _Clock:
    """An estimate of the remaining time, from the time that has passed."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    def left(self, done: float, total: float) -> str:
        """Return the remaining time as text; "" if it is unknown or short."""
        passed_s = time.monotonic() - self._began_s
        if passed_s < _TOO_EARLY_S or not 0 < done < total:
            return ""
        return time_left(passed_s / done * (total - done))


def time_left(left_s: float) -> str:
    """Return a remaining time as text; "" if it is short."""
    if left_s < 1:
        return ""
    return f"{left_s:.0f} s left" if left_s < 100 else f"{left_s / 60:.0f} min left"


class Later(Quiet):
    """A watcher that shows only long phases after the training."""

    def __init__(self, stack: ExitStack, results: Results | None = None) -> None:
        super().__init__(results)
        self._stack = stack
        self._shown: Quiet | None = None
        self._title = ""
        self._began_s = time.monotonic()
        self._last = 0.0

    def begins(self, title: str) -> None:
        """Keep the title, and restart the clock."""
        self._title, self._began_s, self._last = title, time.monotonic(), 0.0
        if self._shown is not None:
            self._shown.begins(title)

    def done(self, fraction: float) -> None:
        """Show the fraction. A smaller fraction than the last one empties the bar."""
        waited_s = time.monotonic() - self._began_s
        if self._shown is None and fraction and waited_s >= _TOO_EARLY_S:
            watched = watching(quiet=False, title=self._title, results=self._results)
            self._shown = self._stack.enter_context(watched)
            self._shown.begins(self._title)
        if self._shown is not None:
            if fraction < self._last:
                self._shown.begins(self._title)
            self._shown.done(fraction)
        self._last = fraction

    def show(self, what: Callable[[Results], None]) -> None:
        """Show results, above the bar if there is one."""
        if self._shown is None:
            super().show(what)
        else:
            self._shown.show(what)

    def warn(self, text: str) -> None:
        """Print a warning, above the bar if there is one."""
        if self._shown is None:
            super().warn(text)
        else:
            self._shown.warn(text)


@contextmanager
def watching(
    *, quiet: bool, title: str = STARTING, results: Results | None = None
) -> Iterator[Quiet]:
    """Yield a watcher that shows the progress of a run, and its results."""
    with nullcontext() if quiet or not takes_escapes(sys.stderr) else progress_bar() as progress:
        if progress is not None:
            watcher: Quiet = Bar(progress, title, results)
        else:
            watcher = Quiet(results) if quiet else Lines(results)
        yield watcher
        watcher.ended()


@contextmanager
def watching_later(results: Results) -> Iterator[Quiet]:
    """Yield a watcher that shows the phases after a script, and nothing while the script runs."""
    with ExitStack() as stack:
        watcher = Later(stack, results)
        yield watcher
        watcher.ended()


@contextmanager
def telling(title: str) -> Iterator[Tell]:
    """Yield a function that shows the finished fraction of a long command.

    A call with a smaller fraction than the last one empties the bar.
    """
    with Interrupts(), ExitStack() as stack:
        watcher = Later(stack)
        watcher.begins(title)
        yield watcher.done


def progress_bar() -> Progress:
    """Return a bar on stderr, with columns for a count and for words; prints appear above it."""
    from varsim.cli.above_bar import BarBelow

    return bar_of(BarBelow)


def bar_of(kind: type[AnyProgress]) -> AnyProgress:
    """Return a bar of this class, as `progress_bar` does."""
    from rich.progress import BarColumn, TextColumn

    from varsim.report.page import page_on

    return kind(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[count]}", markup=False),
        TextColumn("{task.fields[words]}", markup=False),
        console=page_on(sys.stderr),
        auto_refresh=False,  # a refresh would need a thread
        transient=True,
        expand=True,
        redirect_stdout=is_terminal(sys.stdout),  # prints appear above the bar
        redirect_stderr=True,
    )


def in_words(metrics: dict[str, Plain]) -> str:
    """Return metrics in one line: "loss 0.3  accuracy 0.9"."""
    return "  ".join(f"{on_one_line(name)} {number(value)}" for name, value in metrics.items())
