"""What does it cost to record a run?

The same work is done without a record, at level `ops` and at level `messages`, in turns, each on
its own workers. The work is: two epochs of the built-in job `digits`; a step that writes 1,000
ON_WRITE MEAN scalars; and a step that writes one scalar. Row *off, again* repeats the work without
a record. The difference of its ratio from 1 shows the uncertainty of all figures here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import varsim as tf
from benchmarks.measure import Quartiles, Ratio, Turn, side_by_side, turn_of
from benchmarks.ours import checked_turn, on_write_mean, step_of
from benchmarks.peers.checkout import recording_cluster
from benchmarks.record import Rows, answer_by_work
from varsim.tracing.trace import MESSAGES, OPS
from varsim.workloads import digits

LEVELS = {"off": None, "ops": OPS, "messages": MESSAGES, "off, again": None}
TARGET = 1.05
EPOCHS = 2
ROUNDS = 40
BUDGET_S = 20.0


def training(strategy: tf.distribute.MirroredStrategy) -> Turn:
    """Return a contender that trains from the beginning each time."""
    job = tf.Job(strategy=strategy, seed=0, steps=None, progress=lambda *_, **__: None)
    return turn_of(lambda: digits.run(job, epochs=EPOCHS))


def writing(count: int) -> Callable[[tf.distribute.MirroredStrategy], Turn]:
    """Return a contender whose step writes `count` scalars."""

    def turn(strategy: tf.distribute.MirroredStrategy) -> Turn:
        written = on_write_mean(strategy, count, ())
        return checked_turn(strategy, written, step_of(written))

    return turn


WORK = {
    f"digits, {EPOCHS} epochs": training,
    "1,000 scalars": writing(1000),
    "one scalar": writing(1),
}
WITHOUT_TARGET = "one scalar"


def measure(workers: int, work: str, rounds: int) -> Rows:
    """Return a row for each level."""
    with ExitStack() as stack:
        turns = {
            name: WORK[work](stack.enter_context(recording_cluster(workers, level)))
            for name, level in LEVELS.items()
        }
        spreads = side_by_side(turns, rounds=rounds, budget_s=BUDGET_S)
    return [
        {
            "workers": workers,
            "work": work,
            "record": name,
            "took": spread,
            "this / off": _ratio(work, name, spread, spreads["off"]),
        }
        for name, spread in spreads.items()
    ]


def _ratio(work: str, name: str, spread: Quartiles, off: Quartiles) -> Ratio | None:
    if name == "off":
        return None
    has_target = name == OPS and work != WITHOUT_TARGET
    return Ratio(spread.median / off.median, TARGET if has_target else None)


def main() -> None:
    """Measure, print, and keep the results if asked."""
    answer_by_work("tracing", __doc__, measure, "with a record", work=WORK, rounds=ROUNDS)


if __name__ == "__main__":
    main()
