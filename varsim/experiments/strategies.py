"""Make, observe and measure the strategies of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, Final

import numpy as np

from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.values import DistributedValues
from varsim.distribute.variable import Variable
from varsim.errors import StartError, VariableError, VarsimError
from varsim.experiments.applied_settings import AppliedSettings
from varsim.experiments.config import Experiment
from varsim.experiments.store import RunFiles
from varsim.interrupts import within
from varsim.private import make_private_folder
from varsim.report.json_values import SMALL_SIZE, digest, furthest_apart, plain
from varsim.report.summary import Judgement, Lens, Plain, Sample, SyncCost, VariableSummary
from varsim.sync import statistics
from varsim.sync.statistics import VariableStatistics
from varsim.tracing.trace import TraceOptions


def strategy_of(
    experiment: Experiment, device_names: Sequence[str], files: RunFiles
) -> MirroredStrategy:
    """Return a strategy with an experiment's settings, whose traces and logs go to `files`.

    Raises:
        StartError: The directory of the traces cannot be created.
    """
    return MirroredStrategy(
        device_names,
        **asdict(experiment.backends),
        strict=experiment.strict,
        auto=experiment.auto_in_force,
        log_dir=files.logs,
        trace=trace_options(experiment, files),
        seed=experiment.seed,
        stall_warn_s=experiment.stall_warn_s,
        stall_fail_s=experiment.stall_fail_s,
    )


def trace_options(experiment: Experiment, directory: RunFiles) -> TraceOptions | None:
    """Return the options of a run's traces, and create their directory; None without traces.

    Raises:
        StartError: The directory cannot be created.
    """
    options = experiment.trace.options(directory.traces)
    if options is not None:
        try:
            make_private_folder(directory.traces)
        except OSError as error:
            raise StartError(
                f"the folder of the traces cannot be created: {error}\n"
                "  Free space there, or choose another folder for the run with --out."
            ) from error
    return options


LAST_LOOK_S: Final = 1.0
"""Longest wait for the values of variables after a failure or an interrupt.

Replicas may be busy with the workload's code, and the user waits after Ctrl-C.
"""


class ObservedStrategy:
    """A strategy of a run, with its files and the measurements of its variables."""

    def __init__(
        self, strategy: MirroredStrategy, settings: AppliedSettings, files: RunFiles
    ) -> None:
        self.strategy = strategy
        self.files = files
        self.variables: list[VariableSummary] = []
        self.verdict: Judgement | None = None
        self._settings = settings
        self._measured = False

    @property
    def calls(self) -> int:
        """Return the number of calls of strategy.run."""
        return self.strategy.coordinator.calls if self.strategy.has_workers else 0

    def measure(self) -> None:
        """Measure the variables once, if there are workers. The workers must be able to answer.

        Raises:
            VarsimError: A worker has ended.
        """
        if self.strategy.has_workers and not self._measured:
            self.variables = measure_variables(self.strategy, self._settings)
            self._measured = True

    def look(self) -> None:
        """Measure the variables; leave out their values if workers do not answer any more."""
        try:
            self.measure()
        except VarsimError:
            self._measure_without_values()

    def take_a_last_look(self) -> None:
        """Measure the variables in limited time; leave out values if workers do not answer."""
        if self._measured or not self.strategy.has_workers:
            return
        try:
            with within(LAST_LOOK_S):
                self.measure()
        except Exception:  # the cluster has ended, or is busy, or was interrupted within a step
            self._measure_without_values()

    def _measure_without_values(self) -> None:
        self.variables = measure_variables(self.strategy, self._settings, with_values=False)
        self._measured = True


# ---------------------------------------------------------------- measurement

_ELEMENTS: Final = 2  # number of elements shown of a large array


def measure_variables(
    strategy: MirroredStrategy, settings: AppliedSettings, *, with_values: bool = True
) -> list[VariableSummary]:
    """Return the statistics of all variables, in order of creation, and their values.

    Args:
        with_values: Whether to fetch the components; the workers must be able to answer.
    """
    accounts = strategy.statistics()  # taken first, because reading the values sends messages
    strategy.coordinator.observed = False
    variables = {variable.spec.variable_id: variable for variable in settings.created}
    summaries = []
    for account in accounts:
        variable = variables.get(account.variable_id) if with_values else None
        lens = None if variable is None else look_at(strategy, variable)
        summaries.append(_summary(account, settings.free_ids, lens))
    return summaries


def _summary(account: VariableStatistics, free_ids: set[int], lens: Lens | None) -> VariableSummary:
    return VariableSummary(
        name=account.name,
        free=account.variable_id in free_ids,
        requested=account.requested.name,
        synchronization=account.synchronization.name,
        aggregation=account.aggregation.name,
        shape=list(account.shape),
        dtype=account.dtype.name,
        writes=account.writes,
        reads=account.reads,
        merges=account.merges,
        messages=account.messages,
        size_bytes=account.size_bytes,
        waited_s=account.waited_s,
        sparse_bytes=account.sparse_bytes,
        dense_bytes=account.dense_bytes,
        on_write=None if account.on_write is None else _cost(account.on_write),
        lens=lens,
    )


def _cost(cost: statistics.Cost) -> SyncCost:
    return SyncCost(merges=cost.merges, messages=cost.messages, size_bytes=cost.size_bytes)


def look_at(strategy: MirroredStrategy, variable: Any) -> Lens:
    """Return the components of a variable beside its cross-replica value."""
    components = [np.asarray(part) for part in strategy.experimental_local_results(variable)]
    value: np.ndarray | None = None
    refused = ""
    try:
        value = variable.numpy()
    except VarsimError as error:
        if not isinstance(error, ValueError):
            raise
        refused = str(error).splitlines()[0]
        if isinstance(error, VariableError):
            refused = error.problem
    apart, indices = furthest_apart(components, _ELEMENTS)
    return Lens(
        components=[digest(component) for component in components],
        value=None if value is None else digest(value),
        refused=refused,
        apart=apart,
        samples=_samples(components, value, indices),
    )


def _samples(
    components: list[np.ndarray], value: np.ndarray | None, indices: Sequence[tuple[int, ...]]
) -> list[Sample]:
    """Return some elements of all components; none for small arrays: these are shown completely."""
    if components[0].size <= SMALL_SIZE:
        return []
    return [
        Sample(
            index=list(index),
            components=[plain(component[index]) for component in components],
            value=None if value is None else plain(value[index]),
        )
        for index in indices
    ]


def reached(result: object) -> dict[str, Plain]:
    """Return a workload's result as JSON values; a per-replica value becomes a list."""
    shaped = plain(result, _in_replica_order)
    if shaped is None:
        return {}
    many = isinstance(result, Mapping) or is_dataclass(result)
    return shaped if many and isinstance(shaped, dict) else {"result": shaped}


def _in_replica_order(leaf: Any) -> Any:
    if isinstance(leaf, Variable):
        return _or_text(leaf.numpy)
    if isinstance(leaf, DistributedValues):
        return list(leaf.values)
    return leaf


def _or_text(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except VarsimError as refused:
        return str(refused).splitlines()[0]
