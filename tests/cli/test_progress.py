"""The progress of a run, on a terminal and elsewhere."""

from __future__ import annotations

import io
import re
import sys
from unittest.mock import Mock

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from tests.report.summaries import summary
from tests.waiting import SetClock
from varsim.cli import progress, sweep_progress
from varsim.cli.progress import Bar, Lines, watching
from varsim.cli.sweep_progress import SweepProgress
from varsim.experiments.sweep_folder import PointStatus, SweepPoint
from varsim.experiments.sweep_plan import PlannedPoint
from varsim.report.summary import Plain


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    clock = SetClock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(sweep_progress, "time", clock)
    return clock


def test_progress_lines_are_printed_at_intervals_and_at_the_end(
    clock: SetClock, capsys: pytest.CaptureFixture[str]
):
    lines = Lines()
    for step in range(1, 11):
        clock.now_s += 0.5
        lines.progressed(step, 10, {"loss": 1 / step})

    assert (
        "step 4/10  loss 0.25  3 s left\nstep 8/10  loss 0.125  1 s left\nstep 10/10  loss 0.1\n"
        == capsys.readouterr().err
    )


def test_a_phase_with_a_line_ends_with_a_line(clock: SetClock, capsys: pytest.CaptureFixture[str]):
    """In a file, the last line must not say that the phase is unfinished."""
    lines = Lines()
    for title, waited_s in (("merging", 2.5), ("judging", 0.5)):
        lines.begins(title)
        clock.now_s += waited_s
        lines.done(0.25)
        lines.done(1.0)

    assert "merging: 25%  8 s left\nmerging: 100%\n" == capsys.readouterr().err


def test_a_bar_is_drawn_at_intervals_and_at_the_end(clock: SetClock):
    """The call at the end of a step draws the bar, because varsim has no thread that draws."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, highlight=False)
    columns = "{task.description}", "{task.fields[count]}", "{task.fields[words]}"
    with Progress(*map(TextColumn, columns), console=console, auto_refresh=False) as shown:
        bar = Bar(shown)
        bar.started(summary(workers=3))
        for step in range(1, 11):
            clock.now_s += 0.04
            bar.progressed(step, 10, {"loss": 1 / step})
        bar.warned("variable 'w[0]': careful\n  " + 12 * "indented ")
    text = file.getvalue()

    assert "starting workers" in text
    assert "x on 3 workers" in text
    assert [True, False, False, True, False, False, True, False, False, True] == [
        f"{step}/10" in text for step in range(1, 11)
    ]
    assert "variable 'w[0]': careful" in text
    assert f"  {8 * 'indented '}".rstrip() + "\n    indented indented" in _plain(text)


def test_a_line_about_a_point_breaks_between_its_parts(clock: SetClock):
    """On a terminal of 80 columns, a metric with its value goes to the next line as a whole."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, highlight=False)
    settings: dict[str, Plain] = {"workers": 2, "mode": "none", "params.batch_size": 32}
    plan = PlannedPoint(1, settings, Mock(), "1")
    with Progress(console=console, auto_refresh=False) as shown:
        watcher = SweepProgress([Mock(processes=1)] * 2, 2, quiet=False, progress=shown)
        watcher.begins(plan)
        clock.now_s += 13.0
        point = SweepPoint(number=1, settings=settings, status=PointStatus.DONE, run="1", seconds=1)
        watcher.ended(point, summary(metrics={"accuracy": 0.9666}))
    lines = [line.rstrip() for line in _plain(file.getvalue()).splitlines()]

    assert [
        "1/2  workers=2 mode=none params.batch_size=32  done  1.00 s (training 1.50 s)",
        "  accuracy 0.9666  13 s left",
    ] == [line for line in lines if "done" in line or line.startswith("  ")]


def _plain(text: str) -> str:
    """Return a terminal's text without escape sequences; each drawing of the bar has a line."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")


@pytest.mark.parametrize(
    ("quiet", "terminal", "kind"),
    [(True, True, "Quiet"), (False, False, "Lines"), (False, True, "Bar")],
)
def test_the_kind_of_progress_depends_on_the_stream(
    monkeypatch: pytest.MonkeyPatch, quiet: bool, terminal: bool, kind: str
):
    class Stderr(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    monkeypatch.setattr("sys.stderr", Stderr())
    with watching(quiet=quiet) as watcher:
        assert kind == type(watcher).__name__


def test_bytes_that_a_program_prints_appear_above_the_bar(monkeypatch: pytest.MonkeyPatch):
    """They have the place of text: where the last drawing of the bar has been erased."""

    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    raw = io.BytesIO()
    terminal = Terminal(raw, encoding="latin-1", errors="strict", write_through=True)
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with watching(quiet=False):
        print("as text")
        sys.stdout.buffer.write("as b\xfftes\n".encode("latin-1"))
        sys.stdout.buffer.flush()
        assert ("latin-1", "strict") == (sys.stdout.encoding, sys.stdout.errors)
    drawn = raw.getvalue().decode("latin-1")
    places = [drawn.partition(words)[0][-8:] for words in ("as text", "as b\xfftes")]

    assert sys.stdout is terminal
    assert places[0] == places[1] != ""


def test_repeated_warnings_are_counted(monkeypatch: pytest.MonkeyPatch):
    """The first warnings are shown. At the end, the number of the other warnings is shown."""
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    with watching(quiet=True) as watcher:
        watcher.warned("variable 'w0': careful")
        for number in range(1, 10):
            watcher.warned(f"variable 'w{number}': same warning as for 'w0'")

    assert [
        "warning: variable 'w0': careful",
        "warning: variable 'w1': same warning as for 'w0'",
        "warning: variable 'w2': same warning as for 'w0'",
        "warning: 7 more such warnings; summary.json has each warning",
    ] == stderr.getvalue().splitlines()


def test_the_name_of_a_metric_stays_on_its_line():
    assert r"a\nb 1  c 2" == progress.in_words({"a\nb": 1, "c": 2})
