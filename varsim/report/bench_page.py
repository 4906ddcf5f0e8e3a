"""Print the report of a measured host: a table for each quantity, and sentences on the figures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TextIO

from rich.console import Console
from rich.text import Text

from varsim.report.bench import Bench, Machine, Quantity, Spread
from varsim.report.formatting import NOTHING, duration, size, whole_size
from varsim.report.page import print_page
from varsim.report.run_page import typed
from varsim.report.summary import RunStatus
from varsim.report.tables import Column, show_table

_BY_WORKERS: Final = {
    Quantity.STAR: "bare star, ZeroMQ alone: each process receives the bytes and sends as many",
    Quantity.STEP: "a step: every replica writes one ON_WRITE variable (MEAN)",
    Quantity.READ_CHANGED: "a cross-replica read (ON_READ, SUM) after a write on all replicas",
    Quantity.READ_UNCHANGED: "the same read again, without a write in between",
}
_LEGEND: Final = "Figures are medians ± half the interquartile range."
_STEP_IN_STARS: Final = "time of a step ÷ time of the bare star with the same bytes"
_ALONE: Final = {
    Quantity.COPY: "copy of memory",
    Quantity.LOCAL_READ: "ON_READ read",
    Quantity.LOCAL_WRITE: "ON_READ write",
}
_MACHINE_WIDTH: Final = 36  # columns for the processor's name, which begins with the model


def print_bench(bench: Bench, file: TextIO, width: int | None = None) -> None:
    """Print a host, its figures, their meaning, and the path of the saved file."""
    print_page(lambda console: _print_to(console, bench), file, width)


def print_comparison(bench: Bench, other: Bench, file: TextIO, width: int | None = None) -> None:
    """Print the medians of `bench` divided by the medians of `other`."""
    print_page(lambda console: _compare(console, bench, other), file, width)


def _print_to(console: Console, bench: Bench) -> None:
    console.print(Text(_headline(bench), style="bold"))
    for line in (_machine(bench.machine), _versions(bench.versions), _LEGEND):
        console.print(Text(line, style="dim"))
    console.print()
    _print_alone(console, bench)
    for quantity, title in _BY_WORKERS.items():
        _print_by_workers(console, bench, title, partial(_cell, bench, quantity))
        if quantity is Quantity.STEP:
            _print_by_workers(console, bench, _STEP_IN_STARS, partial(_in_stars, bench))
    for sentence in [*reading(bench), *bench.left_out]:
        console.print(Text(sentence))
    console.print(Text(f"\nsaved in {typed(bench.directory)}"), soft_wrap=True)


def _headline(bench: Bench) -> str:
    took = f"measured in {bench.took_s:.0f} s"
    if bench.status is not RunStatus.DONE:
        took = f"{bench.status.value} after {len(bench.figures)} of {bench.asked} figures"
    return f"host {bench.machine.host}: {took}"


def _machine(machine: Machine) -> str:
    parts = [
        machine.processor[:_MACHINE_WIDTH].rstrip(),
        f"{machine.cores} core{'s' * (machine.cores > 1)}",
    ]
    if machine.memory_bytes is not None:
        parts.append(size(machine.memory_bytes))
    if machine.load_before is not None:
        parts.append(f"load before {machine.load_before:.1f}")
    return " · ".join(parts)


def _versions(versions: dict[str, str]) -> str:
    """Return the most important versions; `bench.json` has all versions."""
    names = ("varsim", "python", "numpy", "pyzmq", "libzmq")
    return " · ".join(f"{name} {versions[name]}" for name in names if name in versions)


def _print_alone(console: Console, bench: Bench) -> None:
    """Print the figures of one process."""
    speeds = [_speed(bench, size_bytes) for size_bytes in bench.sizes]
    rows = [["copy of memory, GiB/s", *speeds]] if set(speeds) - {NOTHING} else []
    for quantity, name in _ALONE.items():
        workers = [figure.workers for figure in bench.figures if figure.quantity is quantity]
        if workers:
            cells = [_cell(bench, quantity, workers[0], size_bytes) for size_bytes in bench.sizes]
            rows.append([name, *cells])
    _print_table(console, "one process alone", ["", *map(whole_size, bench.sizes)], rows)


def _speed(bench: Bench, size_bytes: int) -> str:
    copied = bench.seconds(Quantity.COPY, 1, size_bytes)
    return NOTHING if copied is None else f"{size_bytes / copied.median / 2**30:.1f}"


def _print_by_workers(
    console: Console, bench: Bench, title: str, cell: Callable[[int, int], str]
) -> None:
    rows = [[str(n), *(cell(n, size_bytes) for size_bytes in bench.sizes)] for n in bench.workers]
    shown = [row for row in rows if any(text != NOTHING for text in row[1:])]
    _print_table(console, title, ["workers", *map(whole_size, bench.sizes)], shown)


def _print_table(
    console: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    if not rows:
        return
    labels, *cells = zip(*rows, strict=True)
    columns = [Column(heading, one) for heading, one in zip(headings[1:], cells, strict=True)]
    show_table(console, title, labels, columns, corner=headings[0], whole=True)


def _cell(bench: Bench, quantity: Quantity, workers: int, size_bytes: int) -> str:
    seconds = bench.seconds(quantity, workers, size_bytes)
    return NOTHING if seconds is None else f"{duration(seconds.median)} {_spread(seconds)}"


def _spread(seconds: Spread) -> str:
    half = (seconds.high - seconds.low) / 2 / seconds.median if seconds.median else 0.0
    return f"±{half:3.0%}"


def _in_stars(bench: Bench, workers: int, size_bytes: int) -> str:
    return _ratio_cell(ratio(bench, workers, size_bytes))


def _ratio_cell(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f} ×" if value < 9.95 else f"{value:.0f} ×"


# ---------------------------------------------------------------- two hosts


def _compare(console: Console, bench: Bench, other: Bench) -> None:
    both = [n for n in bench.workers if n in other.workers]
    if not both:
        console.print(
            Text("The hosts cannot be compared: no number of workers was measured on both.")
        )
        return
    sizes = [size_bytes for size_bytes in bench.sizes if size_bytes in other.sizes]
    workers = reference(both)
    rows = []
    for quantity in Quantity:
        alone = quantity in _ALONE
        cells = [
            _ratio_cell(
                _over(
                    bench.seconds(quantity, _home(bench, quantity) if alone else workers, s),
                    other.seconds(quantity, _home(other, quantity) if alone else workers, s),
                )
            )
            for s in sizes
        ]
        if any(cell != NOTHING for cell in cells):
            rows.append([_ALONE.get(quantity, f"{quantity.value}, {workers} workers"), *cells])
    title = f"this host's time ÷ that of {other.machine.host} ({other.started[:10]})"
    _print_table(console, title, ["", *map(whole_size, sizes)], rows)


def _home(bench: Bench, quantity: Quantity) -> int:
    """Return the number of workers in the key of a figure that does not depend on workers."""
    return next((f.workers for f in bench.figures if f.quantity is quantity), 0)


def _over(one: Spread | None, other: Spread | None) -> float | None:
    return None if one is None or other is None else one.median / other.median


# ---------------------------------------------------------------- what the figures mean

_FEW: Final = 4
"""Sentences are about the largest measured number of workers that is not above this limit.

If all measured numbers are above the limit, sentences are about the smallest one.
"""

_CLEARLY_LESS: Final = 0.9  # fraction of the bare star's time; a smaller saving may be noise
_BUSY: Final = 0.5  # load per core in the minute before; with a higher load the host is busy
_UNSTEADY: Final = 0.3  # half the interquartile range ÷ the median; for most figures it is lower


def reading(bench: Bench) -> list[str]:
    """Return sentences on steps, reads and starts, and on how reliable the figures are."""
    stepped = [n for n in bench.workers if _steps(bench, n)]
    sentences = []
    if stepped:
        workers = reference(stepped)
        sentences += [_smallest_step(bench, workers), *_large_steps(bench, workers)]
        sentences += _growth(bench, stepped)
    sentences += [*_reads(bench), *_starts(bench), *_trust(bench)]
    return sentences


def reference(workers: Sequence[int]) -> int:
    """Return the number of workers that sentences are about; see `_FEW`."""
    return max((n for n in workers if n <= _FEW), default=min(workers))


def ratio(bench: Bench, workers: int, size_bytes: int) -> float | None:
    """Return the time of a step divided by that of the bare star with the same bytes."""
    step = bench.seconds(Quantity.STEP, workers, size_bytes)
    star = bench.seconds(Quantity.STAR, workers, size_bytes)
    return None if step is None or star is None else step.median / star.median


def _steps(bench: Bench, workers: int) -> list[int]:
    """Return the sizes for which a step was measured."""
    return [s for s in bench.sizes if bench.seconds(Quantity.STEP, workers, s) is not None]


def _median(bench: Bench, quantity: Quantity, workers: int, size_bytes: int = 0) -> float:
    spread = bench.seconds(quantity, workers, size_bytes)
    assert spread is not None, "this figure was not measured"
    return spread.median


def _in_words(workers: int) -> str:
    return f"{workers} worker{'s' * (workers != 1)}"


def _times(value: float) -> str:
    return f"{value:.1f} times" if value < 9.95 else f"{value:.0f} times"


def _smallest_step(bench: Bench, workers: int) -> str:
    size_bytes = _steps(bench, workers)[0]
    took = duration(_median(bench, Quantity.STEP, workers, size_bytes))
    said = f"With {_in_words(workers)} a step that writes {whole_size(size_bytes)} takes {took}"
    stars = ratio(bench, workers, size_bytes)
    if stars is None:
        return f"{said}."
    return (
        f"{said}: {_times(stars)} the time of the bare star, which sends the same bytes without "
        "varsim."
    )


def _large_steps(bench: Bench, workers: int) -> list[str]:
    sizes = _steps(bench, workers)
    largest = sizes[-1]
    if largest == sizes[0]:
        return []
    ratios = [ratio(bench, workers, size_bytes) or 0.0 for size_bytes in sizes]
    cheaper = [number for number in range(len(sizes)) if max(ratios[number:]) < _CLEARLY_LESS]
    if cheaper:
        said = (
            f"From {whole_size(sizes[cheaper[0]])} on, a step takes less time than the bare star, "
            "which sends all bytes through sockets"
        )
    else:
        times_star = _times(ratios[-1])
        said = f"A step of {whole_size(largest)} takes {times_star} the time of the bare star"
    copied = bench.seconds(Quantity.COPY, 1, largest)
    if copied is None:
        return [f"{said}."]
    floor = copied.median * (workers + 2) / 2  # a copy accesses two values, and a step N + 2 values
    step = _median(bench, Quantity.STEP, workers, largest)
    return [
        f"{said}. A step must read all contributions, and read and write the mirror. A step of "
        f"{whole_size(largest)} takes {_times(step / floor)} as long as these memory accesses "
        "alone."
    ]


def _growth(bench: Bench, stepped: Sequence[int]) -> list[str]:
    few, many = min(stepped), max(stepped)
    size_bytes = _steps(bench, few)[0]
    if few == many or size_bytes not in _steps(bench, many):
        return []
    small, large = (_median(bench, Quantity.STEP, n, size_bytes) for n in (few, many))
    if large <= small:
        return []
    return [
        f"From {few} to {_in_words(many)} a step of {whole_size(size_bytes)} grows from "
        f"{duration(small)} to {duration(large)}: {duration((large - small) / (many - few))} for "
        "each further worker."
    ]


def _reads(bench: Bench) -> list[str]:
    both = [
        (n, s)
        for n in bench.workers
        for s in bench.sizes
        if bench.seconds(Quantity.READ_CHANGED, n, s) is not None
        and bench.seconds(Quantity.READ_UNCHANGED, n, s) is not None
    ]
    if not both:
        return []
    workers = reference([n for n, _ in both])
    size_bytes = min(s for n, s in both if n == workers)
    changed = duration(_median(bench, Quantity.READ_CHANGED, workers, size_bytes))
    unchanged = duration(_median(bench, Quantity.READ_UNCHANGED, workers, size_bytes))
    all_workers = f"all {_in_words(workers)}" if workers > 1 else "the worker"
    return [
        f"A cross-replica read of {whole_size(size_bytes)} takes {changed} after a write on "
        f"{all_workers}. Without a write since the last read nothing is sent, and the read takes "
        f"{unchanged}."
    ]


def _starts(bench: Bench) -> list[str]:
    started = {f.workers: f.seconds for f in bench.figures if f.quantity is Quantity.START}
    if not started:
        return []
    shown = ", ".join(f"{_in_words(n)} {duration(started[n].median)}" for n in sorted(started))
    return [f"Starting takes: {shown}."]


def _trust(bench: Bench) -> list[str]:
    sentences = []
    load, cores = bench.machine.load_before, bench.machine.cores
    if load is not None and load > _BUSY * cores:
        sentences.append(
            f"The host was busy before the measurement: load {load:.1f} on {cores} cores. "
            "The times are too large; their ratios are affected less."
        )
    halves = [
        (figure.seconds.high - figure.seconds.low) / 2 / figure.seconds.median
        for figure in bench.figures
        if figure.seconds.median
    ]
    if halves and statistics.median(halves) > _UNSTEADY:
        sentences.append(
            f"The figures vary by ± {statistics.median(halves):.0%}: measure again when the host "
            "is less busy."
        )
    return sentences
