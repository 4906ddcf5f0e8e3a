"""Define both ends of the link between a coordinator and its workers; each end has four parts.

A *channel* carries messages, an *exchange* holds and reduces arrays, a *codec* turns Python values
into payloads and back, a *recorder* writes the trace of its process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from varsim.protocol.messages import Message, Payload
from varsim.spec import Array
from varsim.sync.actions import Reduce
from varsim.sync.coordinator_events import ReductionDone
from varsim.sync.coordinator_state import CoordinatorState
from varsim.tracing.trace import Trace


class Codec(Protocol):
    """Turns structures of Python values into payloads of messages, and back."""

    def pack(self, value: Any) -> Payload:
        """Return a structure of Python values, ready to travel."""

    def unpack(self, payload: Payload) -> Any:
        """Return the structure that the other end packed."""


# ---------------------------------------------------------------- the coordinator's end


@dataclass(frozen=True, slots=True)
class Lost:
    """Instead of a message: a worker process has ended."""

    reason: str  # "exited with code 3", "was killed by SIGKILL"
    stderr_tail: str
    log_path: str


Received = Message | Lost | ReductionDone
"""An item that `Channel.receive` returns; no replica sends a `ReductionDone`."""


class Channel(Protocol):
    """Carries messages between the coordinator and all workers of one cluster."""

    @property
    def num_replicas(self) -> int:
        """The number of workers; their replica ids are 0…num_replicas−1."""

    def send(self, replica_id: int, messages: Sequence[Message]) -> None:
        """Send an envelope without waiting; `receive` reports a worker that is dead."""

    def receive(self, timeout_s: float) -> list[tuple[int, Received]]:
        """Wait for messages, and return all that have come, in order of arrival.

        Returns an empty list after `timeout_s`. A worker is reported lost once.
        """

    def now_s(self) -> float:
        """Return the time on a steady clock, in seconds; timeouts are measured on it."""

    def where(self, replica_id: int) -> str | None:
        """Return file:line at which a replica's function is now; None if that is not known."""

    def close(self, busy: Collection[int] = ()) -> None:
        """End all workers and free everything. Do nothing the second time.

        Args:
            busy: Replicas that do not receive messages; `close` does not wait for them.
        """


class Reducer(Protocol):
    """The part of an exchange that the coordinator's shell uses."""

    def reduce(self, request: Reduce, now_s: float) -> Array | None:
        """Return the value of a reduction; None if `Channel.receive` will return it.

        A new request cancels an unfinished one, whose value then never arrives.
        """


class Observer(Protocol):
    """Looks at the coordinator's state, for simulations and tests."""

    def handled(self, state: CoordinatorState) -> None:
        """Look at the state, which has just handled an event."""


@dataclass(frozen=True, slots=True)
class Link:
    """The coordinator's end, as a launcher makes it."""

    channel: Channel
    exchange: Reducer
    codec: Codec
    recorder: Trace | None = None  # of what the program's process does
    observer: Observer | None = None


# ---------------------------------------------------------------- a worker's end


class WorkerChannel(Protocol):
    """Carries messages between a worker and the coordinator."""

    def send(self, messages: Sequence[Message]) -> None:
        """Send an envelope; arrays in it must not be written to before it is answered."""

    def receive(self, timeout_s: float | None) -> list[Message]:
        """Wait for messages, and return all that have come, in order.

        Returns an empty list after `timeout_s`. With None it waits without a limit.
        """


class Allocator(Protocol):
    """The part of an exchange that a worker's shell uses."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
        """Return an uninitialised array that is to be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLink:
    """A worker's end. The entry point makes the codec: it knows the objects that have names."""

    cluster_id: int
    replica_id: int
    devices: tuple[str, ...]  # of all replicas, as the program named them
    channel: WorkerChannel
    exchange: Allocator
    recorder: Trace | None  # of what this process does
    take_output: Callable[[], str]
    """Returns the text that was printed since the last call; only the end of a long text."""

    @property
    def num_replicas(self) -> int:
        """The number of workers of the cluster."""
        return len(self.devices)
