"""The coordinator's knowledge of the writes of one deferred variable."""

from __future__ import annotations

from dataclasses import dataclass, field

from varsim.protocol.messages import Delta
from varsim.sync.deferred import WriteCount


@dataclass(slots=True)
class Deferral:
    """What the coordinator knows of the writes of one deferred variable.

    Writes are exchanged up to a *watermark*, which is a number of writes: a reader waits for the
    value after this number of writes. The lowest watermark is exchanged first. `deltas` and
    `requested` belong to the lowest watermark.
    """

    reported: list[WriteCount]  # the last write count that each replica has sent
    settled: list[WriteCount]  # the write counts of the last exchange
    lost: int = 0  # per replica, the number of writes that can never be exchanged
    watermarks: dict[int, list[float]] = field(default_factory=dict)
    """Watermark → the times at which its readers began to wait."""

    deltas: dict[int, Delta] = field(default_factory=dict)  # replica_id → delta
    requested: dict[int, int] = field(default_factory=dict)  # replica_id → request_id

    @property
    def exchanged(self) -> int:
        """Return how many writes of every replica are exchanged."""
        return self.settled[0].count

    @property
    def unexchanged(self) -> int:
        """Return the largest number of later writes of one replica."""
        return max(write_count.count for write_count in self.reported) - self.exchanged

    def want(self, count: int, now_s: float) -> None:
        """Record that a reader waits for the result of the first `count` writes."""
        if self.watermarks and count < min(self.watermarks):
            self.deltas.clear()
            self.requested.clear()  # answers to these requests are ignored: the watermark changed
        self.watermarks.setdefault(count, []).append(now_s)

    def close(self) -> None:
        """Record that no reader waits any longer."""
        self.watermarks.clear()
        self.deltas.clear()
        self.requested.clear()
