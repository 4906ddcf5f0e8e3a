"""The messages of reductions with which workers help: each worker reduces a slice."""

from __future__ import annotations

from varsim.protocol.parts import Message
from varsim.spec import Array, Operation, VariableAggregation
from varsim.value_class import value_class


@value_class(kw_only=True, eq=False)
class ReduceSlice(Message):
    """Coordinator → waiting worker: compute a slice of a reduction, in shared memory.

    The answer is a `SliceReduced`. The exchange handles both messages; a state never gets them.
    """

    request_id: int
    aggregation: VariableAggregation
    operation: Operation
    values: tuple[Array, ...]  # slices of the replicas' values, in replica order
    mirror: tuple[Array, ...]  # a slice of the mirror; empty if the reduction does not use it
    out: Array  # the worker writes the result here


@value_class(kw_only=True, eq=False)
class SliceReduced(Message):
    """Worker → coordinator: the slice is computed."""

    request_id: int
