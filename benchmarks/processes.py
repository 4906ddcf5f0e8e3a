"""Find the processes of a benchmark, and their memory, in /proc. This works only on Linux."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def leaves() -> list[int]:
    """Return the descendants of this process that have no children: the workers."""
    children: dict[int, list[int]] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit() and (parent := _parent(folder)) is not None:
            children.setdefault(parent, []).append(int(folder.name))
    found, waiting = [], children.get(os.getpid(), [])
    while waiting:
        process_id = waiting.pop()
        below = children.get(process_id, [])
        waiting += below
        if not below:
            found.append(process_id)
    return sorted(found)


def _parent(folder: Path) -> int | None:
    try:
        line = (folder / "stat").read_text("utf-8", errors="replace")
    except OSError:  # the process has ended in the meantime
        return None
    return int(line.rpartition(")")[2].split()[1])  # a program's name may contain parentheses


def own_bytes(process_id: int) -> int:
    """Return a process's own memory and its part of the shared memory (PSS)."""
    lines = (PROC / str(process_id) / "smaps_rollup").read_text("utf-8").splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("Pss:"))
    return int(kib) * 1024


def peak_bytes() -> int:
    """Return the peak memory of this process."""
    lines = (PROC / "self" / "status").read_text("utf-8").splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kib) * 1024
