"""Decide what the switch does with each packet: the state of one direction between two hosts.

The state does no I/O and reads no clock, so its rules are tested without namespaces.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, replace
from typing import Final

QUEUE_S: Final = 0.25
"""The longest time that a packet waits for its turn; the switch drops later ones, as routers do.

Shorter queues would lose packets of every connection that starts, longer ones would delay every
packet of a busy connection by more than a network does.
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a wire treats packets. By default it delivers each packet at once."""

    delay_s: float = 0.0
    jitter_s: float = 0.0  # each packet takes up to so much longer; packets keep their order
    bit_per_s: float | None = None  # None: no limit
    loss: float = 0.0  # the probability that a packet is lost
    is_cut: bool = False  # all packets are lost, also those on their way

    def __post_init__(self) -> None:
        """Refuse values that have no meaning.

        Raises:
            ValueError: A value is out of its range; the text names it.
        """
        for name in ("delay_s", "jitter_s"):
            if not 0.0 <= getattr(self, name) < 3600.0:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected seconds from 0 to 3600")
        if self.bit_per_s is not None and not self.bit_per_s > 0.0:
            raise ValueError(f"bit_per_s={self.bit_per_s!r}: expected more than 0, or None")
        if not 0.0 <= self.loss <= 1.0:
            raise ValueError(f"loss={self.loss!r}: expected a probability from 0 to 1")


@dataclass(slots=True)
class Counts:
    """What has happened to the packets of a wire. Bytes are those of IP packets."""

    offered: int = 0  # packets that the sender's host has sent
    offered_bytes: int = 0
    delivered: int = 0
    delivered_bytes: int = 0
    lost: int = 0  # by `Shape.loss`
    cut: int = 0  # by `Shape.is_cut`, or because the receiver's device is down
    overflowed: int = 0  # the queue was full


class Wire:
    """One direction between two hosts.

    Args:
        seed: Wires with the same seed lose the same packets, counted from the first one.
    """

    def __init__(self, seed: str) -> None:
        self.shape = Shape()
        self.counts = Counts()
        self._losses = random.Random(f"losses {seed}")
        self._jitters = random.Random(f"jitters {seed}")
        self._free_at_s = 0.0  # when the last packet has been sent completely
        self._due_s = 0.0  # when the last packet is delivered

    def change(self, changes: dict[str, object]) -> None:
        """Change some fields of the shape, for all later packets."""
        self.shape = replace(self.shape, **changes)  # type: ignore[arg-type]

    def accept(self, now_s: float, size_bytes: int) -> float | None:
        """Take a packet of the sender's host.

        Returns:
            The time at which the packet is due at the receiver; None: it is lost.
        """
        shape, counts = self.shape, self.counts
        counts.offered += 1
        counts.offered_bytes += size_bytes
        # Every packet draws, so that the losses do not depend on the times of the packets.
        is_lost = self._losses.random() < shape.loss
        if shape.is_cut:
            counts.cut += 1
            return None
        if is_lost:
            counts.lost += 1
            return None
        sent_s = now_s
        if shape.bit_per_s is not None:
            starts_s = max(now_s, self._free_at_s)
            if starts_s - now_s > QUEUE_S:
                counts.overflowed += 1
                return None
            sent_s = self._free_at_s = starts_s + 8.0 * size_bytes / shape.bit_per_s
        jitter_s = self._jitters.random() * shape.jitter_s
        self._due_s = max(self._due_s, sent_s + shape.delay_s + jitter_s)
        return self._due_s

    def deliver(self, size_bytes: int) -> bool:
        """Return whether a packet that is due reaches the receiver; False: the wire is cut."""
        if self.shape.is_cut:
            self.counts.cut += 1
            return False
        self.counts.delivered += 1
        self.counts.delivered_bytes += size_bytes
        return True

    def refuse(self, size_bytes: int) -> None:
        """Record that the receiver's device did not take a packet that `deliver` has counted."""
        self.counts.delivered -= 1
        self.counts.delivered_bytes -= size_bytes
        self.counts.cut += 1

    def report(self) -> dict[str, int]:
        """Return the counts as plain numbers."""
        return asdict(self.counts)
