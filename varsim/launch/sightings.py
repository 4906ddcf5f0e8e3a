"""Read the processor time of a replica's process, and whether the process is stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from varsim.sync.stalls import Sighting

_STATE: Final = 0  # index in the fields after the name of the process; see proc(5)
_USER_TICKS: Final = 11
_SYSTEM_TICKS: Final = 12
_STOPPED: Final = "Tt"  # the states of a process that a signal or a debugger has stopped


def sighting_of(process_id: int) -> Sighting:
    """Return what the system shows about a process. Without /proc, this is only the process id."""
    try:
        text = Path(f"/proc/{process_id}/stat").read_text("ascii", "replace")
    except OSError:  # another system, or the process has ended
        return Sighting(process_id)
    fields = text.rpartition(")")[2].split()  # the name can contain blanks
    ticks = int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
    processor_s = ticks / os.sysconf("SC_CLK_TCK")
    stopped = fields[_STATE] in _STOPPED
    return Sighting(process_id, processor_s, _ready_s(process_id), stopped)


def _ready_s(process_id: int) -> float | None:
    """Return how long the main thread has computed or waited for a processor; None if unknown."""
    try:
        text = Path(f"/proc/{process_id}/schedstat").read_text("ascii")
    except OSError:  # the kernel does not measure this time, or the process has ended
        return None
    computed_ns, waited_ns, *_ = map(int, text.split())
    return (computed_ns + waited_ns) / 1e9
