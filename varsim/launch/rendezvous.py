"""Encode a coordinator's settings for the processes that it starts, as one line of JSON.

The line goes through a pipe: it can hold secret keys, and other users can read a process's
arguments and environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from varsim.exchange.exchange import Handover
from varsim.launch.dataclass_json import from_json, to_json
from varsim.launch.launcher import LaunchOptions

ENTRY_POINT: Final = "varsim.distribute.program_functions:serve"
"""The function that a worker calls with its `WorkerLink`, as `module:function`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendezvous:
    """The address of the coordinator for each worker, and settings needed before it connects."""

    options: LaunchOptions  # all of them, as the program gave them
    addresses: tuple[str, ...]  # where each worker connects; see `transport.Listener`
    entry_point: str
    search_path: tuple[str, ...]  # the program's sys.path, so that workers find its modules
    log_dir: str
    private_dir: str  # the fork server removes it if the coordinator cannot
    coordinator_pid: int
    exchange: str  # its name; never "auto"
    handover: Handover  # values that workers need to take part in it

    def to_line(self) -> bytes:
        """Return one line, for `from_line`."""
        return to_json(self).encode("ascii") + b"\n"

    @staticmethod
    def from_line(line: bytes) -> Rendezvous:
        """Return the rendezvous of a line of `to_line`."""
        return from_json(Rendezvous, line)


def log_name(replica_id: int) -> str:
    """Return the name of a worker's log file."""
    return f"worker-{replica_id}.log"
