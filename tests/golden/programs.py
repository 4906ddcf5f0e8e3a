"""Replays programs that are lines of Python."""

from __future__ import annotations

from typing import Any

import numpy as np

import varsim as tf
from tests.golden.operations import failure, state_of
from tests.golden.recorded import Case, CaseOutcome, Json
from tests.golden.shim import TF, constant
from tests.golden.terms import Descriptions, per_replica, per_replica_value
from tests.replica_context import replica_id


class PythonProgram:
    """One running program."""

    def __init__(self, case: Case, names: dict[str, Any]) -> None:
        """Prepare a program whose strategies have the given names."""
        self._case = case
        self._names: dict[str, Any] = {
            "tf": TF,
            "np": np,
            "W": case.world,
            "rid": replica_id,
            "ctx": tf.distribute.get_replica_context,
            "PR": self._per_replica,
            "VS": tf.VariableSynchronization,
            "VA": tf.VariableAggregation,
            "R": tf.distribute.ReduceOp,
            "desc": self._describe,
            **names,
        }

    def replay(self) -> CaseOutcome:
        """Run the program to its end, or to its first error."""
        for index, line in enumerate(self._case.program):
            try:
                exec(compile(self._translated(line), f"<line {index}>", "exec"), self._names)
            except Exception as error:  # the comparison with TensorFlow judges any error
                return CaseOutcome(error=failure(error, index, self._after()))
        variable = self._variable()
        recorded_dtype = self._case.recorded.state.get("cross_read_dtype")
        state: dict[str, Json] = {}
        if variable is not None:
            state = state_of(variable, variable.dtype.name if recorded_dtype is None else "")
        return CaseOutcome(state=state, returned=self._describe(self._names.get("out")))

    def _translated(self, line: str) -> str:
        """Return the line without calls of numpy(): varsim's tensors have no such method."""
        if not self._case.is_mirrored:
            line = line.replace("x.numpy()", "x")  # x is the tensor that PR of one tensor returns
        return line.replace("y.numpy()", "y")  # y is an element of a dataset

    def _variable(self) -> Any:
        found = self._names.get("v")
        return found if isinstance(found, tf.Variable) else None

    def _after(self) -> Json:
        variable = self._variable()
        return None if variable is None else per_replica(variable)

    def _describe(self, value: Any) -> Json:
        return Descriptions(self._variable()).describe(value)

    def _per_replica(self, values: list[Any], dtype: Any = None) -> Any:
        """Return `PR(values, dtype)`: tensors of the dtype, or plain values without a dtype."""
        each = values if dtype is None else [constant(value, dtype) for value in values]
        return per_replica_value(self._names["s"], lambda replica_id: each[replica_id])
