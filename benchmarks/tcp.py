"""What does a step cost over TCP, with CURVE and numbered envelopes, compared with ipc?

A step writes one ON_WRITE MEAN variable, with the exchange "star" over both transports, so that all
values are sent through sockets. The round trips of a raw star show what TCP and CURVE cost without
varsim. The contenders take turns. The same contender over ipc is the reference, and the turns of a
contender and of its reference in one round make a pair. The table shows the median of the ratios of
these pairs, and in parentheses an interval that contains it with 95 % confidence. A second cluster
over ipc shows the differences that come from the machine alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from benchmarks.commits import Interval
from benchmarks.measure import Quartiles, Turn, in_bytes, steps_that_fill_a_turn, turn_of
from benchmarks.ours import checked_turn, cluster, on_write_mean, step_of
from benchmarks.record import Rows, keep, question, show
from benchmarks.star import RawStar

IPC, AGAIN, TCP = "varsim, ipc", "varsim, ipc again", "varsim, tcp"
STAR_IPC = "raw star, ipc"
STAR_TCP, STAR_CURVE = "raw star, tcp without CURVE", "raw star, tcp with CURVE"
REFERENCES = {AGAIN: IPC, TCP: IPC, STAR_TCP: STAR_IPC, STAR_CURVE: STAR_IPC}
TRANSPORTS = {IPC: "ipc", TCP: "tcp", AGAIN: "ipc"}
KIB, MIB = 2**10, 2**20
SIZES = (8, 64 * KIB, MIB)
PAIRS = 40


@contextmanager
def clusters(workers: int, size_bytes: int) -> Iterator[dict[str, Turn]]:
    """Yield functions that time steps of varsim. The clusters end with the block."""
    with ExitStack() as stack:
        turns = {}
        for name, transport in TRANSPORTS.items():
            strategy = stack.enter_context(cluster(workers, transport=transport, exchange="star"))
            written = on_write_mean(strategy, 1, (size_bytes // 4,))
            turns[name] = checked_turn(strategy, written, step_of(written))
        yield turns


def measure(workers: int, size_bytes: int, pairs: int, stars: dict[str, RawStar]) -> Rows:
    """Return a row for each contender."""
    with clusters(workers, size_bytes) as turns:
        for name, star in stars.items():
            turns[name] = turn_of(partial(star.round_trip, size_bytes))
        steps = {name: steps_that_fill_a_turn(turn) for name, turn in turns.items()}
        medians: dict[str, list[float]] = {name: [] for name in turns}
        for number in range(pairs):
            names = list(turns)[:: 1 if number % 2 else -1]
            for name in names:
                taken = turns[name](steps[name] + 1)[1:]  # the first wakes processes that slept
                medians[name].append(Quartiles.of(taken).median)
    return [_row(workers, size_bytes, name, medians) for name in medians]


def _row(
    workers: int, size_bytes: int, name: str, medians: dict[str, list[float]]
) -> dict[str, object]:
    reference = REFERENCES.get(name)
    ratio = None
    if reference is not None:
        paired = zip(medians[name], medians[reference], strict=True)
        ratio = str(Interval.of([one / other for one, other in paired]))
    return {
        "workers": workers,
        "size": in_bytes(size_bytes),
        "contender": name,
        "step or round trip": Quartiles.of(medians[name]),
        "this / ipc": ratio,
        "pairs": len(medians[name]),
    }


def main() -> None:
    """Measure, print, and keep the results if asked."""
    parser = question(__doc__, (4,))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="in bytes")
    options = parser.parse_args()
    rows: Rows = []
    for workers in options.workers:
        with (
            RawStar(workers) as ipc,
            RawStar(workers, over_tcp=True) as tcp,
            RawStar(workers, over_tcp=True, has_curve=True) as curve,
        ):
            stars = {STAR_IPC: ipc, STAR_TCP: tcp, STAR_CURVE: curve}
            for size_bytes in options.sizes:
                found = measure(workers, size_bytes, options.rounds or PAIRS, stars)
                show(f"{in_bytes(size_bytes)}, {workers} workers", found)
                rows += found
    if options.keep:
        keep("tcp", rows)


if __name__ == "__main__":
    main()
