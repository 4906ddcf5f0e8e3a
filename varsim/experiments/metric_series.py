"""The metric series of a run: the values that a program logged, step by step (metrics.jsonl).

Each line of the file is an object of JSON: `{"step": 17, "seconds": 1.25, "loss": 0.31}`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TextIO

from varsim.distribute.metrics import LAST_STEP, RESERVED, spelt
from varsim.errors import FileError
from varsim.report.formatting import csv_text
from varsim.shown_as_html import ShownAsHtml

METRICS: Final = "metrics.jsonl"
"""The file in a run's directory."""

_MAX_LINE: Final = 2**20  # characters; varsim writes a few hundred
_MAX_PROBLEMS: Final = 20  # a damaged file may have many
_NOT_FINITE: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": -float("inf")}
_REMEDY: Final = "The other files of the run are not affected: remove this one, or run again."


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a run: one value for each step at which it was logged, in order of steps."""

    name: str
    steps: tuple[int, ...]
    seconds: tuple[float, ...]  # since the beginning of the training
    values: tuple[float, ...]  # can be NaN or infinite

    @property
    def last(self) -> float:
        """Return the value of the last step."""
        return self.values[-1]


@dataclass(frozen=True, slots=True)
class Line:
    """The values of one step, as one line of the file has them."""

    step: int
    seconds: float
    values: Mapping[str, float]

    @property
    def text(self) -> str:
        """Return the line of the file, without the newline."""
        values = {name: spelt(value) for name, value in self.values.items()}
        return json.dumps({"step": self.step, "seconds": self.seconds} | values, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Series(ShownAsHtml):
    """All metrics that a run has logged.

    If a metric was logged several times at one step, the last value counts.

    Attributes:
        metrics: The metrics by their names, in the order in which they were first logged.
        lines: The values of each step, in order of steps.
        problems: What could not be read, as sentences.
    """

    metrics: Mapping[str, Metric]
    lines: tuple[Line, ...]
    problems: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Metric:
        return self.metrics[name]

    def __bool__(self) -> bool:
        return bool(self.metrics)

    def only(self, names: Sequence[str]) -> Series:
        """Return the series of some metrics; names that are not there are left out."""
        kept = [name for name in names if name in self.metrics]
        lines = (
            replace(line, values={one: line.values[one] for one in kept if one in line.values})
            for line in self.lines
        )
        metrics = {name: self.metrics[name] for name in kept}
        return Series(metrics, tuple(line for line in lines if line.values), self.problems)


def read_series(folder: Path) -> Series:
    """Return the metric series of a run; without metrics if the run has logged none.

    Args:
        folder: The directory of a run.
    Raises:
        FileError: The file cannot be read. Lines that cannot be read are only left out, and listed
            in `problems`.
    """
    return _series(*read_lines(folder))


def read_lines(folder: Path) -> tuple[list[Line], tuple[str, ...]]:
    """Return the lines of a run's file in the order in which they were written, and problems.

    Raises:
        FileError: The file cannot be read.
    """
    file = folder / METRICS
    problems: list[str] = []
    lines: list[Line] = []
    try:
        with file.open("rb") as stream:
            for number, text in enumerate(stream, start=1):
                try:
                    lines.append(_line(text))
                except ValueError as error:
                    problems.append(f"line {number} of {file} was left out: {error}")
    except FileNotFoundError:
        return [], ()
    except OSError as error:
        raise FileError(file, f"it cannot be read: {error.strerror}", _REMEDY) from None
    if len(problems) > _MAX_PROBLEMS:
        more = len(problems) - _MAX_PROBLEMS
        problems[_MAX_PROBLEMS:] = [f"{more:,} more lines of {file} were left out"]
    return lines, tuple(problems)


def _series(written: list[Line], problems: tuple[str, ...]) -> Series:
    """Combine lines with the same step, and divide them into metrics."""
    by_step: dict[int, Line] = {}
    names: dict[str, None] = {}
    for line in written:
        names |= dict.fromkeys(line.values)
        before = by_step.get(line.step)
        values = line.values if before is None else {**before.values, **line.values}
        by_step[line.step] = Line(line.step, line.seconds, values)
    lines = tuple(by_step[step] for step in sorted(by_step))
    metrics = {name: _metric(name, lines) for name in names}
    return Series(metrics, lines, problems)


def _metric(name: str, lines: tuple[Line, ...]) -> Metric:
    ours = [line for line in lines if name in line.values]
    return Metric(
        name,
        tuple(line.step for line in ours),
        tuple(line.seconds for line in ours),
        tuple(line.values[name] for line in ours),
    )


def _line(text: bytes) -> Line:
    """Return the values of a line.

    Raises:
        ValueError: It is not a line that varsim writes.
    """
    if not text.endswith(b"\n"):
        raise ValueError("it is incomplete, because the program was killed while it wrote it")
    if len(text) > _MAX_LINE:
        raise ValueError(f"it has more than {_MAX_LINE:,} bytes")
    try:
        line = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    step, seconds = (line.pop(key, None) for key in RESERVED) if isinstance(line, dict) else (0, 0)
    if not isinstance(line, dict) or type(step) is not int or type(seconds) not in (int, float):
        raise ValueError("it has no step and no seconds")
    if not (0 <= step <= LAST_STEP and abs(seconds) <= LAST_STEP):
        raise ValueError("its step or its seconds are impossible")
    return Line(step, float(seconds), {name: _value(name, one) for name, one in line.items()})


def _refuse(word: str) -> Any:
    raise ValueError(word)


def _value(name: str, value: Any) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if type(value) not in (int, float):
        raise ValueError(f"{name!r} is not a number")
    return float(value) if isinstance(value, float) or abs(value) >= 2**1023 else int(value)


def write_csv(series: Series, stream: TextIO) -> None:
    """Write a row for each step: step, seconds, and a column for each metric.

    A metric that was not logged at a step has an empty cell. Numbers that are not finite are
    `NaN`, `Infinity` and `-Infinity`.
    A name that a spreadsheet would take for a formula begins with an apostrophe.
    """
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(map(csv_text, [*RESERVED, *series.metrics]))
    for line in series.lines:
        cells = [spelt(line.values[name]) if name in line.values else "" for name in series.metrics]
        rows.writerow([line.step, line.seconds, *cells])


def write_jsonl(series: Series, stream: TextIO) -> None:
    """Write an object of JSON for each step, one per line, as in the run's own file."""
    stream.writelines(f"{line.text}\n" for line in series.lines)
