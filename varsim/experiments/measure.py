"""What is measured of a run's variables at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from varsim.distribute.values import DistributedValues
from varsim.distribute.variable import Variable
from varsim.errors import VariableError, VarsimError
from varsim.experiments.settings import AppliedSettings
from varsim.report.plain import SMALL_SIZE, digest, furthest_apart, plain
from varsim.report.summary import Lens, Plain, Sample, SyncCost, VariableSummary
from varsim.sync import statistics
from varsim.sync.statistics import VariableStatistics

if TYPE_CHECKING:
    from varsim.distribute.mirrored import MirroredStrategy

_ELEMENTS: Final = 2  # that are shown of a large array


def measure_variables(
    strategy: MirroredStrategy, settings: AppliedSettings, *, with_values: bool = True
) -> list[VariableSummary]:
    """All variables' accounts, in order of creation, and what they hold.

    Args:
        with_values: Whether to ask the workers for their components; they must be able to answer.
    """
    accounts = strategy.statistics()  # before the values are read, which costs messages
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
        on_write=None if account.on_write is None else _cost(account.on_write),
        lens=lens,
    )


def _cost(cost: statistics.Cost) -> SyncCost:
    return SyncCost(merges=cost.merges, messages=cost.messages, size_bytes=cost.size_bytes)


def look_at(strategy: MirroredStrategy, variable: Any) -> Lens:
    """The components of a variable beside its cross-replica value."""
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
    """What components hold in some elements; small arrays are shown whole, and need none."""
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
    """What a workload returned, as JSON can hold it; a per-replica value is a list."""
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
