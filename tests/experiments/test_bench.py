"""The measurement of a machine: its figures and files, and its end after Ctrl-C or a failure."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import pytest

from varsim.errors import ConfigError, StartError
from varsim.experiments import bench, bench_contenders
from varsim.experiments.bench import (
    MAX_CELL_BYTES,
    QUICK,
    BenchPlan,
    as_json,
    from_plain,
    load_bench,
    run_bench,
)
from varsim.report.bench import Bench, Quantity
from varsim.report.summary import RunStatus
from varsim.testing import simulated_cluster

SMALL = BenchPlan(workers=(1, 2), sizes=(8, 4096), turns_s=0.0)


class NoStar:
    """A replacement for the processes of a bare star."""

    def __init__(self, count: int) -> None:
        self._count = count

    def round(self, count: int, size_bytes: int) -> None:
        assert 0 < count <= self._count
        bytes(size_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


class Told:
    """A watcher that stores the measured figures, and calls `act` at measurement `act_at`."""

    def __init__(self, act_at: int = -1, act: Callable[[], None] = lambda: None) -> None:
        self.told: list[tuple[str, int, int]] = []
        self._act_at, self._act = act_at, act

    def measuring(self, what: str, done: int, asked: int) -> None:
        self.told.append((what, done, asked))
        if len(self.told) == self._act_at:
            self._act()


@contextmanager
def one_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, simulated_cluster():
        patch.setattr(bench, "BareStar", NoStar)
        yield


@pytest.fixture(autouse=True)
def _in_one_process() -> Iterator[None]:
    with one_process():
        yield


class Measured(NamedTuple):
    found: Bench
    watcher: Told
    out: Path


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Measure once for all tests of a whole measurement."""
    watcher, out = Told(), tmp_path_factory.mktemp("measured") / "runs"
    with one_process():
        return Measured(run_bench(SMALL, out, watcher), watcher, out)


def interrupted() -> None:
    raise KeyboardInterrupt


def refused() -> None:
    raise StartError("no process could be started")


def test_all_requested_figures_are_measured_and_positive(measured: Measured):
    found = measured.found

    assert (RunStatus.DONE, [], SMALL.asked) == (found.status, found.left_out, len(found.figures))
    assert {*Quantity} == {figure.quantity for figure in found.figures}
    for figure in found.figures:
        assert 0 < figure.seconds.low <= figure.seconds.median <= figure.seconds.high
        assert 1 <= figure.seconds.count
    for quantity, *cell in itertools.product(
        (Quantity.STAR, Quantity.STEP, Quantity.READ_CHANGED, Quantity.READ_UNCHANGED),
        SMALL.workers,
        SMALL.sizes,
    ):
        assert found.seconds(quantity, *cell) is not None


def test_a_round_trip_to_one_worker_is_always_measured():
    plan = BenchPlan(workers=(2,), sizes=(8,), turns_s=0.0)
    found = run_bench(plan, Path("runs"), Told())

    assert found.seconds(Quantity.STAR, 1, 8) is not None
    assert plan.asked == len(found.figures)


def test_figures_are_equal_after_saving_and_loading(measured: Measured):
    found, _, out = measured

    assert found == load_bench(out / "latest-bench") == load_bench(Path(found.directory))
    assert found == from_plain(json.loads(as_json(found)), "x")
    assert ["bench.json"] == [path.name for path in Path(found.directory).iterdir()]
    assert not (out / "latest").exists()


def test_a_watcher_gets_the_next_figure_and_the_progress(measured: Measured):
    told = measured.watcher.told

    assert ("copies of 4 KiB", 0, SMALL.asked) == told[0]
    assert "reads of 4 KiB, 2 workers" == told[-1][0]
    assert sorted(done for _, done, _ in told) == [done for _, done, _ in told]


def test_ctrl_c_ends_the_measurement_and_its_figures_are_saved():
    found = run_bench(SMALL, Path("runs"), Told(5, interrupted))

    assert RunStatus.INTERRUPTED is found.status
    assert 0 < len(found.figures) < found.asked
    assert found == load_bench(Path("runs/latest-bench"))


def test_ctrl_c_before_the_first_figure_leaves_no_files():
    with pytest.raises(KeyboardInterrupt):
        run_bench(SMALL, Path("runs"), Told(1, interrupted))

    assert not Path("runs").exists()


def test_after_a_failure_the_figures_are_saved_with_the_error():
    found = run_bench(SMALL, Path("runs"), Told(8, refused))

    assert (RunStatus.FAILED, "no process could be started") == (found.status, found.failure)
    assert found == load_bench(Path("runs/latest-bench"))


def test_no_figure_is_begun_after_the_time_limit():
    """The measurement names the figures that it left out."""
    found = run_bench(BenchPlan(workers=(1,), sizes=(8, 4096), limit_s=0.0), Path("runs"), Told())

    assert [] == found.figures
    assert "because 0 s had passed (this host is slow or busy)" in found.left_out[0]
    assert "copies of 4 KiB; the start of 1 worker" in found.left_out[0]


def test_sizes_too_large_for_all_workers_are_left_out():
    plan = BenchPlan(workers=(1, 64), sizes=(8, 16 * 2**20))

    assert [(64, 16 * 2**20)] == plan.too_large
    assert [(1, 8), (1, 16 * 2**20), (64, 8)] == plan.cells
    assert all(n * size <= MAX_CELL_BYTES for n, size in BenchPlan().cells)


def test_quick_measures_fewer_figures_than_the_default():
    assert [] == BenchPlan().too_large == QUICK.too_large
    assert QUICK.asked < BenchPlan().asked
    assert QUICK.limit_s < BenchPlan().limit_s < 20


def test_a_step_with_a_wrong_result_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench_contenders, "_replica_number", lambda: 7.0)
    with pytest.raises(AssertionError, match="is not"):
        run_bench(SMALL, Path("runs"), Told())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read"),
        ("{", "is not valid JSON"),
        ('{"version": 2}', "a bench.json of version 2; this varsim reads 1"),
        ('{"version": 1}', "is not the measurement of a host"),
    ],
)
def test_an_invalid_measurement_file_is_refused(text: str | None, problem: str):
    if text is not None:
        Path("bench.json").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        load_bench(Path())
