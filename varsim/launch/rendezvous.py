"""What a coordinator tells the processes that it starts, in one line of JSON.

It goes through a pipe, never into arguments or the environment, which other users can read: it
holds secret keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from varsim.exchange.exchange import Handover
from varsim.launch.as_json import from_json, to_json
from varsim.launch.launcher import LaunchOptions

ENTRY_POINT: Final = "varsim.distribute.program_functions:serve"
"""What a worker runs, as `module:function`; it is given a `WorkerLink`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendezvous:
    """Where workers find their coordinator, and what they must know before they connect."""

    options: LaunchOptions  # as the program gave them, all of them
    addresses: tuple[str, ...]  # where each worker connects; see `transport.Listener`
    entry_point: str
    search_path: tuple[str, ...]  # the program's sys.path, so that its modules are found
    log_dir: str
    private_dir: str  # removed by the fork server if the coordinator cannot
    coordinator_pid: int
    exchange: str  # its name; never "auto"
    handover: Handover  # what workers need to take part in it

    def to_line(self) -> bytes:
        """One line, which `from_line` takes."""
        return to_json(self).encode("ascii") + b"\n"

    @staticmethod
    def from_line(line: bytes) -> Rendezvous:
        """What `to_line` was called on."""
        return from_json(Rendezvous, line)


def log_name(replica_id: int) -> str:
    """The name of a worker's log file."""
    return f"worker-{replica_id}.log"
