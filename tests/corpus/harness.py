"""Run a program of the corpus, and compare its findings with its marks."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from unittest.mock import patch

import numpy as np

from varsim.analysis.findings.compared import Compared
from varsim.analysis.findings.model import Finding
from varsim.analysis.findings.waits import STRAGGLER
from varsim.analysis.outcome import Outcome, overall
from varsim.analysis.returned import ReturnedValue, compare_returned
from varsim.analysis.search import find_and_compare
from varsim.analysis.verdict import judge
from varsim.experiments.config import Experiment
from varsim.experiments.runner import run_experiment
from varsim.experiments.variable_settings import VariableSettings
from varsim.report.comparison_text import MOST
from varsim.report.summary import RunStatus, Summary
from varsim.testing import simulated_cluster
from varsim.tracing import notices, trace
from varsim.tracing.history import History, open_history, open_oracle

FOLDER: Final = Path(__file__).parent
BLIND: Final = "blind", "blind2", "blind3", "blind4", "blind5"
"""The sets of programs whose authors had not seen the checkers, in the order of their runs."""

_MARK: Final = re.compile(r"\s*# (FAULT|ALSO): ([^:]+)(?:: (\S+))?$")
_REPLICAS: Final = re.compile(r"^REPLICAS = (\d+)$", re.MULTILINE)
_ORACLE: Final = re.compile(r"^ORACLE = True$", re.MULTILINE)
UNEXPLAINED: Final = "unexplained difference"
"""The kind of a mark at a difference from a single device that no finding explains."""

_ATTEMPTS: Final = 8
"""Runs of a program on worker processes whose waits differ from the marks: on a busy machine, its
times are those of all programs. Simulated programs run once."""
_WAITS: Final = re.compile(r"^WAITS = True$", re.MULTILINE)
_PROCESSES: Final = re.compile(r"^PROCESSES = True$", re.MULTILINE)


class _ProcessorClock:
    """The processor time of this thread as the clock of a trace.

    Other processes on the machine do not change it, so the same program has the same waits. The
    clock does not see other threads: see `one_blas_thread`.
    """

    monotonic_ns = staticmethod(time.thread_time_ns)
    time = staticmethod(time.time)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let NumPy's OpenBLAS compute in the calling thread, so that the clock sees all work.

    Environment variables such as OPENBLAS_NUM_THREADS have no effect after the import of NumPy.
    """
    with ExitStack() as stack:
        package = Path(np.__file__).parent
        for folder in (package.with_name("numpy.libs"), package / ".dylibs"):  # Linux, macOS
            for path in folder.glob("*openblas*"):
                library = ctypes.CDLL(str(path))
                ours = [one for one in _OPENBLAS if hasattr(library, one.format("get"))]
                for name in ours:
                    get, put = library[name.format("get")], library[name.format("set")]
                    stack.callback(put, get())
                    put(1)
                    assert get() == 1
        yield


_OPENBLAS: Final = tuple(
    f"{prefix}openblas_{{}}_num_threads{suffix}"
    for prefix in ("", "scipy_")
    for suffix in ("", "64_")
)
"""The names of OpenBLAS's functions in the releases of NumPy."""


class ExpectedFinding(NamedTuple):
    """An expected finding: its kind, variable and line."""

    kind: str
    variable: str
    line: int

    def __str__(self) -> str:
        return f"{self.kind}: {self.variable or 'no variable'}, line {self.line}"


@dataclass(frozen=True)
class Found:
    """The differences between the findings of a run and the marks of its program."""

    missed: set[ExpectedFinding]  # faults that were not found
    unexpected: set[str]  # findings that are neither a marked fault nor a marked consequence
    outcome: Outcome
    failure: str

    @property
    def is_wrong_about_waits(self) -> bool:
        """Return whether the findings about waits differ from the marks."""
        said = [mark.kind for mark in self.missed]
        said += [one.partition(":")[0] for one in self.unexpected]
        return STRAGGLER.name in said

    def story(self) -> str:
        """Return one line for each difference, or an empty text."""
        lines = [f"the program failed: {self.failure}"] if self.failure else []
        lines += [f"not found: {mark}" for mark in sorted(self.missed)]
        lines += [f"found, but not planted: {mark}" for mark in sorted(self.unexpected)]
        if self.outcome is not Outcome.VALID:
            lines.append(f"the verdict is {self.outcome.value}")
        return "\n".join(lines)


def programs(*folders: str) -> list[Path]:
    """Return the programs in these folders of the corpus."""
    return [path for folder in folders for path in sorted((FOLDER / folder).glob("*.py"))]


def planted_in(sets: Iterable[str]) -> list[Path]:
    """Return the programs with a fault of some blind sets."""
    return programs(*(f"{one}/planted" for one in sets))


def clean_in(sets: Iterable[str]) -> list[Path]:
    """Return the programs without a fault of some blind sets."""
    return programs(*(f"{one}/clean" for one in sets))


def marks(path: Path) -> tuple[set[ExpectedFinding], set[ExpectedFinding]]:
    """Return the marked faults of a program, and the marked consequences that are allowed.

    A mark is a separate line above the statement that it describes.
    """
    said: list[re.Match[str]] = []
    found: dict[str, set[ExpectedFinding]] = {"FAULT": set(), "ALSO": set()}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        mark = _MARK.match(line.rstrip(" :"))
        if mark is not None:
            said.append(mark)
            continue
        for one in said:
            found[one[1]].add(ExpectedFinding(one[2], one[3] or "", number))
        said.clear()
    return found["FAULT"], found["ALSO"]


def run(path: Path, out: Path) -> Found:
    """Run a program in a simulated cluster, and search for its faults.

    With `PROCESSES = True` the program runs on worker processes. Other processes on the machine can
    make a replica slow. So the run is repeated if its findings about waits differ from the marks.
    """
    text = path.read_text("utf-8")
    found = _run(path, text, out)
    if _PROCESSES.search(text):
        for attempt in range(_ATTEMPTS - 1):
            if not found.is_wrong_about_waits:
                break
            found = _run(path, text, out / f"again-{attempt}")
    return found


def _run(path: Path, text: str, out: Path) -> Found:
    faults, also = marks(path)
    with execution(path, text, out) as done:
        found, compared = find_and_compare(done.history, done.oracle, returned=done.returned)
        missed = faults - unexplained(compared, path)
        unexpected = set()
        for one, lines in zip(found, lines_of(found, path, done.history), strict=True):
            fit = {ExpectedFinding(one.kind.name, one.variable, line) for line in lines}
            if one.kind.needs_oracle:  # it explains a difference
                fit |= {ExpectedFinding(UNEXPLAINED, one.variable, line) for line in lines}
            missed -= fit
            if not fit & (faults | also):
                unexpected.add(f"{one.kind.name}: {one.variable}, lines {sorted(lines)}")
        return Found(missed, unexpected, overall(judge(done.history)), done.failure)


def unexplained(compared: Compared | None, path: Path) -> set[ExpectedFinding]:
    """Return the marks for the differences that `varsim check` lists as not explained.

    Such a difference need not be marked: it may have another cause than a mistake.
    """
    if compared is None:
        return set()
    of_variables = {
        (one.variable, place)
        for one in compared.leading[:MOST]
        for place in (one.location, one.began.location)
    }
    of_collectives = {("", one.location) for one in compared.collectives if one.count}
    return {
        ExpectedFinding(UNEXPLAINED, variable, line)
        for variable, place in of_variables | of_collectives
        for line in _lines([place], path)
    }


def _returned(summary: Summary) -> tuple[ReturnedValue, ...]:
    if summary.oracle_result is None:
        return ()
    return compare_returned(summary.result, summary.oracle_result)


class Execution(NamedTuple):
    """The records of a run of a program."""

    history: History
    oracle: History | None
    returned: tuple[ReturnedValue, ...]  # what the program returned, compared with the oracle
    failure: str


@contextmanager
def execution(
    path: Path, text: str, out: Path, variables: Mapping[str, VariableSettings] | None = None
) -> Iterator[Execution]:
    """Run a program, and open its records.

    Args:
        text: The text of the program.
        variables: Settings that override those of the program.
    """
    replicas = _REPLICAS.search(text)
    assert replicas, f"{path} has no line REPLICAS = …"
    experiment = Experiment(
        workload=str(path),
        workers=int(replicas[1]),
        oracle=_ORACLE.search(text) is not None,
        variables=dict(variables or {}),
        out=str(out),
    )
    if _PROCESSES.search(text):
        summary = run_experiment(experiment)
    else:
        with ExitStack() as stack:
            stack.enter_context(simulated_cluster())
            stack.enter_context(patch.object(trace, "time", _ProcessorClock))
            if _WAITS.search(text):  # these times do show the work of each replica
                stack.enter_context(patch.object(notices, "simulated"))
            summary = run_experiment(experiment)
    failure = "" if summary.status is RunStatus.DONE else str(summary.failure)
    folder = Path(summary.directory)
    with open_history(folder) as history, open_oracle(folder) as oracle:
        yield Execution(history, oracle, _returned(summary), failure)


def lines_of(findings: Sequence[Finding], path: Path, history: History) -> list[set[int]]:
    """Return, for each finding, the lines of the program that it or one of its events names."""
    locations = {
        event.event: event.location
        for one in findings
        for event in history.events(f"event IN ({', '.join(map(str, one.events))})")
    }
    return [
        _lines(
            [
                *(location for location, _ in one.locations),
                *(locations[event] for event in one.events),
            ],
            path,
        )
        for one in findings
    ]


def _lines(locations: Iterable[str | None], path: Path) -> set[int]:
    """Return the numbers of the lines of a program among some locations."""
    return {
        int(line)
        for location in locations
        if location and (file := location.rpartition(":"))[0].endswith(path.name)
        for line in file[2:]
    }
