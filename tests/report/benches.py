"""Invented figures of measured hosts, for tests of reports."""

from __future__ import annotations

from collections.abc import Callable

from varsim.report.bench import ALONE, Bench, Figure, Machine, Quantity, Spread
from varsim.report.summary import RunStatus

SIZES = (8, 64 * 2**10, 2**20, 16 * 2**20)


def spread(median: float) -> Spread:
    return Spread(median=median, low=0.9 * median, high=1.1 * median, count=9)


def figure(quantity: Quantity, workers: int, size_bytes: int, median: float) -> Figure:
    return Figure(quantity=quantity, workers=workers, size_bytes=size_bytes, seconds=spread(median))


def bench(
    workers: tuple[int, ...] = (1, 4),
    sizes: tuple[int, ...] = SIZES,
    seconds: Callable[[Quantity, int, int], float] = lambda _q, _n, _s: 0.001,
    load: float | None = 0.1,
    status: RunStatus = RunStatus.DONE,
    left_out: tuple[str, ...] = (),
) -> Bench:
    """Return the figures of a host on which every quantity takes `seconds(…)`."""
    figures = [figure(q, 1, s, seconds(q, 1, s)) for q in ALONE for s in sizes]
    figures += [figure(Quantity.START, n, 0, seconds(Quantity.START, n, 0)) for n in workers]
    figures += [
        figure(q, n, s, seconds(q, n, s))
        for q in Quantity
        if q not in (*ALONE, Quantity.START)
        for n in workers
        for s in sizes
    ]
    return Bench(
        status=status,
        failure=None,
        started="2026-01-02T03:04:05+00:00",
        directory="runs/x",
        machine=Machine(
            host="h",
            processor="A processor whose name is much longer than what fits into one line of text",
            cores=2,
            memory_bytes=2**33,
            system="Linux 6",
            load_before=load,
        ),
        versions={"varsim": "0.1.0", "python": "3.11", "numpy": "2", "pyzmq": "27", "msgpack": "1"},
        quick=False,
        took_s=14.2,
        asked=len(figures) + 1,
        left_out=list(left_out),
        figures=figures,
    )
