"""Run a workload as `varsim run --mode` does, on a simulated cluster or on processes."""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

import varsim as tf
from varsim.testing.simulation import simulated_cluster


@dataclass
class WorkloadRun:
    """The result and the progress of a workload, and the components of its variables at the end."""

    result: dict[str, Any]
    progress: list[tuple[int, int]]
    components: dict[str, list[np.ndarray]]  # name of a variable -> components in replica order


def run_workload(
    workload: ModuleType,
    *,
    replicas: int,
    mode: str | None = None,
    steps: int | None = None,
    seed: int = 1,
    processes: bool = False,
    **params: object,
) -> WorkloadRun:
    """Run a workload with its free variables in `mode`."""
    variables: list[tf.Variable] = []
    reported: list[tuple[int, int]] = []

    def progress(step: int, total: int, **metrics: float) -> None:
        reported.append((step, total))

    def creator(next_creator: Any, **settings: Any) -> tf.Variable:
        if settings["synchronization"] is tf.VariableSynchronization.AUTO and mode is not None:
            settings["synchronization"] = tf.VariableSynchronization[mode.upper()]
        variables.append(next_creator(**settings))
        return variables[-1]

    devices = [f"cpu:{replica}" for replica in range(replicas)]
    with (
        nullcontext() if processes else simulated_cluster(),
        closing(tf.distribute.MirroredStrategy(devices)) as strategy,
        tf.variable_creator_scope(creator),
    ):
        result = workload.run(tf.Job(strategy, seed, steps, progress), **params)
        components = {
            variable.name.removesuffix(":0"): [
                np.array(component) for component in strategy.experimental_local_results(variable)
            ]
            for variable in variables
        }
    return WorkloadRun(result, reported, components)
