"""What does each way of synchronising cost, and what does it reach? The digits job in every way.

Every way is an experiment in configs/ways, with the same model, images and steps. *accuracy* is
that of the replicas' copies on the test images, on average. *drift* is the largest difference of
an element of two copies at the end. *messages* and *MB* are those of the variables, as if each were
sent alone, and of the collectives, locks and barriers. A `≥` says that the record lacks sizes:
those of values in a merge_call, and in requests to the program. *behind* is the staleness of a pull
or a fetch: by how many versions the value has changed since the replica's last read of it, on
average. For parameter_server, it is the staleness of a write: by how many versions the value has
changed since the closure's read of it. *training* is the time of all steps, while the run is
recorded.

The ways that do not wait (event_triggered, bounded_staleness, push_pull, publish, parameter_server)
have other results in each run.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.policies import POLICIES, install
from benchmarks.record import ROOT, Rows, keep, question, show
from varsim.experiments.finished_run import FinishedRun, run_experiment
from varsim.experiments.loading import load_experiment
from varsim.report.summary import RunStatus, Summary, VariableSummary
from varsim.tracing.history import Event

FOLDER: Final = ROOT / "configs" / "ways"

WAYS: Final = (
    "on_write",
    "auto_adaptive",
    "central",
    "merge_call",
    "multi_worker",
    "all_reduce",
    "horovod",
    "torch",
    "on_read",
    "local_sgd",
    "by_hand",
    "groups",
    "compressed",
    "gossip",
    "elastic_averaging",
    "event_triggered",
    "bounded_staleness",
    "push_pull",
    "lock",
    "publish",
    "none",
    "parameter_server",
)
"""The experiments in the order of the table: a further way is a file in `FOLDER`, and a line."""

_REQUESTS: Final = ("lock", "read_lock", "barrier", "send", "recv")


def title_of(name: str) -> str:
    """Return the description of a way, from the comment in its file."""
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    (title,) = [line.removeprefix("# Way: ") for line in lines if line.startswith("# Way: ")]
    return title.removesuffix(".")


def ways_list() -> str:
    """Return the ways with their descriptions as Markdown, for docs/ways.md."""
    return "\n".join(
        f"- [`{name}`](../configs/ways/{name}.yaml): {title_of(name)}." for name in WAYS
    )


def run_way(name: str, out: Path, *, workers: int, steps: int | None = None) -> dict[str, object]:
    """Run a way, and return its row of the table.

    Raises:
        RuntimeError: The run failed, or varsim did not keep its promises.
    """
    experiment = FOLDER / f"{name}.yaml"
    settings: dict[str, Any] = {"workers": workers, "out": out}
    if load_experiment(experiment).script is None:
        settings["steps"] = steps
    elif steps is not None:
        settings["args"] = [str(steps)]
    with run_experiment(experiment, allow_paths=True, **settings) as run:
        verdict = run.summary.verdict
        if run.status is not RunStatus.DONE or verdict is None or verdict.outcome != "VALID":
            raise RuntimeError(f"the way {name} failed, or is not VALID: {run}, {verdict}")
        return row_of(name, run)


@contextmanager
def with_policies(folder: Path) -> Iterator[None]:
    """Make the packages of examples/policies available, also to new processes."""
    found, path = install(POLICIES, folder), sys.path[:]
    before = os.environ.get("PYTHONPATH")
    sys.path[:0] = found
    os.environ["PYTHONPATH"] = os.pathsep.join([*found, *([before] if before else [])])
    try:
        yield
    finally:
        sys.path[:] = path
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def row_of(name: str, run: FinishedRun) -> dict[str, object]:
    """Return the row of a run."""
    summary = run.summary
    reached = summary.result or _result_of_script(summary)
    model = [one for one in summary.variables if one.name in ("weights", "bias")]
    messages, size_bytes, is_whole = costs_of_collectives(run)
    messages += sum(one.messages for one in model)
    size_bytes += sum(one.size_bytes for one in model)
    return {
        "way": name,
        "accuracy": f"{reached['test_accuracy']:.3f}",
        "drift": reached["drift"],
        "messages": f"{messages:,}",
        "MB": size_bytes / 1e6 if is_whole else f"≥ {size_bytes / 1e6:.3g}",
        "behind": _behind(model),
        "training s": summary.seconds["training"],
    }


def _behind(model: Sequence[VariableSummary]) -> float | None:
    """Return the staleness on average; None if no value can be stale in a way that is counted."""
    counted: list[tuple[int, float]] = []
    for variable in model:
        if (use := variable.one_sided) is not None:
            counted.append((use.pulls + use.fetches, use.behind))
        if (served := variable.served) is not None:
            counted.append((served.based_writes, served.behind))
    count = sum(number for number, _ in counted)
    return sum(number * behind for number, behind in counted) / count if count else None


def _result_of_script(summary: Summary) -> dict[str, float]:
    """Return what a script has reached, from the last values of its variables."""
    lenses = {one.name: one.lens for one in summary.variables if one.lens is not None}
    tested = lenses["test_accuracy"].value
    assert tested is not None, "the variable has an aggregation"
    drift = max(lenses[name].apart or 0.0 for name in ("weights", "bias"))  # None: one copy
    return {"test_accuracy": tested.elements, "drift": drift}


def costs_of_collectives(run: FinishedRun) -> tuple[int, int, bool]:
    """Return the messages and bytes of what no variable accounts for, and whether this is all.

    A collective is an arrival and an answer for each replica. `v.sync` is in the account of its
    variable. The sizes of values in a merge_call, a send or a host call are not recorded. Closures
    have no collectives.
    """
    if run.summary.servers:
        return 0, 0, True
    kinds = "('sync', 'arrive', 'give', 'result', 'request', 'release')"
    synced: set[tuple[int | None, int | None, int | None]] = set()
    messages = size_bytes = 0
    is_whole = True
    for event in run.history.events(f"kind IN {kinds}"):
        replica = event.replica if event.kind == "result" else event.process
        place = event.call, event.position, replica
        match event.kind:
            case "sync":
                synced.add(place)
            case "arrive" if place not in synced:
                messages += 2
                is_whole = is_whole and event.operation not in ("merge_call", "host_call")
            case "request":
                assert event.operation in _REQUESTS
                messages += 2
                is_whole = is_whole and event.operation not in ("send", "recv")
            case "release":
                messages += 1
            case "give" | "result" if place not in synced:
                size_bytes += _size_of(event)
    return messages, size_bytes, is_whole


def _size_of(event: Event) -> int:
    """Return the size of the array of an event."""
    return int(math.prod(json.loads(event.shape or "[]")) * np.dtype(event.dtype).itemsize)


def main() -> None:
    """Run all ways, print one table, and keep it if asked."""
    parser = question(__doc__, (4,))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="only these ways")
    parser.add_argument("--steps", type=int, help="the number of steps, instead of ten epochs")
    options = parser.parse_args()
    rows: Rows = []
    folders = [tempfile.TemporaryDirectory(prefix="ways-") for _ in range(2)]
    with folders[0] as out, folders[1] as policies, with_policies(Path(policies)):
        for workers in options.workers:
            found = [
                run_way(name, Path(out), workers=workers, steps=options.steps)
                for name in options.ways
            ]
            show(f"the digits job in {len(found)} ways, {workers} workers", found)
            rows += [{"workers": workers, **row} for row in found]
    if options.keep:
        keep("ways", rows)


if __name__ == "__main__":
    main()
