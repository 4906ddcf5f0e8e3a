"""Measure how many bytes and packets the networks of labs carry: one connection, one direction.

    python -m tests.hosts.throughput

It shows which network and MTU a test or a benchmark needs for a rate.
"""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from tests.hosts.lab import Lab
from tests.hosts.namespaces import why_impossible

_BYTES: Final = 32 * 2**20
_READ_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Network:
    """The network of a lab of two hosts."""

    bridged: bool
    mtu: int
    bit_per_s: int | None = None


NETWORKS: Final = (
    Network(bridged=False, mtu=1_500),
    Network(bridged=False, mtu=1_500, bit_per_s=10**8),
    Network(bridged=False, mtu=1_500, bit_per_s=10**9),
    Network(bridged=False, mtu=9_000),
    Network(bridged=False, mtu=9_000, bit_per_s=10**9),
    Network(bridged=True, mtu=1_500),
    Network(bridged=True, mtu=1_500, bit_per_s=10**8),
    Network(bridged=True, mtu=1_500, bit_per_s=10**9),
)


def time_s(lab: Lab) -> float:
    """Return how long `_BYTES` take from host 0 to host 1."""
    with lab.inside(lab.hosts[1]):
        server = socket.create_server((lab.hosts[1].address, 0))
    with lab.inside(lab.hosts[0]):
        sender = socket.create_connection(server.getsockname())
    receiver, _ = server.accept()
    buffer = bytearray(_READ_BYTES)
    with server, sender, receiver, ThreadPoolExecutor(1) as sending:
        start_s = time.monotonic()
        sending.submit(sender.sendall, bytes(_BYTES))
        left = _BYTES
        while left > 0:
            left -= receiver.recv_into(buffer)
        return time.monotonic() - start_s


def row(network: Network) -> str:
    """Return a row of the table."""
    limit = network.bit_per_s
    with Lab(
        2,
        bridged=network.bridged,
        mtu=network.mtu,
        bit_per_s=limit if network.bridged else None,
    ) as lab:
        if not network.bridged:
            lab.switch.shape(bit_per_s=limit)
        needed_s = time_s(lab)
        packets = "–"
        if not network.bridged:
            packets = f"{sum(one.offered for one in lab.switch.counts().values()) / needed_s:,.0f}"
    cells = (
        "bridge" if network.bridged else "switch",
        f"{network.mtu:,}",
        "–" if limit is None else f"{limit / 1e6:,.0f} Mbit/s",
        f"{8 * _BYTES / needed_s / 1e6:,.0f} Mbit/s",
        packets,
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure all networks."""
    if why := why_impossible():
        raise SystemExit(why)
    print("| network | MTU | limit | carried | packets per second |\n| --- |" + " ---: |" * 4)
    for network in NETWORKS:
        print(row(network), flush=True)


if __name__ == "__main__":
    main()
