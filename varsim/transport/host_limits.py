"""Measure how much address space the system still allows this process."""

from __future__ import annotations

import mmap
import resource
from pathlib import Path
from typing import Final

ADDRESSES_BYTES: Final = 2**28
"""The address space that a process of a cluster needs, apart from shared memory. Each thread of
ZeroMQ reserves 64 MiB for its memory, and more for its stack."""


def address_space() -> int | None:
    """Return how many more bytes of address space this process may use; None if unlimited."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    except OSError:  # not Linux
        used = 0
    return max(0, soft - used)
