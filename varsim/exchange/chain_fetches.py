"""Get the bytes of values from the hosts that have them, for the coordinator's end of a chain."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np

from varsim.errors import ProtocolError
from varsim.exchange.between_hosts import HostLinks, HostMessage
from varsim.exchange.chain_orders import Fetch, packed
from varsim.protocol.buffers import SharedReference
from varsim.protocol.limits import Buffer
from varsim.spec import Array
from varsim.transport.reliable import LOOK_S

FETCH_S: Final = 30.0
"""Time limit for the next message of any host. Then the hosts that have not sent all are lost."""


class Place(NamedTuple):
    """Where a value is."""

    host: int
    reference: SharedReference


def write_part(target: Array, start: int, part: Buffer) -> None:
    """Store a part of a value.

    Args:
        target: The bytes of the value.
        start: The offset of the part.
    Raises:
        ProtocolError: The value has no such part.
    """
    end = start + len(part)
    if not 0 <= start < end <= target.nbytes:
        raise ProtocolError(f"bytes {start} to {end} of a value of {target.nbytes} bytes")
    target[start:end] = np.frombuffer(part, np.uint8)


class Fetches:
    """The values that hosts send now.

    Args:
        tokens: The tokens of the fetches; no other message has one of them.
    """

    def __init__(self, tokens: Iterator[int]) -> None:
        self._tokens = tokens
        self._targets: dict[int, Array] = {}  # token → the bytes of the value
        self._missing_bytes: dict[int, int] = {}
        self._hosts: dict[int, int] = {}  # token → the host that sends the value
        self.lost: set[int] = set()
        """The hosts that are lost."""
        self.heard = 0
        """How many messages of hosts have come, also about values that are not wanted any more."""

    def take(self, token: int, start: int, part: Buffer) -> bool:
        """Store a part; return False if it belongs to no value that is wanted now.

        Raises:
            ProtocolError: The value has no such part.
        """
        target = self._targets.get(token)
        if target is None:
            return False
        write_part(target, start, part)
        self._missing_bytes[token] -= len(part)
        return True

    def fetch(self, wanted: Mapping[Place, Array], links: HostLinks) -> bool:
        """Get values, each into its bytes here; return False if a host is lost."""
        for (host, reference), target in wanted.items():
            token = next(self._tokens)
            self._hosts[token] = host
            self._targets[token], self._missing_bytes[token] = target, target.nbytes
            links.send(host, HostMessage(packed(Fetch(token, reference, target.nbytes))))
        try:
            return self._await(links)
        finally:
            self._hosts.clear()
            self._targets.clear()
            self._missing_bytes.clear()

    def _await(self, links: HostLinks) -> bool:
        heard, until_s = -1, 0.0
        while self.lost.isdisjoint(self._hosts.values()):
            missing = [token for token, size_bytes in self._missing_bytes.items() if size_bytes]
            if not missing:
                return True
            # Messages about an ended reduction can come before the values.
            if self.heard != heard:
                heard, until_s = self.heard, time.monotonic() + FETCH_S
            if time.monotonic() >= until_s:
                for host in {self._hosts[token] for token in missing}:
                    links.lose(host, f"has sent no values for {FETCH_S:g} s")
            links.hear(LOOK_S)
        return False
