"""Where does the time of a long run go, and how much of it comes after the training?

The built-in job `digits` runs as in `varsim run`, and its record is merged and judged.
*after / training* is the time after the training, divided by the time of the training.
"""

from __future__ import annotations

import tempfile

from benchmarks.measure import Quartiles, Ratio
from benchmarks.record import Rows, keep, question, show
from varsim.experiments.config import Experiment
from varsim.experiments.runner import run_experiment
from varsim.report.summary import Phase

STEPS = (12_000,)
ROUNDS = 1  # a round takes minutes


def measure(workers: int, steps: int, rounds: int) -> dict[str, object]:
    """Return one row: the time of each phase of the run."""
    taken: list[dict[str, float]] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="ending-") as out:
            experiment = Experiment(
                workload="digits", workers=workers, steps=steps, params={"epochs": steps}, out=out
            )
            taken.append(dict(run_experiment(experiment).seconds))
    row: dict[str, object] = {"workers": workers, "steps": steps}
    for part in (Phase.TRAINING, Phase.MERGING, Phase.JUDGING):
        row[part.value] = Quartiles.of([seconds.get(part.value, 0.0) for seconds in taken])
    row["whole run"] = Quartiles.of([seconds["in_all"] for seconds in taken])
    after = [
        (one.get(Phase.MERGING.value, 0.0) + one.get(Phase.JUDGING.value, 0.0))
        / one[Phase.TRAINING.value]
        for one in taken
    ]
    row["after / training"] = Ratio(Quartiles.of(after).median)
    return row


def main() -> None:
    """Measure, print, and keep the results if asked."""
    parser = question(__doc__, (4,))
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="training steps")
    options = parser.parse_args()
    rows: Rows = [
        measure(workers, steps, options.rounds or ROUNDS)
        for workers in options.workers
        for steps in options.steps
    ]
    show("the end of a run", rows)
    if options.keep:
        keep("ending", rows)


if __name__ == "__main__":
    main()
