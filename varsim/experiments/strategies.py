"""Make, observe and measure the strategies of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from varsim.distribute.faults import Fault
from varsim.distribute.lost_workers import LostWorkers
from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.plain_use import PlainUse
from varsim.distribute.values import DistributedValues
from varsim.distribute.variable import Variable
from varsim.errors import VariableError, VarsimError, WorkerLost
from varsim.experiments.applied_settings import AppliedSettings
from varsim.experiments.config import Experiment
from varsim.experiments.observed import Observed, trace_options
from varsim.experiments.store import RunFiles
from varsim.launch.launcher import LaunchOptions
from varsim.report.json_values import SMALL_SIZE, digest, furthest_apart, plain
from varsim.report.summary import (
    BoundedUse,
    BoundedWaitUse,
    CompressionUse,
    Lens,
    LockUse,
    OneSidedUse,
    Plain,
    PlainVariable,
    Sample,
    SyncCost,
    VariableSummary,
)
from varsim.sync import statistics
from varsim.sync.statistics import VariableStatistics
from varsim.texts.facts import headline
from varsim.texts.losses import ComponentsLost, ValueLost, WritesLost
from varsim.texts.uneven import UNEVEN


def strategy_of(
    experiment: Experiment, device_names: Sequence[str], files: RunFiles
) -> MirroredStrategy:
    """Return a strategy with an experiment's settings, whose traces and logs go to `files`.

    Raises:
        StartError: The directory of the traces cannot be created.
    """
    most = experiment.max_restarts
    lost_workers = LostWorkers().changed(experiment.on_worker_lost, most)
    return MirroredStrategy(
        device_names,
        launcher=experiment.launcher,
        transport=experiment.transport,
        exchange=experiment.exchange,
        strict=experiment.strict,
        auto=experiment.auto_in_force,
        uneven=experiment.uneven or UNEVEN[0],
        log_dir=files.logs,
        trace=trace_options(experiment, files.traces),
        seed=experiment.seed,
        stall_warn_s=experiment.stall_warn_s,
        stall_fail_s=experiment.stall_fail_s,
        link_loss_s=experiment.link_loss_s,
        on_worker_lost=lost_workers.policy,
        max_restarts=lost_workers.max_restarts,
    )


class ObservedStrategy(Observed):
    """An incarnation of a strategy of a run, with its files and its variables' measurements."""

    strategy: MirroredStrategy
    takes_faults = True

    def __init__(
        self, strategy: MirroredStrategy, settings: AppliedSettings, files: RunFiles
    ) -> None:
        super().__init__(strategy, files)
        self.incarnation = strategy.incarnations.number
        self.devices = strategy.devices
        self._settings = settings
        self._calls: int | None = None  # set at the end of an incarnation
        self._faults: list[str] | None = None  # set at the end of an incarnation
        self._faults_before = () if strategy.faults is None else strategy.faults.counts

    def recording(
        self, options: LaunchOptions, experiment: Experiment, files: RunFiles
    ) -> LaunchOptions:
        """Let all processes record into the folder of the traces, until these are merged."""
        return replace(options, trace=trace_options(experiment, files.traces))

    @property
    def calls(self) -> int:
        """Return the number of calls of strategy.run in this incarnation."""
        if self._calls is not None:
            return self._calls
        return self.strategy.incarnations.own_calls if self.has_workers else 0

    @property
    def interrupted_call(self) -> int | None:
        """Return the number of the last call, if an interrupt has ended it."""
        incarnations = self.strategy.incarnations
        call = incarnations.interrupted_call
        is_last = self.incarnation == incarnations.number and call == incarnations.calls
        return call if is_last else None

    @property
    def interrupted_in(self) -> str:
        """Return what each replica did in this call, in lines; "" if no call was interrupted."""
        known = self.interrupted_call is not None
        return self.strategy.incarnations.interrupted_in if known else ""

    @property
    def faults(self) -> list[str]:
        """Return the faults that have happened in this incarnation."""
        if self._faults is not None:
            return self._faults
        plan = self.strategy.faults
        return [] if plan is None else plan.since(self._faults_before)

    def inject(self, faults: Sequence[Fault], seed: int, folder: Path) -> None:
        """Inject faults into later calls."""
        self.strategy.inject(faults, seed, folder)

    def at_step(self, step: int) -> None:
        """Tell the faults which step of the workload begins."""
        if self.strategy.faults is not None:
            self.strategy.faults.step = step

    def missed_faults(self) -> list[str]:
        """Return a sentence for each fault that did not happen."""
        plan = self.strategy.faults
        return [] if plan is None else plan.missed()

    def start_no_more(self) -> None:
        """Start no further incarnation."""
        self.strategy.incarnations.start_no_more()

    def end(self) -> None:
        """Measure the variables of an incarnation that ends before its strategy ends."""
        self.take_a_last_look()
        self._calls, self._faults = self.calls, self.faults

    def _measure(self, *, partly: bool) -> None:
        with self._measuring() as lenses:
            for variable in self._variables():
                lenses[variable.spec.variable_id] = look_at(self.strategy, variable, partly=partly)

    def _variables(self) -> list[Any]:
        """Return the variables of the strategy that the program still has."""
        own = {account.variable_id for account in self.strategy.statistics()}
        return [one for one in self._settings.created if one.spec.variable_id in own]

    @contextmanager
    def _measuring(self) -> Iterator[dict[int, Lens]]:
        """Yield a dictionary for lenses; then summarise the variables, even after an error."""
        accounts = self.strategy.statistics()  # first, because reading the values sends messages
        self.locks = [_lock_use(one) for one in self.strategy.lock_statistics()]
        self.outside_scope = [_plain(one) for one in self.strategy.plain_uses.all()]
        self.strategy.coordinator.observed = False
        lenses: dict[int, Lens] = {}  # variable_id → values
        try:
            yield lenses
        finally:
            free_ids = self._settings.free_ids
            self.variables = [
                _summary(account, free_ids, lenses.get(account.variable_id)) for account in accounts
            ]


# ---------------------------------------------------------------- measurement

_ELEMENTS: Final = 2  # number of elements shown of a large array


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
        one_sided=None if account.one_sided is None else _use(account.one_sided),
        compression=None if account.compression is None else _compression(account.compression),
        bounded=None if account.bounded is None else _bounded(account.bounded),
        lens=lens,
    )


def _cost(cost: statistics.Cost) -> SyncCost:
    return SyncCost(merges=cost.merges, messages=cost.messages, size_bytes=cost.size_bytes)


def _compression(counts: statistics.CompressionCounts) -> CompressionUse:
    return CompressionUse(
        contributions=counts.contributions,
        size_bytes=counts.size_bytes,
        whole_bytes=counts.whole_bytes,
        error=counts.error,
    )


def _use(counts: statistics.OneSidedCounts) -> OneSidedUse:
    reads = max(1, counts.fetches + counts.pulls)
    return OneSidedUse(
        publishes=counts.publishes,
        fetches=counts.fetches,
        pushes=counts.pushes,
        pulls=counts.pulls,
        behind=counts.behind / reads,
        most_behind=counts.most_behind,
        age_s=counts.age_s / reads,
        longest_age_s=counts.longest_age_s,
    )


def _bounded(counts: statistics.BoundedCounts) -> BoundedUse:
    return BoundedUse(
        bound=counts.bound,
        most_ahead=counts.most_ahead,
        writes=counts.writes,
        renewals=counts.renewals,
        behind=counts.behind / max(1, counts.renewals),
        most_behind=counts.most_behind,
        waits=[
            BoundedWaitUse(
                replica=one.replica_id,
                waited_for=one.waited_for,
                waits=one.waits,
                waited_s=one.waited_s,
                longest_s=one.longest_s,
            )
            for one in counts.waits.values()
        ],
    )


def _lock_use(entry: statistics.LockStatistics) -> LockUse:
    return LockUse(
        lock=entry.lock,
        replica=entry.replica_id,
        requests=entry.requests,
        waits=entry.waits,
        waited_s=entry.waited_s,
        longest_s=entry.longest_s,
        held_s=entry.held_s,
    )


def _plain(use: PlainUse) -> PlainVariable:
    spec = use.spec
    return PlainVariable(
        name=spec.name,
        created_at=spec.created_at,
        shape=list(spec.shape),
        dtype=spec.dtype.name,
        writes=use.writes,
        reads=use.reads,
    )


def look_at(strategy: Any, variable: Any, *, partly: bool = False) -> Lens:
    """Return the components of a variable beside its cross-replica value.

    A variable with one copy has no components.

    Args:
        partly: Whether to leave out what is lost with a worker, instead of raising an error.
    Raises:
        VarsimError: A component cannot be read.
    """
    components: list[np.ndarray | None] = []
    lost: list[WorkerLost] = []
    is_one = not isinstance(variable, DistributedValues)
    for part in () if is_one else strategy.experimental_local_results(variable):
        try:
            components.append(np.asarray(part))
        except WorkerLost as error:
            if not partly:
                raise
            components.append(None)
            lost.append(error)
    value: np.ndarray | None = None
    refused, writes_lost = "", False
    try:
        value = variable.numpy()
    except VarsimError as error:
        if not isinstance(error, ValueError) and not (partly and isinstance(error, WorkerLost)):
            raise
        refused = _reason(error)
        writes_lost = isinstance(error.fact, WritesLost)
    known = [component for component in components if component is not None]
    if is_one and value is not None:
        known = [value]
    apart, indices = furthest_apart(known, _ELEMENTS) if known else (None, [])
    return Lens(
        components=[None if one is None else digest(one) for one in components],
        value=None if value is None else digest(value),
        refused=refused,
        apart=None if lost or writes_lost or is_one else apart,
        samples=_samples(components, value, indices),
        lost=_reasons(lost),
    )


def lens_of_copy(value: np.ndarray) -> Lens:
    """Return the value of a variable that has one copy, and no components."""
    _, indices = furthest_apart([value], _ELEMENTS)
    return Lens(
        components=[],
        value=digest(value),
        refused="",
        apart=None,
        samples=_samples([], value, indices),
    )


def lens_of_values(components: Sequence[np.ndarray]) -> Lens:
    """Return per-replica values side by side; they have no cross-replica value."""
    alike = {one.dtype for one in components}
    apart, indices = furthest_apart(components, _ELEMENTS) if len(alike) == 1 else (None, [])
    return Lens(
        components=[digest(one) for one in components],
        value=None,
        refused="",
        apart=apart,
        samples=_samples(components, None, indices),
    )


def _reasons(errors: Sequence[WorkerLost]) -> str:
    """Return why components are lost, in one line; lost components share one reason."""
    facts = [error.fact for error in errors if isinstance(error.fact, ComponentsLost)]
    others = [_reason(error) for error in errors if not isinstance(error.fact, ComponentsLost)]
    if facts:
        ids = {replica_id for fact in facts for replica_id in fact.replica_ids}
        others.insert(0, replace(facts[-1], replica_ids=tuple(sorted(ids))).problem)
    return "; ".join(dict.fromkeys(others))


def _reason(error: VarsimError) -> str:
    """Return why a read is refused, in one line and without the name of the variable."""
    if isinstance(error, VariableError):
        return error.problem
    fact = error.fact
    if isinstance(fact, WritesLost):
        return f"{fact.problem}; the components shown have {fact.remaining}"
    return fact.problem if isinstance(fact, ValueLost) else headline(str(error))


def _samples(
    components: Sequence[np.ndarray | None],
    value: np.ndarray | None,
    indices: Sequence[tuple[int, ...]],
) -> list[Sample]:
    """Return some elements of all components of a large array; [] for a small array."""
    if all(one is None or one.size <= SMALL_SIZE for one in components or [value]):
        return []
    return [
        Sample(
            index=list(index),
            components=[None if one is None else plain(one[index]) for one in components],
            value=None if value is None else plain(value[index]),
        )
        for index in indices
    ]


def reached(result: object) -> dict[str, Plain]:
    """Return a workload's result as JSON values. A per-replica value becomes a list."""
    shaped = plain(result, _in_replica_order)
    if shaped is None:
        return {}
    many = isinstance(result, Mapping) or is_dataclass(result)
    return shaped if many and isinstance(shaped, dict) else {"result": shaped}


def _in_replica_order(leaf: Any) -> Any:
    if isinstance(leaf, Variable):
        return _value_or_text(leaf)
    if isinstance(leaf, DistributedValues):
        return list(leaf.values)
    return leaf


def _value_or_text(variable: Variable) -> Any:
    """Return a variable's value; or why it has none, and where the program creates it."""
    try:
        return variable.numpy()
    except VarsimError as refused:
        spec = getattr(variable, "spec", None)  # every variable of a strategy has it
        at = f" (created at {spec.created_at})" if spec is not None and spec.created_at else ""
        return f"no value: {_reason(refused)}{at}"
