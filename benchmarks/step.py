"""How long does a step take that writes one ON_WRITE MEAN variable, by size?

A step of varsim is one `strategy.run` of a function that adds a float32 gradient to the variable,
plainly, or in place through `variable.update_buffer()`. This step takes turns with the bare
all-reduce of gloo and of Open MPI, with the same step in TensorFlow (MultiWorkerMirroredStrategy),
and with a bare star of ROUTER and DEALER that sends the same bytes. The memory floor is the time to
read every contribution and to read and write the mirror, at the speed at which one process copies
buffers of that size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from benchmarks.measure import Quartiles, Ratio, Turn, in_bytes, side_by_side, turn_of
from benchmarks.ours import (
    CAN_WRITE_IN_PLACE,
    checked_turn,
    cluster,
    on_write_mean,
    step_in_place,
    step_of,
)
from benchmarks.peer import GLOO, MULTI_WORKER, OPENMPI, PeerGroup, groups, turns_of
from benchmarks.record import Rows, keep, question, show
from benchmarks.star import RawStar

PLAIN, IN_PLACE = "varsim", "varsim, in place"
ROUND_TRIP, THREE_HOPS = "raw star, round trip", "raw star, three hops"
MEMORY = "memory floor"
KIB, MIB = 2**10, 2**20
SIZES = (8, 64 * KIB, MIB, 16 * MIB, 100 * MIB)
MAX_STAR = 16 * MIB  # larger sizes show nothing new about sockets
MIN_MEMORY = 64 * KIB  # below this size, the calls take longer than the copies
ROUNDS = 20
BUDGET_S = 12.0  # time for one size

TARGETS = {  # largest allowed ratio of medians, varsim / other contender, with four workers
    (8, GLOO.name): 0.35,
    (8, MULTI_WORKER.name): 0.12,
    (8, ROUND_TRIP): 1.5,
    (MIB, GLOO.name): 0.25,
    (MIB, OPENMPI.name): 1.5,
    (16 * MIB, GLOO.name): 0.25,
    (16 * MIB, OPENMPI.name): 0.8,
    (100 * MIB, GLOO.name): 0.2,
    (100 * MIB, OPENMPI.name): 0.5,
    (100 * MIB, MEMORY): 2.5,
}


@contextmanager
def varsim_turns(workers: int, size_bytes: int) -> Iterator[dict[str, Turn]]:
    """Yield, for both ways to write, functions that time steps. The cluster ends with the block."""
    with cluster(workers) as strategy:
        shape = (size_bytes // 4,)
        written = on_write_mean(strategy, 1, shape)
        turns = {PLAIN: checked_turn(strategy, written, step_of(written))}
        if CAN_WRITE_IN_PLACE:
            (in_place,) = others = on_write_mean(strategy, 1, shape)
            turns[IN_PLACE] = checked_turn(strategy, others, step_in_place(in_place))
        yield turns


def floor_turns(star: RawStar, size_bytes: int) -> dict[str, Turn]:
    """Return the raw stars, and a copy, from whose time the memory floor is computed."""
    turns: dict[str, Turn] = {}
    if size_bytes <= MAX_STAR:
        turns[ROUND_TRIP] = turn_of(partial(star.round_trip, size_bytes))
        turns[THREE_HOPS] = turn_of(partial(star.three_hops, size_bytes))
    if size_bytes >= MIN_MEMORY:
        here, there = np.ones(size_bytes // 4, np.float32), np.zeros(size_bytes // 4, np.float32)
        turns[MEMORY] = turn_of(partial(np.copyto, there, here))
    return turns


def measure(
    workers: int, size_bytes: int, rounds: int, peers: list[PeerGroup], star: RawStar
) -> Rows:
    """Return a row for each contender."""
    with varsim_turns(workers, size_bytes) as ours:
        others = turns_of(peers, str(size_bytes))
        turns = {**ours, **others, **floor_turns(star, size_bytes)}
        spreads = side_by_side(turns, rounds=rounds, budget_s=BUDGET_S)
    if MEMORY in spreads:  # a copy accesses two buffers, and a step workers + 2 buffers
        spreads[MEMORY] = spreads[MEMORY].times((workers + 2) / 2)
    rows: Rows = []
    for name, spread in spreads.items():
        row: dict[str, object] = {"workers": workers, "size": in_bytes(size_bytes)}
        row |= {"contender": name, "step": spread}
        rows.append(row | _ratios(list(ours), spreads, name, size_bytes if workers == 4 else 0))
    return rows


def _ratios(
    ours: list[str], spreads: dict[str, Quartiles], name: str, size_bytes: int
) -> dict[str, object]:
    target = TARGETS.get((size_bytes, name))
    return {
        f"{our} / this": None
        if name == our
        else Ratio(spreads[our].median / spreads[name].median, target)
        for our in ours
    }


def main() -> None:
    """Measure, print, and keep the results if asked."""
    parser = question(__doc__, (4,))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="in bytes")
    options = parser.parse_args()
    rows: Rows = []
    versions: dict[str, str] = {}
    for workers in options.workers:
        contenders = (GLOO, OPENMPI, MULTI_WORKER)
        with groups(contenders, workers) as peers, RawStar(workers) as star:
            versions |= {group.peer.name: group.versions for group in peers}
            for size_bytes in options.sizes:
                found = measure(workers, size_bytes, options.rounds or ROUNDS, peers, star)
                show(f"a step that writes {in_bytes(size_bytes)}, {workers} workers", found)
                rows += found
    if options.keep:
        keep("step", rows, versions)


if __name__ == "__main__":
    main()
