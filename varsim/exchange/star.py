"""Exchange "star": every array is sent by value, and the coordinator computes all reductions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from varsim.exchange.broadcast import BroadcastCodec
from varsim.exchange.exchange import ExchangeChannel, Handover
from varsim.protocol.buffers import Frame
from varsim.protocol.codec import decode, encode
from varsim.protocol.limits import Buffer
from varsim.protocol.messages import Message
from varsim.spec import Array
from varsim.sync.actions import Reduce
from varsim.sync.coordinator_events import OperandsLost, ReductionDone
from varsim.tracing.host_traffic import Moved
from varsim.transport.transport import Transport


class Star:
    """An exchange that works with every transport and on every system."""

    def problem(self, transport: Transport) -> str:  # noqa: ARG002 - other exchanges use it
        """Return "": this exchange has no requirements."""
        return ""

    def open(self, num_replicas: int) -> StarCoordinator:
        """Return the coordinator's end."""
        return StarCoordinator(num_replicas)

    def join(self, handover: Handover, replica_id: int, num_replicas: int) -> StarWorker:  # noqa: ARG002
        """Return a worker's end."""
        return StarWorker()


class StarCoordinator:
    """The coordinator's end: `reduce` computes and returns each value itself."""

    handover = Handover()
    deadline_s = None
    shared_bytes = 0
    direct: Mapping[tuple[int, int], Moved] = MappingProxyType({})  # envelopes contain all values

    def __init__(self, num_replicas: int) -> None:
        self._codec = BroadcastCodec(num_replicas, None)
        self.encode = self._codec.encode
        self.decode = self._codec.decode
        self.end_round = self._codec.end_round
        self.close = self._codec.close

    def attach(self, channel: ExchangeChannel) -> None:
        """Do nothing: this exchange sends no messages itself."""

    def lose(self, replica_id: int) -> None:
        """Do nothing: this exchange has no state for each worker."""

    def reduce(self, request: Reduce, now_s: float) -> Array:  # noqa: ARG002 - others use it
        """Return the value."""
        return request.computed()

    def obtain(self, values: Sequence[Array]) -> Sequence[Array]:
        """Return contributions, whose bytes this process has."""
        return values

    def look(self, now_s: float) -> None:
        """Do nothing: workers compute no reductions."""

    def finished(self) -> list[ReductionDone | OperandsLost]:
        """Return []: `reduce` has returned every value."""
        return []

    def fill(self) -> bool:
        """Return False: there is no shared memory."""
        return False


class StarWorker:
    """A worker's end."""

    shared_bytes = 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
        """Return an uninitialised array."""
        return np.empty(shape, dtype)

    def fill(self) -> bool:
        """Return False: there is no shared memory."""
        return False

    def encode(self, messages: Sequence[Message]) -> list[Frame]:
        """Return the frames of an envelope."""
        return encode(messages)

    def decode(self, frames: Sequence[Buffer]) -> tuple[list[Message], list[Message]]:
        """Return the messages of an envelope."""
        return decode(frames), []

    def before_waiting(self) -> list[Frame]:
        """Return []: this exchange never sends a separate envelope."""
        return []
