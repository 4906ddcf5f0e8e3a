"""Write the metric series of a run while its program logs, and continue those of another run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from varsim.disk import require_room
from varsim.distribute.metrics import RESERVED, number_or_none
from varsim.errors import FileError
from varsim.experiments.metric_series import METRICS, Line, read_lines
from varsim.private import private_opener
from varsim.texts import saving

_MICROSECONDS: Final = 6  # digits of `seconds` after the point


class MetricLog:
    """The file `metrics.jsonl` of a run that has not ended.

    A line is written by one call of the system, so the lines before a kill are whole. What a
    checkpoint keeps of the log is its number of lines (`lines`): a program that continues from a
    checkpoint repeats the later steps, so `keep` drops the lines of these steps.

    Args:
        folder: The run's directory.
        step: Returns the number of the step that runs.
        failed: Receives the sentence about a line that cannot be written. Then no more is written.
    """

    def __init__(
        self, folder: Path, step: Callable[[], int], failed: Callable[[Path, str], None]
    ) -> None:
        self._file = (folder / METRICS).absolute()  # a program may change the working directory
        self.step = step
        self._failed = failed
        self._descriptor: int | None = None
        self._ended = False
        self._began_s = time.perf_counter()
        self._offsets = [0]  # the size of the file after each number of lines

    @property
    def lines(self) -> int:
        """Return the number of lines."""
        return len(self._offsets) - 1

    def next_line(self) -> int:
        """Return the number of the next line, as the step of a program without steps."""
        return self.lines + 1

    def start_clock(self) -> None:
        """Let the seconds count from now, unless something was logged before."""
        if not self.lines:
            self._began_s = time.perf_counter()

    def log(self, step: int | None, values: Mapping[str, float]) -> None:
        """Write a line. If this fails, the program goes on, and the run reports it at its end."""
        if not values or self._ended:
            return
        seconds = round(time.perf_counter() - self._began_s, _MICROSECONDS)
        self._append(Line(self.step() if step is None else step, seconds, values))

    def log_numbers(self, step: int, reported: Mapping[str, Any]) -> None:
        """Write a line with those of the reported values that are numbers."""
        found = {
            name: number
            for name, value in reported.items()
            if name not in RESERVED and (number := number_or_none(value)) is not None
        }
        self.log(step, found)

    def _append(self, line: Line) -> None:
        try:
            require_room(self._file)
            if self._descriptor is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._descriptor = private_opener(self._file, flags)
            text = f"{line.text}\n".encode()
            if os.write(self._descriptor, text) < len(text):
                raise OSError(0, "only a part of a line was written")
        except OSError as error:
            self._ended = True
            self._truncate()
            self._failed(self._file, saving.metrics_not_written(str(self._file.parent), error))
        else:
            self._offsets.append(self._offsets[-1] + len(text))

    def _truncate(self) -> None:
        with suppress(OSError):
            if self._descriptor is not None:
                os.ftruncate(self._descriptor, self._offsets[-1])

    def keep(self, lines: int) -> None:
        """Drop all lines after the first `lines`, because the program repeats their steps."""
        if lines < self.lines:
            del self._offsets[lines + 1 :]
            self._truncate()

    def take_over(self, folder: Path, lines: int) -> str:
        """Begin with the first lines of another run, which this run continues.

        The seconds go on from the last of these lines.

        Returns:
            Why lines are missing, as a sentence; "" if none is missing.
        """
        if not lines:
            return ""
        try:
            found = read_lines(folder)[0][:lines]
        except FileError as error:
            return saving.METRICS_LEFT.format(run=folder.name, found=0, lines=lines, why=error)
        for line in found:
            self._append(line)
        if found:
            self._began_s = time.perf_counter() - found[-1].seconds
        if len(found) == lines:
            return ""
        return saving.METRICS_LEFT.format(
            run=folder.name, found=len(found), lines=lines, why=f"{METRICS} has no more"
        )

    def close(self) -> None:
        """Close the file. Later values are dropped."""
        self._ended = True
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
