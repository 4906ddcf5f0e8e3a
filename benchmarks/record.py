"""Print measurements as a table, and keep them as a line of JSON for later comparisons."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import Quartiles, Ratio

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "pyzmq", "msgpack")
LOAD_BEFORE = os.getloadavg()[0]
"""The load of the machine when the benchmark began. Later, the benchmark itself is a load."""

Rows = list[dict[str, object]]


def show(title: str, rows: Rows) -> None:
    """Print rows as a table. All rows have the keys of the first row."""
    table = [list(rows[0]), *[[_shown(cell) for cell in row.values()] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    print(f"\n{title}")
    for line in table:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(f"  {'  '.join(cells)}".rstrip(), flush=True)


def _shown(cell: object) -> str:
    if cell is None:
        return ""
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


def keep(question: str, rows: Rows, peers: Mapping[str, str] | None = None) -> None:
    """Append a measurement to `results/`, with all data that a comparison needs.

    Args:
        peers: The versions of the peers that took part.
    """
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
        "peers": dict(peers or {}),
        "load_before": LOAD_BEFORE,
        "rows": [{name: _plain(cell) for name, cell in row.items()} for row in rows],
    }
    path = RESULTS / f"{question}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    print(f"\nkept in {path.relative_to(ROOT)}")


def _plain(cell: object) -> object:
    match cell:
        case Quartiles():
            return [cell.median, cell.low, cell.high, cell.count]
        case Ratio(target=None):
            return cell.value
        case Ratio():
            return {"ratio": cell.value, "target": cell.target, "met": cell.met}
    return cell


def _commit() -> str:
    """Return the measured commit; new lines in `results/` do not count as changes."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", ".", f":!{RESULTS.relative_to(ROOT)}")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return said.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def question(doc: str | None, workers: Iterable[int]) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have; `doc` is its description."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--workers", type=int, nargs="+", default=list(workers), help="numbers of workers"
    )
    parser.add_argument("--rounds", type=int, help="turns of each contender")
    parser.add_argument("--keep", action="store_true", help="append to benchmarks/results/")
    return parser


Measured = tuple[Rows, Mapping[str, str]]
"""The rows of one number of workers, and the versions of the peers that took part."""


def answer(
    name: str,
    doc: str | None,
    measure: Callable[[int, int], Measured],
    title: str,
    *,
    workers: Iterable[int] = (4,),
    rounds: int,
) -> None:
    """Measure for each number of workers, print a table each, and keep all rows if asked.

    Args:
        name: The name of the file in `results/`.
        doc: The description of the command.
        measure: Measures, given a number of workers and the turns of each contender.
        title: The title of a table; "{workers}" stands for the number of workers.
        workers: The numbers of workers, if the command does not name them.
        rounds: The turns of each contender, if the command does not name them.
    """
    options = question(doc, workers).parse_args()
    rows: Rows = []
    versions: dict[str, str] = {}
    for count in options.workers:
        found, more = measure(count, options.rounds or rounds)
        show(title.format(workers=count), found)
        rows += found
        versions |= more
    if options.keep:
        keep(name, rows, versions)


def answer_by_work(
    name: str,
    doc: str | None,
    measure: Callable[[int, str, int], Rows],
    title: str,
    *,
    work: Iterable[str],
    rounds: int,
) -> None:
    """Measure each work for each number of workers, print one table, and keep it if asked.

    Args:
        name: The name of the file in `results/`.
        doc: The description of the command.
        measure: Measures, given a number of workers, a work and the turns of each contender.
        title: The title of the table.
        work: The works.
        rounds: The turns of each contender, if the command does not name them.
    """
    options = question(doc, (4,)).parse_args()
    rows: Rows = []
    for workers in options.workers:
        for one in work:
            rows += measure(workers, one, options.rounds or rounds)
            print(f"{workers} workers, {one}: measured", file=sys.stderr)
    show(title, rows)
    if options.keep:
        keep(name, rows)
