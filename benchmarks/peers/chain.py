"""Run a host of a chain: the agents' part of an exchange between hosts, without workers.

The arguments are the number of this host, the number of hosts, the address where it listens, how
many replicas each host has, and a private folder in which the hosts leave their addresses. The case
is the size of a value in bytes. In a step, all hosts reduce float32 with MEAN onto an old value.

BENCH_CHUNK_BYTES and BENCH_WINDOW set the size of a chunk and the number of chunks of a window.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.peers.member import Step, check, serve
from tests.waiting import MS, wait_for
from varsim import __version__
from varsim.exchange.chain import CHUNK_BYTES, WINDOW, chain_plan
from varsim.exchange.chain_links import ChainLinks
from varsim.spec import Operation, ReduceOp

_START_S = 10_000 * MS
_STEP_S = 60.0


def connected(number: int, hosts: int, address: str, folder: Path) -> ChainLinks:
    """Return this host's links, connected to the host before it."""
    window = int(os.environ.get("BENCH_WINDOW", WINDOW))
    links = ChainLinks(number, hosts, f"tcp://{address}:*", 20.0, window)
    (folder / f"new-{number}").write_text(links.address, encoding="ascii")
    (folder / f"new-{number}").rename(folder / f"host-{number}")
    if number:
        before = folder / f"host-{number - 1}"
        wait_for(before.exists, _START_S, what="the address of the host before this one")
        links.connect(before.read_text("ascii"))
    return links


def reduction(links: ChainLinks, number: int, hosts: int, replicas: int) -> Callable[[str], Step]:
    """Return the function that prepares a step for a case."""
    tokens = count(1)
    chunk_bytes = int(os.environ.get("BENCH_CHUNK_BYTES", CHUNK_BYTES))

    def prepare(size_bytes: str) -> Step:
        size = int(size_bytes) // 4
        dtype = np.dtype(np.float32)
        first = number * replicas
        values = [np.full(size, first + own + 1, dtype) for own in range(replicas)]
        mirror, out = np.ones(size, dtype), np.empty(size, dtype)
        plan = chain_plan(
            [replicas] * hosts, size, dtype, ReduceOp.MEAN, Operation.ASSIGN_ADD, chunk_bytes
        )

        def step() -> None:
            token = next(tokens)
            links.begin(token, plan, values, mirror, out)
            if not links.wait(token, _STEP_S):
                raise TimeoutError(f"no result after {_STEP_S:g} s")

        step()
        everyone = hosts * replicas
        check(float(out[-1]), 1 + (everyone + 1) / 2)
        return step

    return prepare


def main() -> None:
    """Serve the benchmark."""
    number, hosts, address, replicas, folder = sys.argv[1:]
    links = connected(int(number), int(hosts), address, Path(folder))
    try:
        prepare = reduction(links, int(number), int(hosts), int(replicas))
        serve(int(number), f"varsim {__version__}", prepare)
    finally:
        links.close()


if __name__ == "__main__":
    main()
