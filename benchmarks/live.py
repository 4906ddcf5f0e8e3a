"""What does the live view cost (`varsim run --live`)?

The same work is done without the view and with it, in turns, each on its own workers. A turn takes
a second or more, so that it has several frames. The work is: epochs of the built-in job `digits`; a
step that writes 1,000 ON_WRITE MEAN scalars; and a step that writes one scalar. The last one is the
worst case: the program waits for messages thousands of times per second. Frames are drawn into a
file that discards them. Row *off, again* repeats the work without the view. The difference of its
ratio from 1 shows the uncertainty of all figures here.

*in the view* is the processor time of the view itself, around the program's waits, as a part of the
time. It is much more exact than the ratio of two turns. *waits/s* counts these waits: the view
examines up to 100 of them per second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import varsim as tf
from benchmarks.measure import Ratio, once_each
from benchmarks.ours import cluster, on_write_mean, step_of
from benchmarks.record import Rows, answer_by_work
from varsim.cli.live import LiveProgress
from varsim.distribute.supervision import supervised
from varsim.experiments.live_run import Followed, follow
from varsim.launch.link import Link
from varsim.launch.watched_channel import WatchedChannel
from varsim.report.live_frame import LiveFrame
from varsim.report.page import page_on
from varsim.workloads import digits

OFF, LIVE, AGAIN = "off", "live", "off, again"
TARGET = 0.02
ROUNDS = 12
TURN_S = 1.5

Strategy = tf.distribute.MirroredStrategy
Work = Callable[[int], None]
"""Does so many steps."""


class View:
    """The live view of one strategy, as the supervisor of a program that makes the strategy."""

    def __init__(self, stack: ExitStack, sink: TextIO) -> None:
        progress = LiveProgress(console=page_on(sink, 80), auto_refresh=False, transient=True)
        self._progress = stack.enter_context(progress)
        self._followed: Followed | None = None
        self.frames = self.waits = 0
        self.seconds = 0.0
        self._ended_s = 0.0  # the end of the last wait
        self._skipped_s = 0.0  # the time of the turns of others, in which no frame was due
        self.begins = False  # whether the next wait is the first one of a turn

    def choose(self, said: Any) -> Any:
        """Choose what the program says."""
        return said

    def launching(self, _strategy: Strategy, options: Any) -> Any:
        """Change no options."""
        return options

    def linked(self, strategy: Strategy, link: Link) -> Link:
        """Follow the strategy, as the supervisor of a run does."""
        self._followed = follow(strategy, self.draw)
        return replace(link, channel=WatchedChannel(link.channel, self))

    def made(self, *_: Any) -> None:
        """Do nothing."""

    launched = ending = going_on = closing = made

    def before(self, now_s: float) -> float:
        """Count a wait, and let the view handle it."""
        assert self._followed is not None
        if self.begins:
            self._skipped_s += now_s - self._ended_s
            self.begins = False
        began_s = time.thread_time()
        pause_s = self._followed.before(now_s - self._skipped_s)
        self.seconds += time.thread_time() - began_s
        self.waits += 1
        return pause_s

    def after(self, now_s: float) -> None:
        """Let the view handle the end of a wait."""
        assert self._followed is not None
        began_s = time.thread_time()
        self._followed.after(now_s - self._skipped_s)
        self.seconds += time.thread_time() - began_s
        self._ended_s = now_s

    def draw(self, frame: LiveFrame) -> None:
        """Draw a frame."""
        self.frames += 1
        self._progress.frame = frame
        self._progress.refresh()


def training(strategy: Strategy) -> Work:
    """Return work whose steps are epochs of the digits job."""
    job = tf.Job(strategy=strategy, seed=0, steps=None, progress=lambda *_, **__: None)

    def run(epochs: int) -> None:
        digits.run(job, epochs=epochs)

    return run


def writing(count: int) -> Callable[[Strategy], Work]:
    """Return work whose steps write `count` scalars."""

    def work(strategy: Strategy) -> Work:
        step = step_of(on_write_mean(strategy, count, ()))

        def run(steps: int) -> None:
            for _ in range(steps):
                strategy.run(step)

        return run

    return work


WORK = {"digits": training, "1,000 scalars": writing(1000), "one scalar": writing(1)}


def measure(workers: int, work: str, rounds: int) -> Rows:
    """Return a row for each contender."""
    with ExitStack() as stack:
        sink = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        view = View(stack, sink)
        turns = {}
        for name in (OFF, LIVE, AGAIN):
            with supervised(view if name == LIVE else None):
                strategy = stack.enter_context(cluster(workers))
            turns[name] = WORK[work](strategy)
            turns[name](1)
        steps = _steps_of_a_turn(turns[OFF])
        view.frames, view.waits, view.seconds = 0, 0, 0.0
        all_s = dict.fromkeys(turns, 0.0)
        spreads = once_each(
            {
                name: partial(_counted, turn, steps, all_s, name, view)
                for name, turn in turns.items()
            },
            rounds=rounds,
        )
    live_s = all_s[LIVE]
    return [
        {
            "workers": workers,
            "work": work,
            "view": name,
            "one turn": spread,
            "this / off": None if name == OFF else Ratio(spread.median / spreads[OFF].median),
            "in the view": Ratio(view.seconds / live_s, TARGET) if name == LIVE else None,
            "frames/s": view.frames / live_s if name == LIVE else None,
            "waits/s": view.waits / live_s if name == LIVE else None,
        }
        for name, spread in spreads.items()
    ]


def _seconds(turn: Work, steps: int) -> float:
    began_s = time.perf_counter()
    turn(steps)
    return time.perf_counter() - began_s


def _counted(turn: Work, steps: int, all_s: dict[str, float], name: str, view: View) -> float:
    view.begins = True
    took_s = _seconds(turn, steps)
    all_s[name] += took_s
    return took_s


def _steps_of_a_turn(turn: Work) -> int:
    """Return how many steps take `TURN_S`."""
    turn(1)  # it traces functions
    steps = 1
    while (took_s := _seconds(turn, steps)) < TURN_S / 2:
        steps *= 2
    return max(1, round(steps * TURN_S / took_s))


def main() -> None:
    """Measure, print, and keep the results if asked."""
    answer_by_work("live", __doc__, measure, "with the live view", work=WORK, rounds=ROUNDS)


if __name__ == "__main__":
    main()
