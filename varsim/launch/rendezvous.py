"""Encode the settings for the processes of a cluster as one line of JSON.

The line is sent through a pipe, because it can contain secret keys: other users of the machine can
read the arguments of a process.
"""

from __future__ import annotations

from typing import Final

from varsim.exchange.exchange import Handover
from varsim.launch.dataclass_json import from_json, to_json
from varsim.launch.launcher import LaunchOptions
from varsim.value_class import value_class

ENTRY_POINT: Final = "varsim.distribute.program_functions:serve"
"""The function that a worker calls with its `WorkerLink`, in the form `module:function`."""


@value_class(kw_only=True)
class Rendezvous:
    """The settings that the fork server and the workers need."""

    options: LaunchOptions  # the program's options, unchanged
    addresses: tuple[str, ...]  # one per worker of the cluster; see `transport.Listener`
    replica_ids: tuple[int, int]  # (first, end): the replicas first to end - 1 are on this host
    entry_point: str
    search_path: tuple[str, ...]  # the program's sys.path, so that workers find its modules
    log_dir: str
    private_dir: str
    exchange: str  # the name of the exchange; never "auto"
    handover: Handover  # values that workers need to take part in the exchange

    def to_line(self) -> bytes:
        """Return the rendezvous as one line, which `from_line` reads."""
        return to_json(self).encode("ascii") + b"\n"

    @staticmethod
    def from_line(line: bytes) -> Rendezvous:
        """Return the rendezvous from a line that `to_line` has returned."""
        return from_json(Rendezvous, line)


def log_name(replica_id: int) -> str:
    """Return the name of a worker's log file."""
    return f"worker-{replica_id}.log"
