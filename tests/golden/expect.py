"""Computes the expected outcome of a program on one variable: TensorFlow's, changed by D1-D13.

This module is another, small implementation that uses only NumPy. The module shares no code with
varsim, so one mistake cannot make both implementations wrong in the same way. The module follows
the recording: where no rule applies, it gives TensorFlow's outcome, and a test checks this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.golden.encoding import decoded, encoded, number
from tests.golden.recorded import Case, CaseOutcome, Json, RecordedError

Array = np.ndarray[Any, Any]

KINDS_OF_NUMBERS = {"b": "b", "i": "iu", "f": "iuf"}
"""Kind of a variable's dtype → kinds of numbers that varsim converts to this dtype."""

SYNCHRONIZATIONS = frozenset({"AUTO", "NONE", "ON_WRITE", "ON_READ"})
AGGREGATIONS = frozenset({"NONE", "SUM", "MEAN", "ONLY_FIRST_REPLICA"})


class ExpectedError(Exception):
    """The program ends with an error of this class. "" stands for ValueError or TypeError."""

    def __init__(self, kind: str = "") -> None:
        super().__init__(kind)
        self.kind = kind or "InvalidArgumentError"  # compare.py then accepts any clear refusal


class Model:
    """The components of the variable, and the effects of operations."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._dtype = case.dtype
        self._world = case.world if case.is_mirrored else 1
        self._copies = self._world
        self._parts: list[Array] | None = None
        self._returned: Json = None
        self._synchronization = case.synchronization
        self._local = case.synchronization in ("NONE", "ON_READ")
        self._on_read = case.synchronization == "ON_READ"
        self._aggregation = case.aggregation
        if not case.is_mirrored:  # a plain variable ignores its settings
            self._local = self._on_read = False
            self._aggregation = "NONE"

    def outcome(self) -> CaseOutcome:
        """Run the program to its end, or to its first error."""
        for index, entry in enumerate(self._case.program):
            try:
                self._perform(*entry)
            except ExpectedError as refused:
                after = None if self._parts is None else [encoded(part) for part in self._parts]
                return CaseOutcome(
                    error=RecordedError(kind=refused.kind, at=index, after=after, message="")
                )
        assert self._parts is not None
        state: dict[str, Json] = {"per_replica": [encoded(part) for part in self._parts]}
        if self._case.program[-1] == ["save"]:
            return CaseOutcome(
                state=state | {"saved": encoded(self._cross_read()), "num_tensors": 1}
            )
        try:
            state["cross_read"] = encoded(self._cross_read())
        except ExpectedError as refused:
            state["cross_read"] = {"error": {"type": refused.kind}}
        if self._case.program == [["create"]] and self._local and not self._on_read:
            state["attrs"] = self._attributes_of_local_state()
        return CaseOutcome(state=state, returned=self._returned)

    def _perform(self, operation: str, *arguments: Any) -> None:
        self._returned = None
        if operation == "create":
            self._create()
        elif operation == "read":
            context, how = arguments
            if isinstance(how, str):
                self._returned = self._read_or_error(context, how)
            else:
                self._returned = {one: self._read_or_error(context, one) for one in how}
        elif operation == "component":
            replica_id, method, recorded = arguments
            if not self._case.is_mirrored:
                raise ExpectedError("AttributeError")  # a plain variable has no components
            part = self._fitting(self._values(recorded)[0], replica_id, method)
            self._set(replica_id, method, part)
        elif operation == "save":
            self._cross_read()
        elif operation == "restore":
            self._restore()
        else:
            self._write(operation, *arguments)

    def _check_settings(self) -> None:
        if self._aggregation == "MEAN" and np.dtype(self._dtype or "float32").kind in "iub":
            raise ExpectedError("ValueError")
        if (
            self._synchronization not in SYNCHRONIZATIONS
            or self._case.aggregation not in AGGREGATIONS
        ):
            raise ExpectedError("ValueError")

    def _create(self) -> None:
        case = self._case
        self._check_settings()
        init = case.record.get("init")
        if init is None or (case.is_mirrored and isinstance(init, dict) and "per_replica" in init):
            raise ExpectedError("ValueError")
        value = _initial(init, case.dtype)
        shape = case.record.get("kwargs", {}).get("shape")
        if shape is not None and not _fits(shape, value.shape):
            raise ExpectedError("ValueError")
        self._parts = [value] * self._copies

    def _attributes_of_local_state(self) -> dict[str, Json]:
        """Return the attributes of a variable with synchronization NONE (D1)."""
        trainable = self._case.record.get("trainable", True)
        return {
            "class": "LocalVariable",
            "trainable": trainable,
            "synchronization": "NONE",
            "aggregation": self._aggregation,
            "dtype": self._case.dtype,
            "shape": [],
            "name": "Variable:0",
            "component_class": "ResourceVariable",
            "component_sync": ["NONE"],
            "component_agg": [self._aggregation],
            "component_trainable": [trainable],
            "devices": [f"CPU:{i}" for i in range(self._world)],
            "num_components": self._world,
        }

    def _restore(self) -> None:
        """Set every component to the saved value, or to its share if a read adds components."""
        saved = decoded(self._case.record["saved"], self._case.dtype)
        if self._on_read and self._aggregation == "SUM":
            quotient = np.asarray(saved / saved.dtype.type(self._world))
            saved = np.trunc(quotient).astype(saved.dtype) if saved.dtype.kind == "i" else quotient
        self._parts = [saved] * self._world

    # ------------------------------------------------------------ values

    def _values(self, recorded: Json) -> list[Any]:
        """Return each replica's value: an array, or a number without a dtype."""
        dtype = recorded.get("dtype", self._case.dtype)
        kind, value = next((k, x) for k, x in recorded.items() if k != "dtype")
        each = value if kind.startswith("per_replica") else [value] * self._world
        if kind.endswith("tensor"):
            return [decoded(member, dtype) for member in each]
        if kind.endswith("numpy"):
            return [decoded(member, dtype)[()] for member in each]
        return [number(member) for member in each]

    def _fitting(self, value: Any, replica_id: int, method: str) -> Array:
        """Return the value with the variable's dtype and shape, or raise ExpectedError."""
        part = self._part(replica_id)
        if isinstance(value, np.ndarray):
            if value.dtype != part.dtype:
                raise ExpectedError("ValueError")
        else:
            value = self._converted(value, part.dtype)
        if part.dtype.kind == "b" and method != "assign":
            raise ExpectedError
        open_shape = "shape" in self._case.record.get("kwargs", {})
        if (
            value.ndim != part.ndim
            if open_shape and method == "assign"
            else value.shape != part.shape
        ):
            raise ExpectedError("ValueError" if method == "assign" else "")
        return value

    def _part(self, replica_id: int) -> Array:
        assert self._parts is not None
        return self._parts[replica_id]

    def _converted(self, value: Any, dtype: np.dtype[Any]) -> Array:
        """Return a number, or a list of numbers, as an array of the variable's dtype."""
        if value is None:
            raise ExpectedError("ValueError")
        found = np.asarray(value)
        if found.dtype.kind not in KINDS_OF_NUMBERS[dtype.kind]:
            raise ExpectedError("TypeError")
        return np.array(value, dtype)

    # ------------------------------------------------------------ writing

    def _write(self, where: str, method: str, recorded: Json) -> None:
        if "scatter" in method:
            self._scatter(where, method, recorded)
            return
        values = self._values(recorded)
        if where == "replica":
            if self._local or self._aggregation == "NONE":
                self._write_locally(method, values)
            else:
                self._write_all(method, [self._aggregated(values, method)] * self._world)
            return
        if "update" in where or not self._on_read:  # each component gets its own value
            self._write_all(method, values)
            return
        each = next(iter(recorded)).startswith("per_replica") or where == "merge"
        alone = where == "merge" and self._world == 1  # one replica's values stay plain values
        self._write_shares(method, values, per_replica=each and not alone)

    def _write_locally(self, method: str, values: list[Any]) -> None:
        """Write each replica's own component, even if other replicas fail (D4)."""
        refusals: list[ExpectedError] = []
        for replica_id, value in enumerate(values):
            try:
                self._set(replica_id, method, self._fitting(value, replica_id, method))
            except ExpectedError as refused:
                refusals.append(refused)
        if refusals:
            raise refusals[0]

    def _write_shares(self, method: str, values: list[Any], *, per_replica: bool) -> None:
        """Do a cross-replica write to an ON_READ variable."""
        if self._aggregation == "NONE":
            raise ExpectedError  # D5, before anything changes
        if self._aggregation == "SUM" and method != "assign":
            raise ExpectedError("ValueError")
        if per_replica:
            raise ExpectedError
        value = values[0]
        if self._aggregation == "SUM":
            assert self._parts is not None
            value = _share(value, self._parts[0].dtype, self._world)
        self._write_all(method, [value] * self._world)

    def _aggregated(self, values: list[Any], method: str) -> Array:
        """Combine all replicas' values with the variable's aggregation."""
        fitting = [self._fitting(value, i, method) for i, value in enumerate(values)]
        return self._combined(fitting)

    def _combined(self, values: Sequence[Array]) -> Array:
        if self._aggregation == "ONLY_FIRST_REPLICA" or len(values) == 1:
            return values[0]
        if any(value.shape != values[0].shape for value in values) or values[0].dtype.kind == "b":
            raise ExpectedError
        total = left_fold(values)
        return mean_of(total, len(values)) if self._aggregation == "MEAN" else total

    def _write_all(self, method: str, values: Sequence[Any]) -> None:
        """Write all components or none (D4)."""
        fitting = [self._fitting(value, i, method) for i, value in enumerate(values)]
        for replica_id, value in enumerate(fitting):
            self._set(replica_id, method, value)

    def _set(self, replica_id: int, method: str, value: Array) -> None:
        assert self._parts is not None
        part = self._parts[replica_id]
        match method:
            case "assign":
                after = value
            case "assign_add":
                after = part + value
            case _:
                after = part - value
        self._parts[replica_id] = np.asarray(after, part.dtype)

    # ------------------------------------------------------------ sparse writes

    def _scatter(self, where: str, method: str, recorded: Json) -> None:
        kind, value = next(iter(recorded.items()))
        per_replica = kind == "per_replica_slices"
        each = value if per_replica else [value] * self._world
        if "update" not in where and self._case.is_mirrored:
            across = ("cross", "merge") if self._world > 1 else ("cross",)
            self._check_scatter(method, of_each=per_replica and where in across)
        rows = self._rows(each, kind, recorded.get("dtype", self._case.dtype))
        if "update" not in where and self._case.is_mirrored:
            merges = where == "replica" and not self._local and self._aggregation != "NONE"
            if merges and self._aggregation == "ONLY_FIRST_REPLICA":
                rows = [rows[0]] * self._world
            elif merges:
                rows = [self._joined(rows)] * self._world
        assert self._parts is not None
        self._parts = [scattered(method, *both) for both in zip(self._parts, rows, strict=True)]

    def _rows(self, each: list[Json], kind: str, dtype: str) -> list[tuple[Array, list[int]]]:
        """Return each replica's rows, or raise the error of a value that does not fit."""
        assert self._parts is not None
        if not kind.endswith("slices"):
            raise ExpectedError("TypeError")
        if dtype != self._case.dtype:
            raise ExpectedError("ValueError")
        if not all(0 <= index < len(self._parts[0]) for _, own in each for index in own):
            raise ExpectedError
        return [(decoded(values, dtype), indices) for values, indices in each]

    def _check_scatter(self, method: str, *, of_each: bool) -> None:
        """Raise an error if the variable, but not its components, refuses this sparse write."""
        if method.startswith("scatter_nd_") and of_each:
            raise ExpectedError("TypeError")  # a PerReplica has no `values` and `indices`
        if self._on_read or method.startswith(("scatter_nd_", "batch_")):
            raise ExpectedError("NotImplementedError")
        combines = method in ("scatter_add", "scatter_sub", "scatter_mul", "scatter_div")
        if not self._local and not combines and self._aggregation in ("SUM", "MEAN"):
            raise ExpectedError("NotImplementedError")

    def _joined(self, rows: list[tuple[Array, list[int]]]) -> tuple[Array, list[int]]:
        """Return all replicas' rows. For MEAN, divide their values by the number of replicas."""
        values = np.concatenate([values for values, _ in rows])
        if self._aggregation == "MEAN":
            values = mean_of(values, self._world)
        return values, [index for _, indices in rows for index in indices]

    # ------------------------------------------------------------ reading

    def _cross_read(self) -> Array:
        assert self._parts is not None
        if not self._local:
            return self._parts[0]
        if not self._on_read or self._aggregation == "NONE":
            raise ExpectedError("ValueError")
        return self._combined(self._parts)

    def _read_or_error(self, context: str, how: str) -> Json:
        try:
            return self._read(context, how)
        except ExpectedError as refused:
            return {"error": {"type": refused.kind}}

    def _read(self, context: str, how: str) -> Json:
        if not self._case.is_mirrored or context not in ("replica", "update", "merge"):
            return read_as(self._cross_read(), how)  # also in a device scope (D10)
        assert self._parts is not None
        parts = [self._cross_read()] * self._world if context == "merge" else self._parts
        values = [read_as(part, how) for part in parts]
        if len(values) == 1:  # one replica's values stay plain values
            return values[0]
        return {"type": "Mirrored" if context == "update" else "PerReplica", "values": values}


def read_as(value: Array, how: str) -> Json:
    if how == "add":
        if value.dtype.kind == "b":
            raise ExpectedError
        value = np.asarray(value + value)
    return {"type": "Tensor", "dtype": value.dtype.name, "value": encoded(value)}


def scattered(method: str, part: Array, rows: tuple[Array, list[int]]) -> Array:
    """Return a component after a sparse write that changes one row after the other."""
    after = part.copy()
    for value, index in zip(*rows, strict=True):
        after[index] = _CHANGED[method.rpartition("_")[2]](after[index], value)
    return after


def _quotient(before: Any, value: Any) -> Any:
    if before.dtype.kind == "f":
        return before / value
    return abs(int(before)) // abs(int(value)) * (1 if (before < 0) == (value < 0) else -1)


_CHANGED: dict[str, Any] = {
    "add": lambda before, value: before + value,
    "sub": lambda before, value: before - value,
    "mul": lambda before, value: before * value,
    "div": _quotient,
    "min": min,
    "max": max,
    "update": lambda _, value: value,
}
"""The end of a method's name → a function of a row and its operand that returns the new row."""


def left_fold(values: Sequence[Array]) -> Array:
    """Return the sum in replica order, rounded to the dtype at every step (D8)."""
    total = values[0]
    for value in values[1:]:
        total = np.asarray(total + value, total.dtype)
    return total


def mean_of(total: Array, count: int) -> Array:
    """Divide a sum in its own dtype, or in float64 for integers (D8)."""
    if total.dtype.kind in "iu":
        return np.asarray(total.astype(np.float64) / count)
    return np.asarray(total / total.dtype.type(count), total.dtype)


def _share(value: Any, dtype: np.dtype[Any], count: int) -> Array:
    """Return one replica's share of a value, computed without loss in the variable's dtype (D7).

    A share that is an integer is truncated. A share of True is True.
    """
    if dtype.kind == "b" and isinstance(value, bool):
        return np.asarray(value)
    if value is None:
        raise ExpectedError("ValueError")
    found = np.asarray(value)
    if found.dtype.kind not in "iuf" or dtype.kind == "b":
        raise ExpectedError("TypeError")
    if found.dtype.kind == "f":
        return np.asarray(mean_of(found, count)).astype(dtype)
    if dtype.kind == "f":
        return mean_of(found.astype(dtype), count)
    exact = [abs(int(x)) // count * (-1 if x < 0 else 1) for x in found.flat]
    return np.array(exact, dtype).reshape(found.shape)


def _initial(recorded: Json, dtype: str) -> Array:
    """Return the initial value: Python numbers without a dtype become float32 and int32."""
    match recorded:
        case {"callable": value} | {"tensor": value} | {"numpy": value}:
            return decoded(value, dtype or "float64")
        case {"per_replica": [value]}:
            return decoded(value, dtype)
        case {"counter": _}:
            return decoded(1, dtype)
    value = np.asarray(number(recorded))
    return decoded(recorded, dtype or {"f": "float32", "i": "int32"}.get(value.dtype.kind, "bool"))


def _fits(declared: list[int | None], shape: tuple[int, ...]) -> bool:
    sizes = zip(declared, shape, strict=True) if len(declared) == len(shape) else [(0, 1)]
    return all(size is None or size == given for size, given in sizes)
