"""What the figures of a host mean, in a few sentences."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

from varsim.report.bench import Bench, Quantity
from varsim.report.words import duration, whole_size

_FEW: Final = 4
"""Sentences are about so many workers, or the nearest smaller number that was measured."""

_CLEARLY_LESS: Final = 0.9  # than the bare star: a ratio of two medians, and each has its spread
_BUSY: Final = 0.5  # of the cores, in the minute before
_UNSTEADY: Final = 0.3  # half the interquartile range over the median, of a typical figure


def reading(bench: Bench) -> list[str]:
    """Sentences on steps, reads and starts, and on how far the figures are to be trusted."""
    stepped = [n for n in bench.workers if _steps(bench, n)]
    sentences = []
    if stepped:
        workers = reference(stepped)
        sentences += [_smallest_step(bench, workers), *_large_steps(bench, workers)]
        sentences += _growth(bench, stepped)
    sentences += [*_reads(bench), *_starts(bench), *_trust(bench)]
    return sentences


def reference(workers: Sequence[int]) -> int:
    """The number of workers that a short text is about."""
    return max((n for n in workers if n <= _FEW), default=min(workers))


def ratio(bench: Bench, workers: int, size_bytes: int) -> float | None:
    """A step over the bare star that moves the same bytes."""
    step = bench.seconds(Quantity.STEP, workers, size_bytes)
    star = bench.seconds(Quantity.STAR, workers, size_bytes)
    return None if step is None or star is None else step.median / star.median


def _steps(bench: Bench, workers: int) -> list[int]:
    """The sizes of which a step was measured."""
    return [s for s in bench.sizes if bench.seconds(Quantity.STEP, workers, s) is not None]


def _median(bench: Bench, quantity: Quantity, workers: int, size_bytes: int = 0) -> float:
    spread = bench.seconds(quantity, workers, size_bytes)
    assert spread is not None, "asked for a figure that is not there"
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
    return f"{said}: {_times(stars)} the bare star, which moves the same bytes and decides nothing."


def _large_steps(bench: Bench, workers: int) -> list[str]:
    sizes = _steps(bench, workers)
    largest = sizes[-1]
    if largest == sizes[0]:
        return []
    ratios = [ratio(bench, workers, size_bytes) or 0.0 for size_bytes in sizes]
    cheaper = [number for number in range(len(sizes)) if max(ratios[number:]) < _CLEARLY_LESS]
    if cheaper:
        said = (
            f"From {whole_size(sizes[cheaper[0]])} on a step takes less than the bare star, whose "
            "bytes all go through sockets"
        )
    else:
        said = f"A step of {whole_size(largest)} takes {_times(ratios[-1])} the bare star"
    copied = bench.seconds(Quantity.COPY, 1, largest)
    if copied is None:
        return [f"{said}."]
    floor = copied.median * (workers + 2) / 2  # a copy moves two values, a step N + 2
    step = _median(bench, Quantity.STEP, workers, largest)
    return [
        f"{said}. At {whole_size(largest)} it takes {_times(step / floor)} what reading all "
        "contributions, and reading and writing the mirror, takes the memory alone."
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
        f"A read outside of {whole_size(size_bytes)} that {all_workers} wrote takes {changed}; "
        f"if there was no write since, nothing is sent, and it takes {unchanged}."
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
            f"The host was busy before: load {load:.1f} on {cores} cores. "
            "Its figures are larger than they would be; ratios suffer less."
        )
    halves = [
        (figure.seconds.high - figure.seconds.low) / 2 / figure.seconds.median
        for figure in bench.figures
        if figure.seconds.median
    ]
    if halves and statistics.median(halves) > _UNSTEADY:
        sentences.append(
            f"The figures vary by ± {statistics.median(halves):.0%}: measure again when the host "
            "does less."
        )
    return sentences
