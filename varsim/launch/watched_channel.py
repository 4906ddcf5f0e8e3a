"""A channel whose owner is called around every wait of the program for messages."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from varsim.launch.link import Channel, Lost, Received
from varsim.protocol.messages import Message
from varsim.sync.stalls import Sighting


class WaitWatcher(Protocol):
    """What is called while the program waits for the processes of a strategy.

    The methods must neither use the strategy nor raise an error. Their times are those of the
    channel, in seconds.
    """

    def before(self, now_s: float) -> float:
        """Handle the begin of a wait; return after how many seconds to call this method again."""

    def after(self, now_s: float) -> None:
        """Handle the end of a wait."""


class WatchedChannel:
    """A channel that calls a watcher before and after each wait, at regular times in long waits."""

    def __init__(self, channel: Channel, watcher: WaitWatcher) -> None:
        self._channel = channel
        self._watcher = watcher

    @property
    def num_replicas(self) -> int:
        """Return the number of workers."""
        return self._channel.num_replicas

    def send(self, replica_id: int, messages: Sequence[Message]) -> None:
        """Send an envelope; see `Channel`."""
        self._channel.send(replica_id, messages)

    def receive(self, timeout_s: float) -> list[tuple[int, Received]]:
        """Wait for messages; see `Channel`. Call the watcher, unless the call does not wait."""
        while timeout_s > 0:
            began_s = self._channel.now_s()
            part_s = min(timeout_s, self._watcher.before(began_s))
            arrivals = self._channel.receive(part_s)
            ended_s = self._channel.now_s()
            self._watcher.after(ended_s)
            waited_s = ended_s - began_s
            if arrivals or part_s == timeout_s or waited_s < part_s:
                return arrivals
            timeout_s -= waited_s
        return self._channel.receive(timeout_s)

    def await_room(self, timeout_s: float) -> Collection[int]:
        """Wait until the workers have received most of the bytes; see `Channel`."""
        return self._channel.await_room(timeout_s)

    def now_s(self) -> float:
        """Return the time on the clock of the channel."""
        return self._channel.now_s()

    def where(self, replica_id: int) -> str | None:
        """Return the line that a replica's function runs now; see `Channel`."""
        return self._channel.where(replica_id)

    def examine(
        self, replica_ids: Sequence[int], with_stacks: Collection[int]
    ) -> Mapping[int, Sighting]:
        """Return what the system shows about replicas' processes; see `Channel`."""
        return self._channel.examine(replica_ids, with_stacks)

    def end(self, replica_id: int, reason: str) -> Lost | None:
        """End the worker of a replica; see `Channel`."""
        return self._channel.end(replica_id, reason)

    def close(self, busy: Collection[int] = ()) -> None:
        """End all workers; see `Channel`."""
        self._channel.close(busy)
