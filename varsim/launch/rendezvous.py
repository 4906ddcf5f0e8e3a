"""What a coordinator tells the processes that it starts, in one line of JSON.

It goes through a pipe, never into arguments or the environment, which other users can read: it
holds secret keys.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from varsim.tracing.trace import TraceOptions
from varsim.transport.keys import KeyPair
from varsim.transport.sockets import DealerKeys

ENTRY_POINT: Final = "varsim.distribute.replica:serve"
"""What a worker runs, as `module:function`; it is given a `WorkerLink`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendezvous:
    """Where workers find their coordinator, and what they must know before they connect."""

    cluster_id: int
    endpoint: str
    devices: tuple[str, ...]  # one per replica
    entry_point: str
    search_path: tuple[str, ...]  # the program's sys.path, so that its modules are found
    log_dir: str
    private_dir: str  # removed by the nursery if the coordinator cannot
    coordinator_pid: int
    server_key: str = ""  # public; empty without CURVE
    worker_keys: tuple[tuple[str, str], ...] = ()  # (public, secret) of each replica
    arena: int = -1  # descriptor of the shared memory, inherited; -1 if there is none
    arena_limit_bytes: int = 0  # for each process
    trace_dir: str = ""  # where each process records what it does; empty: nowhere
    trace_level: str = ""
    trace_limit_bytes: int = 0  # for each process

    def to_line(self) -> bytes:
        """One line, which `from_line` takes."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"

    @staticmethod
    def from_line(line: bytes) -> Rendezvous:
        """What `to_line` was called on."""
        fields = json.loads(line)
        for name in ("devices", "search_path"):
            fields[name] = tuple(fields[name])
        fields["worker_keys"] = tuple((public, secret) for public, secret in fields["worker_keys"])
        return Rendezvous(**fields)

    @property
    def trace(self) -> TraceOptions | None:
        """What every process records, if anything."""
        if not self.trace_dir:
            return None
        return TraceOptions(Path(self.trace_dir), self.trace_level, self.trace_limit_bytes)

    def keys_of(self, replica_id: int) -> DealerKeys | None:
        """What a worker needs to connect with CURVE; None without."""
        if not self.server_key:
            return None
        public, secret = self.worker_keys[replica_id]
        return DealerKeys(KeyPair(public.encode(), secret.encode()), self.server_key.encode())


def routing_id(replica_id: int) -> bytes:
    """The name of a replica's connection."""
    return b"replica-%d" % replica_id


def log_name(replica_id: int) -> str:
    """The name of a worker's log file."""
    return f"worker-{replica_id}.log"
