"""The workers' ends of the exchange "chain"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from varsim.exchange.shared import SharedWorker
from varsim.protocol.buffers import Memory, SharedReference
from varsim.protocol.messages import Contribution, Message
from varsim.spec import Array
from varsim.transport.arena import Arena
from varsim.transport.leases import Leases

CHAIN_FROM_BYTES: Final = 256 * 1024
"""Smaller contributions are sent through sockets to the coordinator, on every network.

Measured by `benchmarks/hosts.py` with two workers on each host, as a step with `chain` and with
`star`. At 1 Gbit/s, 256 KiB took 4.3 ms with both on two hosts, and 8.7 and 8.9 ms on three; 1 MiB
took 11.5 and 26.4 ms, and 21.6 and 46.6 ms. At 20 Gbit/s, 256 KiB took 7.3 and 8.1 ms on two hosts.
"""

_MORE_BYTES_PER_S: Final = 30 * 2**20
"""How much larger contributions must be for each second of a round trip between two hosts.

A chain has more messages one after another. Measured with delays of 10 ms and of 40 ms in each
direction: both exchanges took the same time at 0.8 MiB and at 2.5 MiB.
"""


def chain_from_bytes(round_trip_s: float) -> int:
    """Return from which size on hosts reduce contributions."""
    return CHAIN_FROM_BYTES + int(_MORE_BYTES_PER_S * round_trip_s)


class ChainWorker(SharedWorker):
    """A worker's end: only large contributions are sent as references.

    Args:
        from_bytes: From which size on contributions are large.
    """

    def __init__(self, memory: Arena, from_bytes: int) -> None:
        super().__init__(memory)
        self._from_bytes = from_bytes

    def _memory_for(self, messages: Sequence[Message]) -> Memory:
        return _OnlyContributions(self._leases, messages, self._from_bytes)


class _OnlyContributions:
    """The memory for one envelope."""

    def __init__(self, leases: Leases, messages: Sequence[Message], from_bytes: int) -> None:
        self._leases = leases
        self._shared = {
            id(one)
            for message in messages
            if isinstance(message, Contribution)
            for one in message.buckets
            if one.nbytes >= from_bytes
        }
        self.take_back = leases.take_back
        self.get = leases.get
        self.take_note = leases.take_note

    def put(self, array: Array) -> SharedReference | None:
        """Return a reference to a large contribution; None for all other arrays."""
        return self._leases.put(array) if id(array) in self._shared else None
