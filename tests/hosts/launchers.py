"""Run every built-in workload in every mode on three hosts, and compare it with one host.

`python -m tests.hosts.launchers [WORKLOAD...]` prints a table, with one Ray cluster for all runs by
Ray; without Ray, its cells say so. A cell says how many recorded writes, reads and
commits have the same values, bit for bit, as a run on one host, or what differs. Modes whose values
depend on the order of arrival can differ between two runs on one host, too: then a cell says so.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.hosts.engine_lab import EngineLab, why_no_engines
from tests.hosts.namespaces import why_impossible
from tests.hosts.ray_cluster import ray_for, why_no_ray
from tests.hosts.runs_on_hosts import LOCAL, RAY, RunOnHosts, finish, run, start
from tests.waiting import MS, wait_for
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
LAUNCHERS: Final = ("ssh", "mpirun", RAY)

BY_ARRIVAL: Final = ("bounded_staleness:2", "central")
"""Modes in which replicas add to one value in the order of arrival."""

WORKERS: Final = 6
_STEPS: Final = 22
_WRONG_USE: Final = 2
_LEAVE_S: Final = 10_000 * MS


def arguments(workload: str, mode: str) -> list[str]:
    """Return the options of `varsim run`."""
    chosen = ("--mode", mode) if mode else ()
    return ["--workload", workload, "--workers", f"{WORKERS}", "--steps", f"{_STEPS}", *chosen]


def main() -> None:
    """Print the table; exit with 1 if values differ. Arguments: names of workloads."""
    if why := why_impossible() or why_no_engines():
        raise SystemExit(why)
    differ = 0
    print(f"| workload | mode | {' | '.join(LAUNCHERS)} |", flush=True)
    print(f"| --- | --- |{' --- |' * len(LAUNCHERS)}", flush=True)
    chosen = [one for one in built_in() if one in (sys.argv[1:] or built_in())]
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        engines = stack.enter_context(EngineLab(3))
        if not why_no_ray():
            stack.enter_context(ray_for(engines))
        for workload in chosen:
            for mode in MODES:
                with TemporaryDirectory() as folder:
                    cells, are_equal = _row(engines, workload, mode, Path(folder))
                differ += not are_equal
                counts.update(one.partition(":")[0] for one in cells)
                print(f"| {workload} | {mode or '–'} | {' | '.join(cells)} |", flush=True)
    print(f"\n{', '.join(f'{what}: {count}' for what, count in counts.items())}")
    sys.exit(1 if differ else 0)


def _row(engines: EngineLab, workload: str, mode: str, folder: Path) -> tuple[list[str], bool]:
    options = arguments(workload, mode)
    local = run(engines, LOCAL, options, folder / LOCAL)
    if local.code == _WRONG_USE:  # this workload has no free variables, or not this mode
        return ["not possible"] * len(LAUNCHERS), True
    cells, are_equal = [], True
    for launcher in LAUNCHERS:
        if launcher == RAY and (why := why_no_ray()):
            cells.append(f"not run: {why}")
            continue
        process = start(engines, launcher, options, folder / launcher)
        there = finish(process, folder / launcher)
        cell, is_equal = _cell(local, there, may_differ=mode in BY_ARRIVAL)
        if left := _left(engines):
            cell, is_equal = f"{cell}; left: {left}", False
        cells.append(cell)
        are_equal = are_equal and is_equal
    return cells, are_equal


def _left(engines: EngineLab) -> list[str]:
    """Return the processes and files that are still on the hosts, a while after a run."""
    with suppress(AssertionError):
        wait_for(lambda: not engines.left(), _LEAVE_S)
    return engines.left()


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
