"""How all benchmarks measure: side by side in one run, with medians and spread."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "pyzmq", "msgpack")
LOAD_BEFORE = os.getloadavg()[0]
"""What else the machine did when the benchmark began: it is a load itself."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Some seconds, measured several times."""

    median: float
    low: float  # the quartiles; minimum and maximum of fewer than four
    high: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """What describes a series of measurements."""
        if len(seconds) < 4:
            return cls(statistics.median(seconds), min(seconds), max(seconds), len(seconds))
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, low, high, len(seconds))

    def __str__(self) -> str:
        return f"{in_units(self.median)} ({in_units(self.low)} – {in_units(self.high)})"


def in_units(seconds: float) -> str:
    """Seconds as people read them."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def timed(action: Callable[[], object]) -> float:
    """How many seconds an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def side_by_side(
    contenders: dict[str, Callable[[], float]], *, rounds: int, warm_up: int = 0
) -> dict[str, Spread]:
    """Lets every contender measure itself once per round, in turn.

    Whatever else the machine does then happens to all of them.

    Args:
        contenders: Each returns the seconds that it took.
        warm_up: Rounds before those that count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(warm_up + rounds):
        for name, contender in contenders.items():
            took = contender()
            if number >= warm_up:
                seconds[name].append(took)
    return {name: Spread.of(taken) for name, taken in seconds.items()}


Rows = list[dict[str, object]]


def show(title: str, rows: Rows) -> None:
    """Prints rows as a table; all have the keys of the first."""
    table = [list(rows[0]), *[[_shown(cell) for cell in row.values()] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    print(f"\n{title}")
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(f"  {'  '.join(cells)}".rstrip())


def _shown(cell: object) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


def keep(question: str, rows: Rows) -> None:
    """Appends a measurement to `results/`, with all that is needed to compare it with another."""
    RESULTS.mkdir(exist_ok=True)
    entry = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.system(),
        },
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "load_before": LOAD_BEFORE,
        "rows": [{name: _plain(cell) for name, cell in row.items()} for row in rows],
    }
    path = RESULTS / f"{question}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    print(f"\nkept in {path.relative_to(Path(__file__).parents[1])}")


def _plain(cell: object) -> object:
    if isinstance(cell, Spread):
        return [cell.median, cell.low, cell.high, cell.count]
    return cell


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=RESULTS.parent
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def arguments(doc: str, workers: Iterable[int]) -> argparse.Namespace:
    """What every benchmark can be asked."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument(
        "--workers", type=int, nargs="+", default=list(workers), help="numbers of workers"
    )
    parser.add_argument("--rounds", type=int, help="measurements of each; fewer if they are slow")
    parser.add_argument("--keep", action="store_true", help="append to benchmarks/results/")
    return parser.parse_args()
