"""Run every built-in workload in every mode on three hosts, and compare it with one host.

`python -m tests.hosts.launchers` prints a table. A cell says how many recorded writes, reads and
commits have the same values, bit for bit, as a run on one host, or what differs. Modes whose values
depend on the order of arrival can differ between two runs on one host, too: then a cell says so.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.hosts.engine_lab import EngineLab, why_no_engines
from tests.hosts.namespaces import why_impossible
from tests.hosts.runs_on_hosts import LOCAL, RunOnHosts, finish, run, start
from varsim.experiments.catalog import built_in

MODES: Final = (
    "",  # that of the workload
    "on_write",
    "on_read",
    "none",
    "bounded_staleness:2",
    "central",
    "compressed:on_write:top_k:0.1",
    "local_sgd:4",
    "adaptive",
)
OF_MPIRUN: Final = ("", "on_write", "on_read")
"""The modes that are run with mpirun, too."""

BY_ARRIVAL: Final = ("bounded_staleness:2", "central")
"""Modes in which replicas add to one value in the order of arrival."""

WORKERS: Final = 6
_STEPS: Final = 22
_WRONG_USE: Final = 2


def arguments(workload: str, mode: str) -> list[str]:
    """Return the options of `varsim run`."""
    chosen = ("--mode", mode) if mode else ()
    return ["--workload", workload, "--workers", f"{WORKERS}", "--steps", f"{_STEPS}", *chosen]


def main() -> None:
    """Print the table; exit with 1 if values differ."""
    if why := why_impossible() or why_no_engines():
        raise SystemExit(why)
    differ = 0
    print("| workload | mode | ssh | mpirun |\n| --- | --- | --- | --- |", flush=True)
    with EngineLab(3) as engines:
        for workload in built_in():
            for mode in MODES:
                with TemporaryDirectory() as folder:
                    cells, are_equal = _row(engines, workload, mode, Path(folder))
                differ += not are_equal
                print(f"| {workload} | {mode or '–'} | {' | '.join(cells)} |", flush=True)
    sys.exit(1 if differ else 0)


def _row(engines: EngineLab, workload: str, mode: str, folder: Path) -> tuple[list[str], bool]:
    options = arguments(workload, mode)
    local = run(engines, LOCAL, options, folder / LOCAL)
    if local.code == _WRONG_USE:  # this workload has no free variables, or not this mode
        return ["not possible", "not possible"], True
    cells, are_equal = [], True
    for launcher in ("ssh", "mpirun"):
        if launcher == "mpirun" and mode not in OF_MPIRUN:
            cells.append("not run")
            continue
        process = start(engines, launcher, options, folder / launcher)
        there = finish(process, folder / launcher)
        cell, is_equal = _cell(local, there, may_differ=mode in BY_ARRIVAL)
        if left := [*engines.processes().values(), *engines.files()]:
            cell, is_equal = f"{cell}; left: {left}", False
        cells.append(cell)
        are_equal = are_equal and is_equal
    return cells, are_equal


def _cell(local: RunOnHosts, there: RunOnHosts, *, may_differ: bool) -> tuple[str, bool]:
    different = local.differences(there)
    if not different:
        result = "equal" if local.code == 0 else f"equal, exit code {local.code}"
        return f"{result}: {len(there.events):,} ({there.checksum})", True
    if may_differ and local.code == there.code == 0:
        return "differs by the order of arrival", True
    return f"DIFFERENT: {different[0]}", False


if __name__ == "__main__":
    main()
