"""The report of a measured host on a console: a row for each number of workers, columns by size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TextIO

from rich.console import Console
from rich.text import Text

from varsim.report.bench import Bench, Machine, Quantity, Spread
from varsim.report.bench_story import ratio, reading, reference
from varsim.report.console import typed
from varsim.report.page import print_page
from varsim.report.summary import Status
from varsim.report.tables import Column, show_table
from varsim.report.words import NOTHING, duration, size, whole_size

_BY_WORKERS: Final = {
    Quantity.STAR: "ZeroMQ alone, a bare star: each process gets the bytes, answers with as many",
    Quantity.STEP: "a step: every replica writes one ON_WRITE variable (MEAN)",
    Quantity.READ_CHANGED: "a read outside of an ON_READ variable (SUM), all replicas wrote it",
    Quantity.READ_UNCHANGED: "the same read again, without a write",
}
_LEGEND: Final = "Figures are medians ± half the interquartile range."
_STEP_IN_STARS: Final = "a step over the bare star of the same bytes"
_ALONE: Final = {
    Quantity.COPY: "copy of memory",
    Quantity.LOCAL_READ: "ON_READ read",
    Quantity.LOCAL_WRITE: "ON_READ write",
}
_MACHINE_WIDTH: Final = 36  # of the processor's name: what matters stands at its beginning


def print_bench(bench: Bench, file: TextIO, width: int | None = None) -> None:
    """Shows a host: what it is, its figures, what they mean, where they are saved."""
    print_page(lambda console: _print_to(console, bench), file, width)


def print_comparison(bench: Bench, other: Bench, file: TextIO, width: int | None = None) -> None:
    """Shows two hosts: medians of the first over those of the second."""
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
    if bench.status is not Status.DONE:
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
    """Those that matter most; all of them are saved."""
    names = ("varsim", "python", "numpy", "pyzmq", "libzmq")
    return " · ".join(f"{name} {versions[name]}" for name in names if name in versions)


def _print_alone(console: Console, bench: Bench) -> None:
    """What happens within one process."""
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
    return _times(ratio(bench, workers, size_bytes))


def _times(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f} ×" if value < 9.95 else f"{value:.0f} ×"


# ---------------------------------------------------------------- two hosts


def _compare(console: Console, bench: Bench, other: Bench) -> None:
    both = [n for n in bench.workers if n in other.workers]
    if not both:
        console.print(Text("There is no number of workers that both hosts were measured with."))
        return
    sizes = [size_bytes for size_bytes in bench.sizes if size_bytes in other.sizes]
    workers = reference(both)
    rows = []
    for quantity in Quantity:
        alone = quantity in _ALONE
        cells = [
            _times(
                _over(
                    bench.seconds(quantity, _home(bench, quantity) if alone else workers, s),
                    other.seconds(quantity, _home(other, quantity) if alone else workers, s),
                )
            )
            for s in sizes
        ]
        if any(cell != NOTHING for cell in cells):
            rows.append([_ALONE.get(quantity, f"{quantity.value}, {workers} workers"), *cells])
    title = f"this host's time over that of {other.machine.host} ({other.started[:10]})"
    _print_table(console, title, ["", *map(whole_size, sizes)], rows)


def _home(bench: Bench, quantity: Quantity) -> int:
    """The number of workers with which something was measured that does not depend on it."""
    return next((f.workers for f in bench.figures if f.quantity is quantity), 0)


def _over(one: Spread | None, other: Spread | None) -> float | None:
    return None if one is None or other is None else one.median / other.median
