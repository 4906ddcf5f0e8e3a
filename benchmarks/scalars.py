"""What does it cost to write 1,000 scalars in a step instead of one?

A step is one `strategy.run` in which every replica adds its own gradient to one or to 1,000
ON_WRITE MEAN scalars of float32. This step takes turns with the same step under TensorFlow's
MirroredStrategy, with one logical CPU device for each replica, inside a `tf.function`.
"""

from __future__ import annotations

from benchmarks.measure import Quartiles, Ratio, Turn, side_by_side
from benchmarks.ours import checked_turn, cluster, on_write_mean, step_of
from benchmarks.peer import MIRRORED, groups, turns_of
from benchmarks.record import Measured, Rows, answer

COUNTS = (1, 1_000)
TO_ONE = 3.0  # target for 1,000 scalars: time of a step ÷ time of a step with one scalar
TO_TENSORFLOW = 0.05  # target for 1,000 scalars: time of a step ÷ time of TensorFlow's step
ROUNDS = 20
BUDGET_S = 15.0


def rows_of(workers: int, spreads: dict[tuple[str, int], Quartiles]) -> Rows:
    """Return a row for each contender and number of scalars."""
    rows: Rows = []
    for (name, count), spread in spreads.items():
        ours, one = spreads["varsim", count], spreads[name, COUNTS[0]]
        is_ours, many = name == "varsim", count > 1
        to_one = Ratio(spread.median / one.median, TO_ONE if is_ours else None)
        to_this = Ratio(ours.median / spread.median, TO_TENSORFLOW if many else None)
        rows.append(
            {
                "workers": workers,
                "contender": name,
                "scalars": count,
                "step": spread,
                "1,000 scalars / 1 scalar": to_one if many else None,
                "varsim / this": None if is_ours else to_this,
            }
        )
    return rows


def measure(workers: int, rounds: int) -> Measured:
    """Return the rows, and the peers' versions."""
    turns: dict[tuple[str, int], Turn] = {}
    with groups([MIRRORED, MIRRORED], workers) as peers, cluster(workers) as strategy:
        for count in COUNTS:
            written = on_write_mean(strategy, count, ())
            turns["varsim", count] = checked_turn(strategy, written, step_of(written))
        for count, group in zip(COUNTS, peers, strict=False):  # each case has a group of its own
            found = turns_of([group], str(count))
            turns |= {(name, count): turn for name, turn in found.items()}
        spreads = side_by_side(turns, rounds=rounds, budget_s=BUDGET_S)
        return rows_of(workers, spreads), {group.peer.name: group.versions for group in peers}


def main() -> None:
    """Measure, print, and keep the results if asked."""
    answer(
        "scalars", __doc__, measure, "a step that writes scalars, {workers} workers", rounds=ROUNDS
    )


if __name__ == "__main__":
    main()
