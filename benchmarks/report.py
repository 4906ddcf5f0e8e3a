"""How long does it take to write the HTML report of a run of 6,000 steps?

The digits job trains 6,000 steps on four workers and is recorded and judged. Then new processes
write its report with all charts. The target is 10 s. *processor* is the processor time, which is
more reliable than *took* on a busy machine. *start* is the time of a process that only prints the
version.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Quartiles
from benchmarks.record import Measured, Rows, answer

STEPS = 6_000
ROUNDS = 3
TARGET_S = 10.0


def varsim(folder: Path, *arguments: str) -> tuple[float, float]:
    """Run a command; return its time and its processor time, with those of its children."""
    before, began = os.times(), time.perf_counter()
    command = [sys.executable, "-m", "varsim", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = os.times()
    processor_s = after.children_user + after.children_system
    processor_s -= before.children_user + before.children_system
    return time.perf_counter() - began, processor_s


def measure(workers: int, rounds: int) -> Measured:
    """Make the run, and write its report several times."""
    starts, reports = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        varsim(folder, "run", "digits", "-n", str(workers), "--steps", str(STEPS), "--quiet")
        for _ in range(rounds):
            starts.append(varsim(folder, "--version"))
            reports.append(varsim(folder, "report", "-o", "x.html"))
        size = (folder / "x.html").stat().st_size
    print(f"the report has {size:,} bytes")
    rows: Rows = []
    for what, times, target_s in (("start", starts, None), ("report", reports, TARGET_S)):
        took, processor = (Quartiles.of([one[place] for one in times]) for place in (0, 1))
        row = {"workers": workers, "task": what, "took": took, "processor": processor}
        rows.append({**row, "target": _target(took, target_s)})
    return rows, {}


def _target(took: Quartiles, target_s: float | None) -> str:
    """Return a target, and whether it was met; "" without a target."""
    if target_s is None:
        return ""
    return f"{target_s:.0f} s, {'met' if took.median < target_s else 'missed'}"


def main() -> None:
    """Measure, print, and keep the results if asked."""
    title = f"the report of {STEPS:,} steps on {{workers}} workers"
    answer("report", __doc__, measure, title, rounds=ROUNDS)


if __name__ == "__main__":
    main()
