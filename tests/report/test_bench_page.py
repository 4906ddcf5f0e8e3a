"""The report of a measured host: tables, sentences, and a comparison of two hosts."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from tests.report.benches import bench, spread
from varsim.report.bench import Bench, Quantity, Spread
from varsim.report.bench_page import print_bench, print_comparison, reading
from varsim.report.summary import RunStatus


def printed(found: Bench, width: int = 80) -> list[str]:
    file = io.StringIO()
    print_bench(found, file, width)
    return file.getvalue().splitlines()


def test_a_spread_has_quartiles_or_extremes():
    assert Spread(median=3, low=2, high=4, count=5) == Spread.of([5, 1, 4, 2, 3])
    assert Spread(median=2, low=1, high=3, count=3) == Spread.of([3, 1, 2])


@pytest.mark.parametrize("workers", [(1,), (1, 2, 4, 8), (3, 64, 128)])
@pytest.mark.parametrize("seconds", [1.234e-7, 0.01234, 123.4])
def test_a_report_fits_in_80_columns(workers: tuple[int, ...], seconds: float):
    lines = printed(bench(workers, seconds=lambda _q, _n, _s: seconds))

    assert max(map(len, lines)) <= 80
    assert not any("…" in line or line.endswith(" ") for line in lines)


def test_a_table_has_a_row_for_each_number_of_workers():
    """The row has the median and the spread for each size."""
    lines = printed(bench(seconds=lambda q, n, _s: 0.001 * n if q is Quantity.STEP else 0.002))
    start = lines.index("a step: every replica writes one ON_WRITE variable (MEAN)")

    assert ["workers", "8", "B", "64", "KiB", "1", "MiB", "16", "MiB"] == lines[start + 1].split()
    assert ["1", *["1.00", "ms", "±10%"] * 4] == lines[start + 3].split()
    assert ["4", *["4.00", "ms", "±10%"] * 4] == lines[start + 4].split()
    start = lines.index("time of a step ÷ time of the bare star with the same bytes")
    assert ["4", *["2.0", "×"] * 4] == lines[start + 4].split()


def test_a_missing_figure_is_a_dash_and_no_table_is_empty():
    found = bench(sizes=(8, 2**20))
    kept = [f for f in found.figures if (f.quantity, f.size_bytes) != (Quantity.STEP, 8)]
    kept = [f for f in kept if f.quantity is not Quantity.READ_CHANGED]
    lines = printed(replace(found, figures=kept))
    start = lines.index("a step: every replica writes one ON_WRITE variable (MEAN)")

    assert ["1", "–", "1.00", "ms", "±10%"] == lines[start + 3].split()
    assert not any("after a write on all replicas" in line for line in lines)


def test_the_page_has_the_machine_and_its_memory_speed():
    text = "\n".join(printed(bench(seconds=lambda _q, _n, _s: 2**-10)))

    assert "host h: measured in 14 s" in text
    assert "2 cores · 8.00 GiB · load before 0.1" in text
    assert "varsim 0.1.0 · python 3.11 · numpy 2 · pyzmq 27\n" in text
    assert "copy of memory, GiB/s" in text
    assert "1.0 " in text.partition("GiB/s")[2].splitlines()[0]  # 1 MiB in 2**-10 s


def test_the_report_of_an_interrupted_measurement_counts_its_figures():
    text = "\n".join(printed(bench(status=RunStatus.INTERRUPTED, left_out=("Left out: x.",))))

    assert "host h: interrupted after 46 of 47 figures" in text
    assert "\nLeft out: x.\n" in text


# ---------------------------------------------------------------- sentences


def shared(quantity: Quantity, workers: int, size_bytes: int) -> float:
    """Return seconds that grow by the same amount with each worker. Large steps are cheap."""
    if quantity is Quantity.STEP:
        return 0.0012 * workers if size_bytes < 2**20 else 0.0005 * workers
    return 0.001 * workers


def test_sentences_compare_steps_with_the_bare_star():
    said = " ".join(reading(bench(seconds=shared)))

    assert "With 4 workers a step that writes 8 B takes 4.80 ms: 1.2 times the time of" in said
    assert "From 1 MiB on, a step takes less time than the bare star" in said
    assert "A step of 16 MiB takes 0.7 times as long as these memory accesses alone" in said
    assert (
        "From 1 to 4 workers a step of 8 B grows from 1.20 ms to 4.80 ms: 1.20 ms for each" in said
    )
    assert "A cross-replica read of 8 B takes 4.00 ms after a write on all 4 workers." in said
    assert "Starting takes: 1 worker 1.00 ms, 4 workers 4.00 ms." in said
    assert "busy" not in said


def test_without_a_faster_step_no_sentence_names_a_size():
    said = " ".join(reading(bench()))

    assert "A step of 16 MiB takes 1.0 times the time of the bare star." in said
    assert "From" not in said


def test_a_busy_or_unsteady_host_is_reported():
    busy = " ".join(reading(bench(load=3.0)))
    assert "The host was busy before the measurement: load 3.0 on 2 cores." in busy
    found = bench(load=None)
    unsteady = [replace(f, seconds=replace(spread(1.0), high=3.0)) for f in found.figures]

    said = " ".join(reading(replace(found, figures=unsteady)))
    assert "The figures vary by ± 105%" in said


def test_missing_figures_cause_no_error_in_the_sentences():
    found = bench()
    assert [] == reading(replace(found, figures=[]))
    for quantity in Quantity:
        reading(replace(found, figures=[f for f in found.figures if f.quantity is quantity]))
        reading(replace(found, figures=[f for f in found.figures if f.quantity is not quantity]))


# ---------------------------------------------------------------- two hosts


def compared(one: Bench, other: Bench) -> str:
    file = io.StringIO()
    print_comparison(one, other, file, 80)
    return file.getvalue()


def test_two_hosts_are_compared_where_both_were_measured():
    said = compared(bench((1, 4, 8)), bench((2, 4), sizes=(8,), seconds=lambda *_: 0.002))

    assert "this host's time ÷ that of h (2026-01-02)" in said
    assert [["step,", "4", "workers", "0.5", "×"]] == [
        line.split() for line in said.splitlines() if line.startswith("step")
    ]
    assert "MiB" not in said


def test_hosts_without_a_common_number_of_workers_are_not_compared():
    assert compared(bench((1,)), bench((2,))).startswith("The hosts cannot be compared")
