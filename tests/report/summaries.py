"""Invented summaries of runs, for tests of reports."""

from __future__ import annotations

from typing import Any

import numpy as np

from varsim.report.json_values import digest, furthest_apart, plain
from varsim.report.summary import Lens, RunStatus, Sample, Summary, VariableSummary


def lens(*components: Any, value: Any = None, refused: str = "", lost: str = "") -> Lens:
    """Return the lens of these components, with a sample for arrays of more than four elements.

    Without components it is the lens of a variable with one copy.

    Args:
        lost: The reason why components are None.
    """
    every = [None if component is None else np.asarray(component) for component in components]
    arrays = [array for array in every if array is not None]
    arrays = arrays if every or value is None else [np.asarray(value)]
    apart, indices = furthest_apart(arrays, 2) if arrays else (None, [])
    samples = []
    if arrays and arrays[0].size > 4 and apart is not None:
        samples = [
            Sample(
                index=list(index),
                components=[None if array is None else plain(array[index]) for array in every],
                value=None if value is None else plain(np.asarray(value)[index]),
            )
            for index in indices
        ]
    return Lens(
        components=[None if array is None else digest(array) for array in every],
        value=None if value is None else digest(np.asarray(value)),
        refused=refused,
        apart=None if lost or not every else apart,
        samples=samples,
        lost=lost,
    )


def variable_summary(name: str = "w", seen: Lens | None = None, **others: Any) -> VariableSummary:
    """Return the summary of a variable that two replicas wrote ten times each."""
    fields: dict[str, Any] = {
        "free": False,
        "requested": "ON_READ",
        "synchronization": "ON_READ",
        "aggregation": "SUM",
        "shape": [],
        "dtype": "float32",
        "writes": 20,
        "reads": 1,
        "merges": 0,
        "messages": 4,
        "size_bytes": 8,
        "waited_s": 0.0,
    }
    return VariableSummary(name=name, lens=seen, **(fields | others))


def summary(*variables: VariableSummary, workers: int = 2, **others: Any) -> Summary:
    """Return the summary of a finished run of ten steps."""
    fields: dict[str, Any] = {
        "status": RunStatus.DONE,
        "failure": None,
        "varsim": "0.1.0",
        "started": "2026-01-02T03:04:05+00:00",
        "directory": "/somewhere/runs/x",
        "experiment": {"name": "x"},
        "devices": [f"cpu:{i}" for i in range(workers)],
        "seconds": {"start_up": 0.25, "training": 1.5, "in_all": 2.0},
        "step": 10,
        "total_steps": 10,
        "metrics": {},
        "result": {},
    }
    return Summary(variables=list(variables), **(fields | others))
