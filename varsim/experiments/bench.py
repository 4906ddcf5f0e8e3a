"""Measure this host for `varsim bench`, and save the figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Protocol

import zmq

import varsim
from varsim.distribute.mirrored import MirroredStrategy
from varsim.errors import ConfigError, VarsimError
from varsim.experiments.bare_star import BareStar
from varsim.experiments.bench_contenders import (
    Effort,
    ReadContender,
    Sample,
    StepContender,
    copies,
    local,
    now_s,
    once,
    take_turns,
    timed,
)
from varsim.experiments.store import BENCH, LATEST_BENCH, RunDirectory, json_text
from varsim.experiments.text_files import first_problem, read_object
from varsim.interrupts import Interrupts
from varsim.processors import usable_processors
from varsim.report.bench import Bench, Figure, Machine, Quantity, Spread
from varsim.report.formatting import whole_size
from varsim.report.summary import RunStatus

MAX_CELL_BYTES: Final = 128 * 2**20
"""Limit of the total size of all replicas' values; larger values need gigabytes of memory, and
seconds per step."""

_SMALLEST_COPY: Final = 4096  # below this size the call takes longer than the copy

Cell = tuple[int, int]
"""A number of workers, and a size in bytes."""

Turns = dict[tuple[Quantity, ...], Sample]
"""The quantities that a contender measures, one for each of its parts → the contender."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """What to measure, and how long the measurement may take."""

    workers: tuple[int, ...] = (1, 2, 4, 8)
    sizes: tuple[int, ...] = (8, 64 * 2**10, 2**20, 16 * 2**20)
    quick: bool = False
    turns_s: float = 0.2  # for a cell's steps, and as long for its reads; longer for large values
    limit_s: float = 17.0  # no measurement begins after this time, so that all end within 20 s

    @property
    def cells(self) -> list[Cell]:
        """Return the cells that are measured."""
        return [(n, size) for n in self.workers for size in self.sizes if _fits(n, size)]

    @property
    def too_large(self) -> list[Cell]:
        """Return the cells that are left out because of their size."""
        return [(n, size) for n in self.workers for size in self.sizes if not _fits(n, size)]

    @property
    def copied(self) -> list[int]:
        """Return the sizes at which copying is measured."""
        return [size for size in self.sizes if size >= _SMALLEST_COPY]

    @property
    def asked(self) -> int:
        """Return the number of figures that are measured if there is enough time."""
        lone_stars = 0 if 1 in self.workers else len(self.sizes)
        alone = len(self.copied) + lone_stars + 2 * len(self.sizes)
        return alone + len(self.workers) + 4 * len(self.cells)


def _fits(workers: int, size_bytes: int) -> bool:
    return workers * size_bytes <= MAX_CELL_BYTES


QUICK: Final = BenchPlan(workers=(1, 4), sizes=(8, 2**20), quick=True, turns_s=0.1, limit_s=6.0)
"""A rough measurement, in about three seconds."""


class BenchWatcher(Protocol):
    """A receiver of the progress of a measurement."""

    def measuring(self, what: str, done: int, asked: int) -> None:
        """Report that `what` is measured next, after `done` of the `asked` figures."""


@dataclass
class HostMeasurement:
    """A measurement of this host: the figures so far."""

    plan: BenchPlan
    watcher: BenchWatcher
    interrupts: Interrupts
    deadline_s: float  # time of the deadline, on the clock of `now_s`
    figures: list[Figure] = field(default_factory=list)
    out_of_time: list[str] = field(default_factory=list)  # what was not measured

    def measure(self) -> None:
        """Measure figures until the deadline."""
        for size_bytes in self.plan.copied:
            if self._may_begin(f"copies of {whole_size(size_bytes)}"):
                self._take(1, size_bytes, {(Quantity.COPY,): copies(size_bytes)})
        self.watcher.measuring("bare processes", len(self.figures), self.plan.asked)
        with BareStar(max(self.plan.workers)) as star, self._nothing_after():
            if 1 not in self.plan.workers:
                for size_bytes in self.plan.sizes:
                    self._star_alone(star, size_bytes)
            for workers in self.plan.workers:
                if self._may_begin(f"the start of {in_words(workers)}"):
                    self._cluster(star, workers)

    def _star_alone(self, star: BareStar, size_bytes: int) -> None:
        if self._may_begin(f"round trips of {whole_size(size_bytes)}"):
            self._take(1, size_bytes, {(Quantity.STAR,): once(partial(star.round, 1, size_bytes))})

    def _cluster(self, star: BareStar, workers: int) -> None:
        devices = [f"cpu:{number}" for number in range(workers)]
        with MirroredStrategy(devices) as strategy, self._nothing_after():
            self._note(Quantity.START, workers, 0, [timed(strategy.start)])
            for size_bytes in self.plan.sizes:
                first = workers == self.plan.workers[0]
                if first and self._may_begin(f"{whole_size(size_bytes)} on a replica"):
                    both: tuple[Quantity, ...] = (Quantity.LOCAL_READ, Quantity.LOCAL_WRITE)
                    self._take(workers, size_bytes, {both: local(strategy, size_bytes)})
                if (workers, size_bytes) in self.plan.cells:
                    self._cell(star, strategy, workers, size_bytes)

    def _cell(
        self, star: BareStar, strategy: MirroredStrategy, workers: int, size_bytes: int
    ) -> None:
        what = f"{whole_size(size_bytes)}, {in_words(workers)}"
        if self._may_begin(f"steps of {what}"):
            step = StepContender(strategy, size_bytes)
            bare = once(partial(star.round, workers, size_bytes))
            turns: Turns = {(Quantity.STAR,): bare, (Quantity.STEP,): step.sample}
            self._take(workers, size_bytes, turns)
            step.check()
        if self._may_begin(f"reads of {what}"):
            read = ReadContender(strategy, size_bytes)
            both: tuple[Quantity, ...] = (Quantity.READ_CHANGED, Quantity.READ_UNCHANGED)
            self._take(workers, size_bytes, {both: read.sample})
            read.check()

    def _may_begin(self, what: str) -> bool:
        """Return whether there is time for `what`.

        Inform the watcher, or record `what` as left out.
        """
        if now_s() >= self.deadline_s:
            self.out_of_time.append(what)
            return False
        self.watcher.measuring(what, len(self.figures), self.plan.asked)
        return True

    def _take(self, workers: int, size_bytes: int, turns: Turns) -> None:
        effort = Effort(self.plan.turns_s, self.deadline_s)
        for quantities, parts in take_turns(turns, effort).items():
            for quantity, taken in zip(quantities, parts, strict=True):
                self._note(quantity, workers, size_bytes, taken)

    def _note(
        self, quantity: Quantity, workers: int, size_bytes: int, taken: Sequence[float]
    ) -> None:
        seconds = Spread.of(taken)
        self.figures.append(
            Figure(quantity=quantity, workers=workers, size_bytes=size_bytes, seconds=seconds)
        )

    @contextmanager
    def _nothing_after(self) -> Iterator[None]:
        """Delay Ctrl-C after the block has failed, because it must not interrupt the clean-up."""
        try:
            yield
        except BaseException:
            self.interrupts.enabled = False
            raise


def in_words(workers: int) -> str:
    """Return a number of workers as text."""
    return f"{workers} worker{'s' * (workers != 1)}"


# ---------------------------------------------------------------- the machine

_PACKAGES: Final = ("numpy", "pyzmq", "msgpack")


def this_machine() -> Machine:
    """Describe this machine. Call this before measuring, so that the load is that of others."""
    return Machine(
        host=platform.node(),
        processor=_processor(),
        cores=usable_processors(),
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.release()}",
        load_before=_load(),
    )


def versions() -> dict[str, str]:
    """Return the versions of varsim, of Python, and of the packages that affect the times."""
    return {
        "varsim": varsim.__version__,
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "libzmq": zmq.zmq_version(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # the package is on the path without metadata
        return "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


# ---------------------------------------------------------------- the saved measurement

TITLE: Final = "bench"

VERSION: Final = 1
"""Version of `bench.json`; it is increased when a field is removed or changes its meaning."""


def run_bench(plan: BenchPlan, out: Path, watcher: BenchWatcher) -> Bench:
    """Measure this host and save the figures, even if SIGINT or a failure ends the measurement.

    Raises:
        ConfigError: `out` cannot be written.
        KeyboardInterrupt: SIGINT arrived before the first figure; no file is left.
        VarsimError: A failure occurred before the first figure; no file is left.
    """
    machine = this_machine()  # called first, so that the load is that of other programs
    started, began_s = datetime.now().astimezone(), now_s()
    status, failure = RunStatus.DONE, None
    with Interrupts() as interrupts:
        interrupts.enabled = False  # until the directory exists and can be removed
        directory = RunDirectory.make(out, TITLE, started, latest=LATEST_BENCH)
        host = HostMeasurement(plan, watcher, interrupts, began_s + plan.limit_s)
        try:
            interrupts.enable()
            host.measure()
            interrupts.enabled = False
        except (KeyboardInterrupt, VarsimError) as error:
            interrupts.enabled = False
            if not host.figures:
                directory.discard()
                raise
            interrupted = isinstance(error, KeyboardInterrupt)
            status = RunStatus.INTERRUPTED if interrupted else RunStatus.FAILED
            failure = None if interrupted else str(error)
        bench = Bench(
            status=status,
            failure=failure,
            started=started.isoformat(timespec="seconds"),
            directory=str(directory.path),
            machine=machine,
            versions=versions(),
            quick=plan.quick,
            took_s=now_s() - began_s,
            asked=plan.asked,
            left_out=_left_out(plan, host.out_of_time),
            figures=host.figures,
        )
        directory.write(BENCH, as_json(bench))
    return bench


def _left_out(plan: BenchPlan, out_of_time: list[str]) -> list[str]:
    """Return sentences about figures that were left out on purpose."""
    sentences = []
    if plan.too_large:
        cells = ", ".join(f"{whole_size(size)} × {in_words(n)}" for n, size in plan.too_large)
        limit = whole_size(MAX_CELL_BYTES)
        sentences.append(f"Not measured because all values together exceed {limit}: {cells}.")
    if out_of_time:
        sentences.append(
            f"Not measured because {plan.limit_s:g} s had passed (this host is slow or busy): "
            f"{'; '.join(out_of_time)}."
        )
    return sentences


def as_json(bench: Bench) -> str:
    """Return the text of `bench.json`."""
    values = asdict(bench)
    values["status"] = bench.status.value
    for figure in values["figures"]:
        figure["quantity"] = figure["quantity"].value
    return json_text({"version": VERSION, **values})


def load_bench(path: Path) -> Bench:
    """Read a saved measurement.

    Args:
        path: A directory that `run_bench` made, or a `bench.json`.
    Raises:
        ConfigError: The file does not exist, is not a measurement, or has another version.
    """
    file = path / BENCH if path.is_dir() else path
    return from_plain(read_object(file, "run `varsim bench`"), str(file))


def from_plain(values: Any, name: str) -> Bench:
    """Return the measurement that a JSON object holds.

    Raises:
        ConfigError: The object is not a measurement, or has another version.
    """
    from pydantic import TypeAdapter, ValidationError

    version = values.pop("version", None) if isinstance(values, dict) else None
    if version != VERSION:
        raise ConfigError(f"{name}: a bench.json of version {version}; this varsim reads {VERSION}")
    try:
        return TypeAdapter(Bench).validate_python(values)
    except ValidationError as error:
        why = first_problem(error)
        raise ConfigError(f"{name} is not the measurement of a host: {why}") from None
