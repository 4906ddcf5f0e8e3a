"""How a run goes on: a bar on a terminal, a line now and then elsewhere. Always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from varsim.cli.output import complain
from varsim.report.summary import Plain, Summary
from varsim.report.terminal import is_terminal, takes_escapes
from varsim.report.words import number, visible

if TYPE_CHECKING:
    from rich.progress import Progress

BAR_EVERY_S: Final = 0.1  # as often as the eye follows
LINE_EVERY_S: Final = 2.0  # a log of an hour has not more lines than one reads


class Quiet:
    """Shows warnings only."""

    def __init__(self) -> None:
        self._stream = sys.stderr  # while a program runs, that is another

    def started(self, summary_so_far: Summary) -> None:
        """Nothing."""

    def progressed(self, step: int, total: int, metrics: dict[str, Plain]) -> None:
        """Nothing."""

    def ran(self) -> None:
        """Nothing."""

    def warned(self, text: str) -> None:
        """A paragraph."""
        complain("warning", text, self._stream)


class Lines(Quiet):
    """A line when enough time has passed, and the last one."""

    def __init__(self) -> None:
        super().__init__()
        self._shown_s = time.monotonic()

    def progressed(self, step: int, total: int, metrics: dict[str, Plain]) -> None:
        """A line, or nothing."""
        now_s = time.monotonic()
        if now_s - self._shown_s >= LINE_EVERY_S or step == total:
            self._shown_s = now_s
            said = f"step {step}/{total}  {_in_words(metrics)}".rstrip()
            click.echo(said, file=self._stream)


class Bar(Quiet):
    """A bar that is drawn again and again. No thread draws it: each step may."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._task = progress.add_task("starting workers", total=None, metrics="")
        self._shown_s = 0.0
        progress.refresh()

    def started(self, summary_so_far: Summary) -> None:
        """The bar's title."""
        title = f"{summary_so_far.experiment['name']} on {len(summary_so_far.devices)} workers"
        self._progress.update(self._task, description=title)

    def progressed(self, step: int, total: int, metrics: dict[str, Plain]) -> None:
        """A longer bar."""
        now_s = time.monotonic()
        if now_s - self._shown_s >= BAR_EVERY_S or step == total:
            self._shown_s = now_s
            words = _in_words(metrics)
            self._progress.update(self._task, completed=step, total=total, metrics=words)
            self._progress.refresh()

    def ran(self) -> None:
        """Another title: nobody knows how fast the oracle is."""
        self._progress.update(self._task, description="oracle on 1 worker", total=None)
        self._progress.refresh()

    def warned(self, text: str) -> None:
        """A paragraph above the bar."""
        from rich.text import Text

        self._progress.console.print(Text(f"warning: {text}", style="yellow"))


@contextmanager
def watching(*, quiet: bool) -> Iterator[Quiet]:
    """Who shows how a run goes on, while it does."""
    if quiet:
        yield Quiet()
    elif not takes_escapes(sys.stderr):
        yield Lines()
    else:
        with _bar() as progress:
            yield Bar(progress)


def _bar() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from varsim.report.page import page_on

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[metrics]}", markup=False),
        console=page_on(sys.stderr),
        auto_refresh=False,  # which would be done by a thread
        transient=True,
        expand=True,
        redirect_stdout=is_terminal(sys.stdout),  # what is printed appears above the bar
        redirect_stderr=True,
    )


def _in_words(metrics: dict[str, Plain]) -> str:
    return "  ".join(f"{visible(name)} {number(value)}" for name, value in metrics.items())
