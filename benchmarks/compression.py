"""How many bytes does compression save, and what does it cost in accuracy?

Each row trains the built-in job `digits` for 20 epochs with one mode. The job uses no random
numbers, and no value depends on timing, so the results are the same in every run; only times would
differ, and none is measured. The bytes are those of the weights, 64 × 10 numbers of float32: what
the replicas send, and what they get back, which is not compressed.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import in_bytes
from benchmarks.record import Rows, keep, question, show
from varsim.experiments.finished_run import run_experiment

WHOLE_BYTES = 64 * 10 * 4
"""The size of the weights."""

MODES = (
    "on_write",
    "compressed:on_write:fp16",
    "compressed:on_write:top_k:0.1",
    "compressed:on_write:top_k:0.01",
    "compressed:on_write:one_bit",
    "local_sgd:8",
    "compressed:local_sgd:8:fp16",
    "compressed:local_sgd:8:top_k:0.1",
    "compressed:local_sgd:8:one_bit",
)


def measure(workers: int, folder: Path) -> Rows:
    """Return a row for each mode.

    Args:
        folder: The runs are stored here.
    """
    rows: Rows = []
    for mode in MODES:
        finished = run_experiment(
            workload="digits", workers=workers, mode=mode, trace="off", out=folder
        )
        (weights,) = (one for one in finished.summary.variables if one.name == "weights")
        use, whole = weights.compression, weights.merges * workers * WHOLE_BYTES
        rows.append(
            {
                "mode": mode,
                "sent": in_bytes(whole if use is None else use.size_bytes),
                "got back": in_bytes(whole),
                "residual / change": None if use is None else use.error,
                "train loss": finished.summary.result["train_loss"],
                "test accuracy": finished.summary.result["test_accuracy"],
            }
        )
    return rows


def main() -> None:
    """Measure, print, and keep the results if asked."""
    options = question(__doc__, (2,)).parse_args()
    rows: Rows = []
    for workers in options.workers:
        with TemporaryDirectory() as folder:
            found = measure(workers, Path(folder))
        show(f"the digits job, {workers} workers", found)
        rows += found
    if options.keep:
        keep("compression", rows)


if __name__ == "__main__":
    main()
