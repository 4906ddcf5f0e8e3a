"""Event-triggered exchanges: a replica exchanges only after its component has drifted.

Source: S. Ghosh, B. Aquino, V. Gupta, "EventGraD: Event-Triggered Communication in Parallel Machine
Learning", Neurocomputing 2022 (arXiv 2103.07454). Here a replica sends its drift to one copy, and
not its parameters to neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Self

import numpy as np

import varsim as tf
from varsim.spec import (
    Array,
    NamedArrays,
    Operand,
    Operation,
    VariableAggregation,
    VariableSpec,
)
from varsim.sync.actions import ReplicaAction
from varsim.sync.policies.cells import Cell, Local, applied_to_each
from varsim.sync.policies.copy import ReadCopy, ToAllAndCopy
from varsim.sync.policies.known import Known
from varsim.sync.policies.policy import Rows, on_every_write, rows
from varsim.sync.policies.replica import ReplicaWrites, VariableT_contra
from varsim.sync.policies.state import StateRule
from varsim.texts.cells import CellText

MEAN = VariableAggregation.MEAN

DRIFT: Final = "drift"
"""The name of the policy state: the sum of a replica's own changes since its last exchange."""


@dataclass(frozen=True, slots=True)
class PushDrift(Cell):
    """A local write; if the drift then exceeds the threshold, the replica exchanges it."""

    threshold: float
    writes_itself: ClassVar[bool] = True
    writes_alone: ClassVar[bool] = True

    @property
    def is_private(self) -> bool:
        """Return True: the policy intends that the components differ."""
        return True

    @property
    def text(self) -> CellText:
        """Return the texts about this cell, for `varsim explain`."""
        return CellText(
            brief="own component; if it has drifted, a push of the drift and a pull of the copy",
            narrow="sent if drifted",
            write=(
                "The write changes only this replica's component. If the changes since the "
                "replica's last exchange have a norm above the threshold, the replica pushes their "
                "sum, divided by the number of replicas, to the copy, and continues with the copy. "
                "Such an exchange sends three messages and waits for no other replica."
            ),
        )

    def write(
        self,
        replica: ReplicaWrites[VariableT_contra],
        variable: VariableT_contra,
        operation: Operation,
        operand: Operand,
        location: str,
    ) -> Sequence[ReplicaAction]:
        """Write locally; push the drift and pull the copy if the drift exceeds the threshold."""
        before = np.array(variable.component())
        replica.write_locally(variable, operation, operand)
        drift = np.asarray(variable.component() - before)
        if DRIFT in variable.policy_state:
            drift = np.asarray(variable.policy_state.pop(DRIFT) + drift)
        if norm(drift) <= self.threshold:
            variable.policy_state[DRIFT] = drift
            return ()
        share = part(drift, replica.num_replicas)
        return [*replica.push(variable, share, location), *replica.pull(variable, location)]

    def obtained(
        self, replica: ReplicaWrites[VariableT_contra], variable: VariableT_contra, value: Array
    ) -> Sequence[ReplicaAction]:
        """Continue with the copy, which contains the drift."""
        return replica.adopt(variable, value)

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return this cell: the changes of a sparse write are a part of the drift."""
        return self

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
    ) -> list[Array]:
        """Return the components after a write of each replica, one after the other."""
        return self._one_by_one(operation, components, values, components[0])[0]

    def copied(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
        copy: Array,
    ) -> Array:
        """Return the copy after the same writes."""
        return self._one_by_one(operation, components, values, copy)[1]

    def _one_by_one(
        self,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
        copy: Array,
    ) -> tuple[list[Array], Array, int]:
        """Return the components, the copy, and the number of exchanges, without earlier drifts."""
        after, exchanges = applied_to_each(operation, components, values), 0
        for i, before in enumerate(components):
            drift = np.asarray(after[i] - before)
            if norm(drift) > self.threshold:
                after[i] = copy = np.asarray(copy + part(drift, len(components)))
                exchanges += 1
        return after, copy, exchanges

    def cost(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
        known: Known,
    ) -> int:
        """Count three messages for each replica whose drift exceeds the threshold."""
        known.unknown.update(range(known.num_replicas))
        return 3 * self._one_by_one(operation, components, values, components[0])[2]


def norm(drift: Array) -> float:
    """Return the Euclidean norm of a drift, in double precision."""
    return float(np.linalg.norm(drift.astype(np.float64).ravel()))


def part(drift: Array, num_replicas: int) -> Array:
    """Return what a replica adds to the copy: the copy then moves like the mean."""
    return np.asarray(drift / drift.dtype.type(num_replicas))


@dataclass(frozen=True, slots=True)
class Drift(StateRule):
    """The drift of a replica; no state stands for a drift of 0."""

    def check(self, spec: VariableSpec, state: NamedArrays) -> None:
        """Check that there is nothing but a drift of the variable's form.

        Raises:
            ValueError: There is something else.
        """
        for name, array in state:
            if name != DRIFT or (array.shape, array.dtype) != (spec.shape, spec.dtype):
                raise ValueError(f"{name} of shape {array.shape} is not the drift of a replica")


@dataclass(frozen=True)
class EventTriggered(tf.CustomPolicy):
    """Let a replica exchange only when its component has drifted by more than a threshold.

    Args:
        threshold: The largest Euclidean norm of a drift that is not exchanged; at least 0.
    Raises:
        ConfigError: `threshold` is not such a number.
    """

    keyword: ClassVar[str] = "event_triggered"
    summary: ClassVar[str] = (
        "EventTriggered(t): writes stay local; a replica whose changes have a norm above t adds "
        "them to a copy and continues with the copy."
    )
    example: ClassVar[str] = "event_triggered:0.5"
    meaning_of_parameters: ClassVar[str] = (
        "THRESHOLD is a number from 0, the norm above which a replica exchanges its changes"
    )
    keeps_copy: ClassVar[bool] = True
    aggregations: ClassVar[Mapping[VariableAggregation, VariableAggregation]] = {
        VariableAggregation.NONE: MEAN,
        MEAN: MEAN,
    }
    threshold: float

    def __post_init__(self) -> None:
        if type(self.threshold) not in {int, float} or not 0 <= self.threshold < np.inf:
            raise tf.ConfigError(
                f"invalid EventTriggered({self.threshold!r}): expected a number from 0, the norm "
                "above which a replica exchanges its changes"
            )

    @property
    def name(self) -> str:
        """Return the keyword and the threshold, which is written without an exponent."""
        return f"{self.keyword}:{np.format_float_positional(self.threshold, trim='-')}"

    @classmethod
    def parse(cls, parameters: list[str]) -> Self:
        """Return the policy with this parameter.

        Raises:
            ValueError: It is not one number.
        """
        (threshold,) = map(float, parameters)
        return cls(threshold)

    @property
    def state(self) -> StateRule:
        """Return the rule for the drift that each replica keeps beside its component."""
        return Drift()

    @property
    def rows(self) -> Rows:
        """Return the policy's rows of the table. A read by the program returns the copy."""
        return rows(
            replica={Operation.READ: Local(), **on_every_write(PushDrift(self.threshold))},
            cross_replica={Operation.READ: ReadCopy(), **on_every_write(ToAllAndCopy())},
        )
