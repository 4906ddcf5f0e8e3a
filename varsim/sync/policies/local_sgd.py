"""LocalSGD: writes stay local; at every k-th write of a replica, the components are averaged.

This is model averaging as in local SGD. The first k - 1 writes of a replica change only its own
component. After the k-th write, every component becomes the mean of the components. The k-th write
is a collective, like every write under ON_WRITE. A cross-replica read returns the mean of the
components at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Final

import numpy as np

from varsim.errors import ConfigError
from varsim.spec import Array, Operand, Operation, VariableAggregation, VariableSpec
from varsim.sync import reduce
from varsim.sync.policies.cells import Broadcast, Local, applied_to_each
from varsim.sync.policies.custom import CustomPolicy
from varsim.sync.policies.exchanging import EveryKth, WritesSinceExchange
from varsim.sync.policies.on_read import Gather
from varsim.sync.policies.policy import Rows, on_every_write, rows
from varsim.sync.policies.state import StateRule
from varsim.texts.modes import FORMS


@dataclass(frozen=True, slots=True)
class Average(EveryKth):
    """A local write; after the k-th write, all components become the mean of the components."""

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
    ) -> list[Array]:
        """Return the components after the first write since an exchange."""
        after = applied_to_each(operation, components, values)
        if self.every > 1:
            return after
        return [np.asarray(reduce.aggregate(after, spec.aggregation))] * len(after)


CROSS_REPLICA: Final = {
    Operation.READ: Gather(),
    **on_every_write(Broadcast(per_component=True)),
}


@dataclass(frozen=True)
class LocalSGD(CustomPolicy):
    """Average the replicas' components after every k-th write.

    Args:
        every: The number k of writes of a replica per exchange; at least 1.
    Raises:
        ConfigError: `every` is not a positive integer.
    """

    keyword: ClassVar[str] = "local_sgd"
    summary: ClassVar[str] = (
        "LocalSGD(k): writes stay local; at every k-th write of a replica, all components become "
        "their mean."
    )
    example: ClassVar[str] = "local_sgd:8"
    form_of_name: ClassVar[str] = FORMS["local_sgd"]
    meaning_of_parameters: ClassVar[str] = (
        "K is a positive integer, the number of writes of a replica per exchange"
    )
    aggregations: ClassVar[Mapping[VariableAggregation, VariableAggregation]] = {
        VariableAggregation.NONE: VariableAggregation.MEAN,
        VariableAggregation.MEAN: VariableAggregation.MEAN,
    }
    every: int

    def __post_init__(self) -> None:
        if type(self.every) is not int or self.every < 1:
            raise ConfigError(
                f"invalid LocalSGD({self.every!r}): expected a positive integer, the number of "
                "writes of a replica after which the components are averaged"
            )

    @property
    def state(self) -> StateRule:
        """Return the rules for the number of writes since the last exchange."""
        return WritesSinceExchange(self.every)

    @property
    def rows(self) -> Rows:
        """Return the policy's rows of the table: writes count, and a read combines components."""
        return _rows_of(self.every)


@cache
def _rows_of(every: int) -> Rows:
    return rows(
        replica={Operation.READ: Local(), **on_every_write(Average(every))},
        cross_replica=CROSS_REPLICA,
    )
