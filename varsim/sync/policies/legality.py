"""Check, under every policy, that a dtype supports an aggregation, an operation or a read."""

from __future__ import annotations

from typing import Final

import numpy as np

from varsim.errors import AggregationError, OperationError
from varsim.spec import SCATTERS, Operation, VariableAggregation, VariableSpec
from varsim.texts import refusals

_ADDS: Final = (Operation.ASSIGN_ADD, Operation.ASSIGN_SUB)


def check_mean(name: str, aggregation: VariableAggregation, dtype: np.dtype[np.generic]) -> None:
    """Refuse aggregation=MEAN of integers and bools, because a mean has fractions.

    Raises:
        AggregationError: The aggregation is MEAN, and the dtype is an integer dtype or bool.
    """
    if aggregation is VariableAggregation.MEAN and dtype.kind in "iub":
        raise AggregationError(
            name,
            refusals.MeanOfIntegers(dtype),
            refusals.USE_FLOATS,
        )


def check_arithmetic(spec: VariableSpec, operation: Operation, num_replicas: int) -> None:
    """Refuse dense writes that a variable of bools or of integers does not support.

    `scatter.check_rows` checks sparse writes.

    Args:
        num_replicas: The number of replicas whose values the write combines.
    Raises:
        AggregationError: The operation needs a SUM of bools, or a MEAN of integers or bools, over
            several replicas.
        OperationError: The operation is assign_add or assign_sub of bools.
    """
    if operation in SCATTERS:
        return
    if num_replicas > 1:
        check_mean(spec.name, spec.aggregation, spec.dtype)
    if spec.dtype.kind != "b":
        return
    if operation in _ADDS:
        raise OperationError(
            spec.name,
            refusals.NoArithmetic(operation),
            refusals.USE_INTEGERS,
        )
    check_gather(spec, num_replicas)


def check_gather(spec: VariableSpec, num_replicas: int) -> None:
    """Refuse to sum bools over several replicas.

    Raises:
        AggregationError: The cross-replica read needs a sum of bools.
    """
    is_sum = spec.aggregation is VariableAggregation.SUM
    if is_sum and spec.dtype.kind == "b" and num_replicas > 1:
        raise AggregationError(
            spec.name,
            refusals.SumOfBools(),
            refusals.COUNT_INSTEAD,
        )
