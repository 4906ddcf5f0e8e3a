"""The seam between a cluster and what carries it: who starts workers, and how messages travel."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from varsim.protocol.messages import Message, Payload
from varsim.protocol.references import References
from varsim.spec import Array
from varsim.sync.actions import Reduce
from varsim.sync.events import ReductionDone
from varsim.tracing.trace import Trace, TraceOptions


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """What a program may say about how its workers are started."""

    cluster_id: int  # names the cluster within its program
    devices: tuple[str, ...]  # one per replica, as the program named them
    transport: str = "ipc"  # or "tcp": loopback with CURVE
    exchange: str = "auto"  # "star", "shared", or what fits
    log_dir: Path | None = None  # for each worker's log; a private directory if None
    start_timeout_s: float = 60.0
    trace: TraceOptions | None = None  # what every process records, if anything
    seed: int | None = None  # of each worker's global generators; None: they differ at every start


@dataclass(frozen=True, slots=True)
class Lost:
    """Instead of a message: a worker process has ended."""

    reason: str  # "exited with code 3", "was killed by SIGKILL"
    stderr_tail: str
    log_path: str


Arrival = Message | Lost | ReductionDone
"""What `Link.receive` brings; a `ReductionDone` comes from no replica."""


class Link(Protocol):
    """The coordinator's end of the connections to all workers of one cluster."""

    trace: Trace | None
    """Where the program's process records what it does."""

    validates: bool
    """Whether the coordinator checks its state after every event, as tests do."""

    @property
    def num_replicas(self) -> int:
        """How many workers there are; their replica ids are 0…num_replicas−1."""

    def send(self, replica_id: int, messages: Sequence[Message]) -> None:
        """Sends an envelope. Never blocks for long; a dead worker is reported by `receive`."""

    def receive(self, timeout_s: float) -> list[tuple[int, Arrival]]:
        """Waits for messages, and returns all that are there, in order of arrival.

        Returns an empty list after `timeout_s`. A worker is reported lost once.
        """

    def now_s(self) -> float:
        """The time on a steady clock, in seconds."""

    def reduce(self, request: Reduce) -> Array | None:
        """Compute a reduction. If workers compute a part of it, return None.

        Then `receive` brings the `ReductionDone`, unless another request has replaced this one.
        """

    def pack(self, value: Any) -> Payload:
        """Makes a structure of Python values ready to travel."""

    def unpack(self, payload: Payload) -> Any:
        """The value that a worker packed."""

    def where(self, replica_id: int) -> str | None:
        """file:line at which a replica's function is now; None if that cannot be seen."""

    def close(self, busy: Collection[int] = ()) -> None:
        """Ends all workers and frees everything. Does nothing the second time.

        Args:
            busy: Replicas that are known not to listen: they are not waited for.
        """


class WorkerLink(Protocol):
    """A worker's end of its connection to the coordinator."""

    cluster_id: int
    replica_id: int
    num_replicas: int
    devices: tuple[str, ...]  # of all replicas, as the program named them
    references: References  # for `pack` and `unpack`; whoever serves the link sets it
    trace: Trace | None  # where this process records what it does

    def send(self, messages: Sequence[Message]) -> None:
        """Sends an envelope; arrays in it must not be written to before it is answered."""

    def receive(self, timeout_s: float | None) -> list[Message]:
        """Waits for messages, and returns all that are there, in order.

        Returns an empty list after `timeout_s`; None waits until the process is ended.
        """

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
        """An uninitialised array that is to be sent: where the other end sees it, if that pays."""

    def pack(self, value: Any) -> Payload:
        """Makes a structure of Python values ready to travel."""

    def unpack(self, payload: Payload) -> Any:
        """The value that the coordinator packed."""

    def take_output(self) -> str:
        """What was printed since the last call; if that is long, the end of it."""


class Launcher(Protocol):
    """Starts the workers of a cluster."""

    def launch(self, options: LaunchOptions, references: References) -> Link:
        """Starts one worker per device, and returns when all are ready.

        Raises:
            StartError: A worker did not come up; the text says which and what it said.
        """
