"""An exchange and a launcher as another package would define them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from varsim.exchange.exchange import Handover
from varsim.exchange.star import StarCoordinator, StarWorker
from varsim.launch.launcher import LaunchOptions
from varsim.launch.link import Link
from varsim.launch.process import ProcessLauncher
from varsim.protocol.buffers import Frame
from varsim.protocol.limits import Buffer
from varsim.protocol.messages import Message
from varsim.protocol.references import References
from varsim.spec import Array
from varsim.sync.actions import Reduce
from varsim.transport.transport import Transport


class Zipped:
    """An exchange whose frames are compressed."""

    def problem(self, transport: Transport) -> str:
        return ""

    def open(self, num_replicas: int) -> ZippedCoordinator:
        return ZippedCoordinator(num_replicas)

    def join(self, handover: Handover, replica_id: int, num_replicas: int) -> ZippedWorker:
        assert "level 1" == handover.settings
        return ZippedWorker()


class ZippedCoordinator:
    """The coordinator's part of the exchange."""

    handover = Handover(settings="level 1")
    deadline_s = None
    operands: ClassVar[list[int]] = []  # the number of operands of each reduction

    def __init__(self, num_replicas: int) -> None:
        self._star = StarCoordinator(num_replicas)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._star, name)

    def encode(self, replica_id: int, messages: Sequence[Message]) -> list[Frame]:
        return zipped(self._star.encode(replica_id, messages))

    def decode(self, replica_id: int, frames: Sequence[Buffer]) -> list[Message]:
        return self._star.decode(replica_id, unzipped(frames))

    def reduce(self, request: Reduce, now_s: float) -> Array:
        self.operands.append(len(request.operands))
        return self._star.reduce(request, now_s)


class ZippedWorker:
    """A worker's part of the exchange."""

    def __init__(self) -> None:
        self._star = StarWorker()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
        return self._star.empty(shape, dtype)

    def encode(self, messages: Sequence[Message]) -> list[Frame]:
        return zipped(self._star.encode(messages))

    def decode(self, frames: Sequence[Buffer]) -> tuple[list[Message], list[Message]]:
        return self._star.decode(unzipped(frames))

    def before_waiting(self) -> list[Frame]:
        return []


def zipped(frames: Sequence[Frame]) -> list[Frame]:
    return [zlib.compress(frame, 1) for frame in frames]


def unzipped(frames: Sequence[Buffer]) -> list[Buffer]:
    return [zlib.decompress(frame) for frame in frames]


class Noted:
    """A launcher that records the options of each launch."""

    launched: ClassVar[list[LaunchOptions]] = []

    def launch(self, options: LaunchOptions, references: References) -> Link:
        self.launched.append(options)
        return ProcessLauncher().launch(options, references)
