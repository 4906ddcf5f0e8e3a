"""Replays programs that are lists of operations on one variable `v`: see README.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

import varsim as tf
from tests.golden.encoding import decoded, encoded, number, numpy_number
from tests.golden.recorded import Case, CaseOutcome, Json, RecordedError
from tests.golden.terms import Descriptions, per_replica, per_replica_value

Call = Callable[[Any], Any]
"""A write: a function that gets the object whose method it calls."""

READS: dict[str, Callable[[Any], Any]] = {
    "read_value": lambda v: v.read_value(),
    "value": lambda v: v.value(),
    "numpy": lambda v: v.numpy(),
    "convert": np.asarray,
    "add": lambda v: v + v,
}


class Value:
    """The recorded operand of a write: one value for all replicas, or a value for each."""

    def __init__(self, recorded: Json, dtype: str, strategy: Any) -> None:
        dtype = recorded.get("dtype", dtype)
        kind, value = next((k, x) for k, x in recorded.items() if k != "dtype")
        self._strategy = strategy
        self._each: list[Any] | None = None
        self._one: Any = None
        match kind:
            case "per_replica_tensor":
                self._each = [decoded(member, dtype) for member in value]
            case "per_replica_numpy":
                self._each = [numpy_number(member, dtype) for member in value]
            case "per_replica_python":
                self._each = number(value)
            case "shared_tensor" | "fresh_tensor":
                self._one = decoded(value, dtype)
            case "shared_numpy":
                self._one = numpy_number(value, dtype)
            case "python":
                self._one = number(value)
            case "slices":
                self._one = slices(value, dtype)
            case "per_replica_slices":
                self._each = [slices(member, dtype) for member in value]
            case _:
                raise AssertionError(f"unknown kind of value: {kind}")
        self._is_fresh = kind == "fresh_tensor"

    def everywhere(self) -> Any:
        """Return the operand for cross-replica context: one value, or a PerReplica."""
        each = self._each
        if each is None:
            return self._one
        return per_replica_value(self._strategy, lambda replica_id: each[replica_id])

    def in_replica(self, then: Callable[[Any], Any]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return a function that calls `then` with the replica's value, and `args` for `run`."""
        if self._each is not None:
            return then, (self.everywhere(),)
        one = self._one
        if self._is_fresh:
            return (lambda: then(np.array(one))), ()
        return (lambda: then(one)), ()


def slices(recorded: Json, dtype: str) -> tf.IndexedSlices:
    """Return recorded values and indices as IndexedSlices."""
    values, indices = recorded
    return tf.IndexedSlices(decoded(values, dtype), np.array(indices, np.int32))


def written(target: Any, method: str, value: Any) -> Any:
    """Call a method that writes. Methods `scatter_nd_…` get indices and values separately."""
    if method.startswith("scatter_nd_") and isinstance(value, tf.IndexedSlices):
        return getattr(target, method)(value.indices[:, None], value.values)
    return getattr(target, method)(value)


class Operations:
    """One running program."""

    def __init__(self, case: Case, strategy: Any) -> None:
        self._case = case
        self._strategy = strategy
        self._variable: Any = None
        self._initializer_calls: int | None = None

    def replay(self) -> CaseOutcome:
        """Run the program to its end, or to its first error."""
        returned: Any = None
        for index, entry in enumerate(self._case.program):
            try:
                returned = self._perform(*entry)
            except Exception as error:  # the comparison with TensorFlow judges any error
                return CaseOutcome(error=failure(error, index, self._after()))
        return CaseOutcome(state=self._state(), returned=self._described(returned))

    def _after(self) -> Json:
        return None if self._variable is None else per_replica(self._variable)

    def _described(self, returned: Any) -> Json:
        if isinstance(returned, _DescribedReads):
            return returned.described
        if self._case.program[-1][0] == "create":
            return None
        return Descriptions(self._variable).describe(returned)

    def _state(self) -> dict[str, Json]:
        state = state_of(self._variable, self._case.dtype)
        if self._asks_for_attributes():
            state["attrs"] = attributes_of(self._variable)
        if self._initializer_calls is not None:
            state["initializer_calls"] = self._initializer_calls
        return state

    def _asks_for_attributes(self) -> bool:
        """Return True if the recorded program read attributes of the variable, or failed before."""
        recorded = self._case.recorded
        return "attrs" in recorded.state or (
            recorded.error is not None and self._case.topic == "create"
        )

    # ------------------------------------------------------------ operations

    def _scope(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._strategy is None else self._strategy.scope()

    def _perform(self, operation: str, *arguments: Any) -> Any:
        if operation == "create":
            with self._scope():
                self._variable = self._create()
            return None
        if operation == "read":
            return self._read(*arguments)
        if operation == "component":
            replica_id, method, recorded = arguments
            value = Value(recorded, self._case.dtype, self._strategy).everywhere()
            return getattr(self._variable.values[replica_id], method)(value)
        method, recorded = arguments
        value = Value(recorded, self._case.dtype, self._strategy)
        traced = tf.function if self._case.in_function else (lambda function: function)
        return traced(lambda: self._write(operation, method, value))()

    def _create(self) -> Any:
        record = self._case.record
        settings: dict[str, Any] = dict(record.get("kwargs", {}))
        for name in ("trainable", "dtype"):
            if name in record:
                settings[name] = record[name]
        return tf.Variable(
            self._initial_value(record.get("init")),
            synchronization=_member(tf.VariableSynchronization, record.get("sync")),
            aggregation=_member(tf.VariableAggregation, record.get("agg")),
            **settings,
        )

    def _initial_value(self, recorded: Json) -> Any:
        dtype = self._case.dtype or "float64"  # a NumPy number has its own dtype
        match recorded:
            case {"callable": value}:
                return self._counted(lambda call: decoded(value, dtype))
            case {"counter": _}:
                return self._counted(lambda call: decoded(call, dtype))
            case {"numpy": value}:
                return numpy_number(value, dtype)
            case {"tensor": value}:
                return decoded(value, dtype)
            case {"per_replica": values}:
                each = [decoded(value, dtype) for value in values]
                return per_replica_value(self._strategy, lambda replica_id: each[replica_id])
        return number(recorded)

    def _counted(self, make: Callable[[int], Any]) -> Callable[[], Any]:
        self._initializer_calls = 0

        def initial_value() -> Any:
            assert self._initializer_calls is not None
            self._initializer_calls += 1
            return make(self._initializer_calls)

        return initial_value

    def _write(self, operation: str, method: str, value: Value) -> Any:
        v, strategy = self._variable, self._strategy

        def merged(function: Callable[..., Any]) -> Any:
            in_replica, args = value.in_replica(lambda x: merge_call(function, (x,)))
            return strategy.run(in_replica, args=args)

        match operation:
            case "replica":
                in_replica, args = value.in_replica(lambda x: written(v, method, x))
                return strategy.run(in_replica, args=args)
            case "cross":
                with self._scope():
                    return written(v, method, value.everywhere())
            case "outside":
                return written(v, method, value.everywhere())
            case "merge":
                return merged(lambda _, x: written(v, method, x))
            case "merge_update":
                return merged(lambda st, x: update(st, v, method, x))
            case "update":
                with self._scope():
                    return update(strategy, v, method, value.everywhere())
            case "update_container":
                with self._scope():
                    return strategy.extended.update(
                        v, lambda _, x: written(v, method, x), args=(value.everywhere(),)
                    )
            case "replica_update":
                in_replica, args = value.in_replica(lambda x: update(strategy, v, method, x))
                return strategy.run(in_replica, args=args)
        raise AssertionError(f"unknown operation: {operation}")

    def _read(self, context: str, how: str | list[str]) -> Any:
        described: dict[str, Json] = {}
        for one in [how] if isinstance(how, str) else how:
            try:
                value = self._read_once(context, one)
            except Exception as error:  # the comparison with TensorFlow judges any error
                described[one] = {"error": failure(error, 0, None)}
            else:
                described[one] = Descriptions(self._variable).describe(value)
        return _DescribedReads(described[how] if isinstance(how, str) else described)

    def _read_once(self, context: str, how: str) -> Any:
        v, strategy, read = self._variable, self._strategy, READS[how]
        match context:
            case "replica":
                return strategy.run(lambda: read(v))
            case "merge":
                return strategy.run(lambda: merge_call(lambda _: read(v), ()))
            case "update":
                with self._scope():
                    return strategy.extended.update(v, lambda _: read(v))
            case "cross":
                with self._scope():
                    return read(v)
        return read(v)  # outside the scope of the strategy; varsim has no device scopes


class _DescribedReads:
    """Descriptions of several reads, some of which may have raised."""

    def __init__(self, described: Json) -> None:
        self.described = described


def merge_call(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call merge_call of the current replica."""
    return tf.distribute.get_replica_context().merge_call(function, args=args)


def update(strategy: Any, variable: Any, method: str, value: Any) -> Any:
    """Call `extended.update` with a method of the component."""
    return strategy.extended.update(
        variable, lambda component, x: written(component, method, x), args=(value,)
    )


def _member(kind: Any, name: str | None) -> Any:
    """Return the member of an enum with this name, or the name itself if there is no member."""
    return getattr(kind, name, name) if name is not None else None


def attributes_of(variable: Any) -> dict[str, Json]:
    """Return the attributes of a new variable and of its components."""
    attributes = {
        "class": type(variable).__name__,
        "trainable": variable.trainable,
        "synchronization": variable.synchronization.name,
        "aggregation": variable.aggregation.name,
        "dtype": variable.dtype.name,
        "shape": list(variable.shape),
        "name": variable.name,
    }
    if not isinstance(variable, tf.distribute.DistributedValues):
        return attributes
    parts = variable.values
    return attributes | {
        "component_class": _common(type(part).__name__ for part in parts),
        "component_sync": _each(part.synchronization.name for part in parts),
        "component_agg": _each(part.aggregation.name for part in parts),
        "component_trainable": _each(part.trainable for part in parts),
        "devices": [
            part.device.removeprefix("/device:").upper().rpartition("/")[2] for part in parts
        ],
        "num_components": len(parts),
    }


def _each(values: Iterable[Json]) -> list[Json]:
    """Return the values without duplicates."""
    return sorted(set(values))


def _common(values: Iterable[str]) -> str:
    """Return the common value. Different values are joined by `or`."""
    return " or ".join(_each(values))


def state_of(variable: Any, dtype: str) -> dict[str, Json]:
    """Return a variable's components and its cross-replica value."""
    state: dict[str, Json] = {"per_replica": per_replica(variable)}
    try:
        value = variable.read_value()
    except Exception as error:  # the comparison with TensorFlow judges any error
        state["cross_read"] = {"error": failure(error, 0, None)}
        return state
    state["cross_read"] = encoded(value)
    if dtype != value.dtype.name:
        state["cross_read_dtype"] = value.dtype.name
    return state


def failure(error: Exception, at: int, after: Json) -> RecordedError:
    """Return an exception in the format of the recording."""
    tail = error.__traceback__
    while tail is not None and tail.tb_next is not None:
        tail = tail.tb_next
    file = tail.tb_frame.f_code.co_filename if tail is not None else ""
    return RecordedError(
        kind=type(error).__name__,
        kinds=frozenset(kind.__name__ for kind in type(error).__mro__),
        at=at,
        after=after,
        message=str(error).partition("\n")[0],
        by_program=not file.startswith(VARSIM),
    )


VARSIM = str(Path(str(tf.__file__)).parent)
"""The folder of varsim's own modules."""
