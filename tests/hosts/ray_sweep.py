"""Measure the overhead of a sweep whose points run on the nodes of a Ray cluster on test hosts.

    python -m tests.hosts.ray_sweep

It prints, for each of 8 points on three nodes, where it ran, the time of its run, and the
scheduling overhead: how long its place on the node was kept beside the run. Then it prints the time
of the whole sweep, and that of the same sweep on one host, one point after the other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

from tests.hosts.lab import Lab
from tests.hosts.namespaces import why_impossible
from tests.hosts.ray_cluster import RayCluster, ray_cluster, why_no_ray

_WORDS: Final = ("mode=on_write,on_read", "seed=0..3", "workers=2")


def main() -> None:
    """Measure on three nodes."""
    if why := why_impossible() or why_no_ray():
        raise SystemExit(why)
    with Lab(3) as lab, ray_cluster(lab) as cluster, tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "spread")
        spread_s = _sweep(cluster, out, "--spread", "ray", "--address", cluster.address)
        points = json.loads((out / "latest-sweep/sweep.json").read_text())["points"]
        for one in points:
            print(
                f"point {one['number']} on {one['node']}: run {one['seconds']:.2f} s, "
                f"overhead {one['overhead_s']:.2f} s"
            )
        overheads = [one["overhead_s"] for one in points]
        print(
            f"overhead per point: median {median(overheads):.2f} s, "
            f"from {min(overheads):.2f} to {max(overheads):.2f} s"
        )
        local_s = _sweep(cluster, Path(folder, "local"))
        print(f"whole sweep: {spread_s:.1f} s; on one host, one after the other: {local_s:.1f} s")


def _sweep(cluster: RayCluster, out: Path, *options: str) -> float:
    """Run the sweep; return its time in seconds."""
    began_s = time.monotonic()
    command = ["-m", "varsim", "sweep", "--quiet", *_WORDS, *options, "--out", str(out)]
    process = cluster.popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    if process.wait():
        raise SystemExit(f"the sweep ended with code {process.returncode}")
    return time.monotonic() - began_s


if __name__ == "__main__":
    main()
