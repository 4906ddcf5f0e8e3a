"""Measure the memory of this process."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path


def resident_bytes() -> int:
    """Return the memory of this process, and reset the value of `peak_bytes`."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    return _status("VmRSS")


def peak_bytes() -> int:
    """Return the largest memory of this process since `resident_bytes`."""
    return _status("VmHWM")


def _status(key: str) -> int:
    """Return a size from the status of this process; 0 if the system has no such size."""
    with suppress(OSError):
        found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
        return int(found[1]) * 1024 if found else 0
    return 0
