"""Define both ends of the link between a coordinator and its workers; each end has four parts.

A *channel* carries messages. An *exchange* stores and reduces arrays. A *codec* converts Python
values to payloads and back. A *recorder* writes the trace of the process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from varsim.protocol.messages import Message, Payload
from varsim.spec import Array
from varsim.sync.actions import Reduce
from varsim.sync.coordinator_events import OperandsLost, ReductionDone
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.stalls import Sighting
from varsim.texts.losses import LostWorker
from varsim.tracing.host_traffic import HostTraffic
from varsim.tracing.trace import Trace, TraceOptions
from varsim.transport.link_faults import LinkFaults
from varsim.value_class import value_class


class Codec(Protocol):
    """Converts structures of Python values to payloads of messages, and back."""

    def pack(self, value: Any) -> Payload:
        """Return a structure of Python values as a payload."""

    def unpack(self, payload: Payload) -> Any:
        """Return the structure that the other end packed."""

    def pack_exception(self, error: BaseException) -> Payload:
        """Return a raised exception as a payload without a pickle."""

    def unpack_exception(self, payload: Payload) -> BaseException:
        """Return the exception that the other end packed.

        Raises:
            Exception: The exception cannot be made in this process.
        """


# ---------------------------------------------------------------- the coordinator's end


@value_class
class Lost:
    """A worker process has ended: `Channel.receive` returns this instead of a message."""

    reason: str  # for example "exited with code 3", "was killed by SIGKILL"
    stderr_tail: str
    log_path: str

    def of(self, replica_id: int) -> LostWorker:
        """Return this loss together with the replica's id."""
        return LostWorker(replica_id, self.reason, self.stderr_tail, self.log_path)


Received = Message | Lost | ReductionDone | OperandsLost
"""An item that `Channel.receive` returns. The end of a reduction comes from the exchange."""


class Channel(Protocol):
    """Carries messages between the coordinator and all workers of one cluster."""

    @property
    def num_replicas(self) -> int:
        """Return the number of workers; their replica ids are 0…num_replicas−1."""

    def send(self, replica_id: int, messages: Sequence[Message]) -> None:
        """Send an envelope without waiting. If the worker has died, `receive` reports it."""

    def receive(self, timeout_s: float) -> list[tuple[int, Received]]:
        """Wait for messages, and return all received messages, in order of arrival.

        Returns an empty list after `timeout_s`. A lost worker is reported only once.
        """

    def await_room(self, timeout_s: float) -> Collection[int]:
        """Wait until every worker has received most of the bytes that were sent to it.

        Returns the replicas whose workers have not received these bytes after `timeout_s`.
        """

    def now_s(self) -> float:
        """Return the time on the steady clock that measures timeouts, in seconds."""

    def where(self, replica_id: int) -> str | None:
        """Return the line that a replica's function runs now, as file:line; None if unknown."""

    def examine(
        self, replica_ids: Sequence[int], with_stacks: Collection[int]
    ) -> Mapping[int, Sighting]:
        """Return what the system shows about replicas' processes; leave out ended processes.

        Args:
            with_stacks: The replicas whose stacks are needed, too.
        """

    def end(self, replica_id: int, reason: str) -> Lost | None:
        """End the worker of a replica without progress; return None if it has already ended.

        `receive` does not report this worker as lost.
        """

    def close(self, busy: Collection[int] = ()) -> None:
        """End all workers and free everything. Further calls do nothing.

        Args:
            busy: Replicas that run user code now, so that `close` must not wait for them.
        """


class Reducer(Protocol):
    """The part of an exchange that the coordinator's shell uses."""

    def reduce(self, request: Reduce, now_s: float) -> Array | None:
        """Return the value of a reduction; None if `Channel.receive` will return it.

        A new request cancels an unfinished request. The value of a cancelled request never arrives.
        """

    def fill(self) -> bool:
        """Simulate that shared memory is full; return False if this exchange has none."""

    def obtain(self, values: Sequence[Array]) -> Sequence[Array] | None:
        """Return contributions with their bytes; None if they were on a host that is lost."""


class Observer(Protocol):
    """Inspects the coordinator's state, for simulations and tests."""

    def handled(self, state: CoordinatorState) -> None:
        """Inspect the state, which has just handled an event."""


@value_class
class Link:
    """The coordinator's end, which a launcher returns."""

    channel: Channel
    exchange: Reducer
    codec: Codec
    recorder: Trace | None = None  # writes the trace of the program's process
    observer: Observer | None = None
    hosts: tuple[str, ...] = ()
    """The name of each worker's host, in replica order; () if all run on the program's host."""
    traffic: Callable[[], HostTraffic | None] | None = None
    """Returns what these hosts sent to each other until now, without delays; None without hosts."""
    exchange_name: str = ""
    """The name of the exchange, never "auto"; "" if the processes are simulated."""


# ---------------------------------------------------------------- a worker's end


class WorkerChannel(Protocol):
    """Carries messages between a worker and the coordinator."""

    def send(self, messages: Sequence[Message]) -> None:
        """Send an envelope. Do not write to its arrays before the answer arrives."""

    def receive(self, timeout_s: float | None) -> list[list[Message]]:
        """Wait for envelopes, and return the messages of each received envelope, in order.

        The caller records an envelope when it handles the envelope. The method returns an empty
        list after `timeout_s`. If `timeout_s` is None, the wait has no limit. For an envelope that
        was only for the exchange, the list of messages is empty.
        """

    @property
    def link_faults(self) -> LinkFaults | None:
        """Return the object that injects faults; None if links of this transport lose nothing."""

    @property
    def sockets(self) -> tuple[Any, ...]:
        """Return the sockets to poll before `receive`, for a process with more than one channel."""


class Allocator(Protocol):
    """The part of an exchange that a worker's shell uses."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
        """Return an uninitialised array to fill and send."""

    def fill(self) -> bool:
        """Simulate that shared memory is full; return False if this exchange has none."""


@value_class(kw_only=True)
class WorkerLink:
    """A worker's end, without the codec: only the worker's entry point can create the codec."""

    cluster_id: int
    replica_id: int
    devices: tuple[str, ...]  # the devices of all replicas, with the program's names
    strategy: str  # the name of the class of the program's strategy
    channel: WorkerChannel
    exchange: Allocator
    recorder: Trace | None  # writes the trace of this process
    take_output: Callable[[], str]
    """Returns the output of user code since the last call, or the end of a long output."""
    servers: int = 0
    """The number of parameter servers, which are the last processes."""
    server_trace: TraceOptions | None = None
    """What a parameter server records."""
    directory: str = ""
    """The private directory of the cluster; "" if its processes are simulated."""

    @property
    def num_replicas(self) -> int:
        """Return the number of workers of the cluster."""
        return len(self.devices)
