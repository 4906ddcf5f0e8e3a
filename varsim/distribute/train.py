"""Provide `tf.train`: checkpoints, and moving averages of variables."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from varsim.distribute.checkpoints.checkpoint import Checkpoint
from varsim.distribute.checkpoints.folder import latest_checkpoint
from varsim.distribute.checkpoints.series import CheckpointManager
from varsim.distribute.cluster_resolver import ClusterSpec
from varsim.distribute.context import current_frame, replica_in_force, strategy_in_force
from varsim.distribute.distributed import DistributedVariable
from varsim.distribute.strategy import Strategy
from varsim.distribute.variable import Reference, Variable
from varsim.errors import ContextError, MissingName, ValueTypeError
from varsim.extension_dtypes import kind_of

__all__ = [
    "Checkpoint",
    "CheckpointManager",
    "ClusterSpec",
    "ExponentialMovingAverage",
    "latest_checkpoint",
]


class ExponentialMovingAverage:
    """Averages of variables, in which newer values have more weight.

    Args:
        decay: The weight of the previous average: `average -= (1 - decay) * (average - value)`.
        num_updates: The number of updates so far. If it is given, the decay is at most
            `(1 + num_updates) / (10 + num_updates)`, so that the first averages change faster.
        zero_debias: This has no effect, because TensorFlow uses it only for tensors in graphs.
        name: A part of the names of the averages.

    Source: `tf.train.ExponentialMovingAverage` of TensorFlow 2.21.
    """

    def __init__(
        self,
        decay: float,
        num_updates: Any = None,
        zero_debias: bool = False,
        name: str = "ExponentialMovingAverage",
    ) -> None:
        self._decay = decay
        self._num_updates = num_updates
        self._name = name
        self._averages: dict[Reference, Variable] = {}

    @property
    def name(self) -> str:
        """Return the part that is common to the names of all averages."""
        return self._name

    def apply(self, var_list: Iterable[Variable] | None = None) -> None:
        """Update the average of each variable; the first call creates the average.

        In replica context, all replicas must call `apply`. The averages are then updated with the
        mean of the replicas' values.

        Raises:
            TypeError: `var_list` is None, or contains something other than float variables.
            ContextError: The average does not exist yet, and a replica cannot create it.
        """
        share = self._share()
        for variable in _checked(var_list):
            with _scope_of(variable):
                self._apply(variable, share)

    def _apply(self, variable: Variable, share: float) -> None:
        average = self.average(variable)
        if average is None:
            average = self._averages[variable.ref()] = self._created(variable)
        replica = replica_in_force()
        if replica is not None:
            replica.merge_call(_follow_mean, args=(average, variable, share))
        else:
            _update(strategy_in_force(), average, variable, share)

    def average(self, var: Variable) -> Variable | None:
        """Return the variable that holds the average; None if there is no average yet."""
        return self._averages.get(var.ref())

    def average_name(self, var: Variable) -> str:
        """Return the name of the average, even if the average does not exist yet."""
        average = self.average(var)
        return self._name_for(var) if average is None else average.name.removesuffix(":0")

    def variables_to_restore(
        self, moving_avg_variables: Iterable[Variable] | None = None
    ) -> dict[str, Variable]:
        """Return a dict from the names of averages to the averaged variables.

        Args:
            moving_avg_variables: The variables; None means all variables that have an average.
        """
        wanted = moving_avg_variables
        if wanted is None:
            wanted = [reference.deref() for reference in self._averages]
        return {self.average_name(variable): variable for variable in wanted}

    def _name_for(self, variable: Variable) -> str:
        return f"{variable.name.removesuffix(':0')}/{self._name}"

    def _created(self, variable: Variable) -> Variable:
        frame = current_frame()
        if frame is not None and frame.replica is not None and frame.replica.session is not None:
            raise ContextError(
                f"variable {variable.name!r} has no average yet, and a replica cannot create an "
                "average: call apply under strategy.scope() first, where it creates the average "
                "with the value of the variable"
            )
        average: Variable = Variable(
            variable.read_value(), trainable=False, name=self._name_for(variable)
        )
        return average

    def _share(self) -> float:
        """Return the weight of the new value, rounded to float32 as in TensorFlow."""
        decay = np.float32(self._decay)
        if self._num_updates is not None:
            updates = np.float32(np.asarray(self._num_updates))
            decay = min(decay, (np.float32(1) + updates) / (np.float32(10) + updates))
        return float(np.float32(1) - decay)


def _scope_of(variable: Variable) -> AbstractContextManager[Any]:
    """Return the scope of the variable's strategy; a null context if there is a scope already."""
    if current_frame() is None and isinstance(variable, DistributedVariable):
        return cast("Strategy", variable.strategy).scope()
    return nullcontext()


def _checked(variables: Iterable[Any] | None) -> list[Variable]:
    if variables is None:
        raise TypeError("apply needs the variables: ema.apply([v, w])")
    checked = list(variables)
    for variable in checked:
        if not isinstance(variable, Variable):
            raise TypeError(f"apply needs variables, not {type(variable).__name__}")
        if kind_of(variable.dtype) != "f":
            raise ValueTypeError(variable.name, "only variables of a float dtype have averages")
    return checked


def _follow_mean(strategy: Any, average: Variable, variable: Variable, share: float) -> None:
    """Update an average in a merge_call."""
    _update(strategy, average, strategy.extended.reduce_to("MEAN", variable, average), share)


def _update(strategy: Any, average: Variable, value: Any, share: float) -> None:
    strategy.extended.update(average, _follow, args=(value, share))


def _follow(average: Variable, value: Any, share: float) -> None:
    average.assign_sub((average - value) * average.dtype.type(share))


if not TYPE_CHECKING:  # with a `__getattr__`, a type checker would not report missing names

    def __getattr__(name: str) -> NoReturn:
        raise MissingName("tf.train", name)
