"""What the processes that a benchmark has started are, and hold: from /proc, so Linux only."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def leaves() -> list[int]:
    """Descendants of this process that have no children: workers, and not what has forked them."""
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
    except OSError:  # it has ended meanwhile
        return None
    return int(line.rpartition(")")[2].split()[1])  # a name may hold anything, parentheses too


def own_bytes(process_id: int) -> int:
    """A process's proportional set size: its own memory, and its share of what it shares."""
    lines = (PROC / str(process_id) / "smaps_rollup").read_text("utf-8").splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("Pss:"))
    return int(kib) * 1024


def peak_bytes() -> int:
    """The most memory that this process has had: of its own program, not of what started it."""
    lines = (PROC / "self" / "status").read_text("utf-8").splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kib) * 1024
