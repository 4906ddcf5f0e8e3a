"""Show a run in the terminal while it goes on: a frame with its replicas above the bar."""

from __future__ import annotations

import os
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.style import Style

from varsim.cli.above_bar import BarBelow
from varsim.cli.output import say
from varsim.cli.progress import STARTING, Bar, Quiet, bar_of
from varsim.report.live_frame import RATE_S, LiveFrame, frame_lines, rate_text
from varsim.report.terminal import is_terminal, takes_escapes

if TYPE_CHECKING:
    from varsim.cli.results import Results
    from varsim.distribute.mirrored import MirroredStrategy
    from varsim.distribute.parameter_servers.strategy import ParameterServerStrategy
    from varsim.launch.watched_channel import WaitWatcher
    from varsim.report.summary import Plain, Summary


_CHARACTERS: Final = "–…µ≥"
"""The characters of frames that are not ASCII. As escapes, they would make lines too wide."""


def can_be_live() -> bool:
    """Return whether stderr can show frames; if it cannot, say so."""
    why = "stderr is not a terminal"
    if takes_escapes(sys.stderr):
        encoding = sys.stderr.encoding or "utf-8"
        if _encodes_frames(encoding):
            return True
        why = f"stderr's encoding, {encoding}, lacks the characters of the view"
    elif is_terminal(sys.stderr):
        why = "NO_COLOR is set" if os.environ.get("NO_COLOR") else "TERM says that it has no cursor"
    say(f"--live shows nothing here, because {why}; the plain progress follows", err=True)
    return False


def _encodes_frames(encoding: str) -> bool:
    try:
        _CHARACTERS.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


class LiveProgress(BarBelow):
    """A bar with a frame above it."""

    frame: LiveFrame | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the frame and the bar."""
        if self.frame is not None:
            yield _Drawn(self.frame)
        yield self.make_tasks_table(self.tasks)


class _Drawn:
    """A frame as rich prints it. Plain lines take a thirtieth of the time of a table."""

    def __init__(self, frame: LiveFrame) -> None:
        self._frame = frame

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for line in frame_lines(self._frame, options.max_width, console.height):
            for text, style in line:
                yield Segment(text, Style.parse(style))
            yield Segment.line()


class LiveBar(Bar):
    """A watcher that shows a frame above the bar while the program trains."""

    _progress: LiveProgress

    def __init__(
        self, progress: LiveProgress, title: str = STARTING, results: Results | None = None
    ) -> None:
        super().__init__(progress, title, results)
        self._trains = False
        self._steps: deque[tuple[float, int]] = deque()  # times, with the number of steps then

    def started(self, summary_so_far: Summary) -> None:
        """Set the bar's title, and show frames from now on."""
        super().started(summary_so_far)
        self._trains = True

    def progressed(self, step: int, total: int, metrics: dict[str, Plain]) -> None:
        """Draw a longer bar, and count the step."""
        now_s = time.monotonic()
        while len(self._steps) > 1 and self._steps[1][0] < now_s - RATE_S:
            self._steps.popleft()
        self._steps.append((now_s, step))
        super().progressed(step, total, metrics)

    def _step_rate(self) -> list[str]:
        """Return the steps per second, as a list for the first line of a frame."""
        if len(self._steps) < 2:
            return []
        (began_s, first), (ended_s, last) = self._steps[0], self._steps[-1]
        return [f"{rate_text((last - first) / max(1e-9, ended_s - began_s))} steps/s"]

    def follow(
        self, strategy: MirroredStrategy | ParameterServerStrategy, number: int
    ) -> WaitWatcher | None:
        """Follow the strategy."""
        from varsim.experiments.live_run import follow

        return follow(strategy, self.draw_frame, f"strategy {number}: " if number > 1 else "")

    def draw_frame(self, frame: LiveFrame) -> None:
        """Draw a frame, unless the terminal does not take it now: the run must not wait."""
        if not self._trains or not _has_room(self._stream):
            return
        place, *facts = frame.facts
        self._progress.frame = replace(frame, facts=[place, *self._step_rate(), *facts])
        try:
            self._progress.refresh()
        except OSError:  # the terminal is gone
            self._trains = False

    def begins(self, title: str) -> None:
        """Set another title, and remove the frame."""
        self._trains, self._progress.frame = False, None
        super().begins(title)

    def show(self, what: Callable[[Results], None]) -> None:
        """Show results above the bar, without the frame."""
        self._progress.frame = None
        sys.stdout.flush()  # the bar keeps what the program printed without a line feed
        super().show(what)

    def _draw(self, done: float, total: float, count: str, metrics: str, left: str) -> None:
        """Draw a longer bar; together with the next frame, if frames are shown."""
        if self._progress.frame is None:
            super()._draw(done, total, count, metrics, left)
        else:
            words = "  ".join(filter(None, (metrics, left)))
            self._progress.update(self._task, completed=done, total=total, count=count, words=words)


@contextmanager
def watching_live(results: Results) -> Iterator[Quiet]:
    """Yield a watcher that shows a run while it goes on, and its results."""
    with bar_of(LiveProgress) as progress:
        watcher = LiveBar(progress, results=results)
        yield watcher
        watcher.ended()


def _has_room(stream: TextIO) -> bool:
    """Return whether a terminal takes output now: after Ctrl-S, or over a slow line, it may not."""
    try:
        return bool(select.select([], [stream.fileno()], [], 0)[1])
    except (OSError, ValueError):  # a stream without a descriptor
        return True
