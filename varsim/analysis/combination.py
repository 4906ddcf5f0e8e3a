"""What collectives compute, as docs/collectives.md defines it, in plain NumPy."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from varsim.extension_dtypes import has_infinity, kind_of, max_of

Value = np.ndarray[Any, Any]
Arguments = Mapping[str, Any]

_KINDS: Final = {
    "op": str,
    "axis": int,
    "root": int,
    "exclusive": bool,
    "weight": float,
}
"""Name of an argument → its type."""

_PAIRS: Final[Mapping[str, Callable[[Value, Value], Value]]] = {
    "SUM": np.add,
    "MEAN": np.add,
    "MIN": np.minimum,
    "MAX": np.maximum,
    "PROD": np.multiply,
    "ANY": np.logical_or,
    "ALL": np.logical_and,
}
"""Op → the function of two values that is applied from the first replica to the last."""


_WITH_ZEROS: Final = frozenset({"SUM", "MEAN", "ANY"})
"""The ops of an all_reduce in which replicas that have joined can give zeros."""


@lru_cache(1024)
def arguments_in(text: object) -> Arguments | None:
    """Return the arguments of a collective in the note of a `give` event; None if it has none."""
    try:
        found = json.loads(text) if type(text) is str else None
    except ValueError:
        return None
    if type(found) is not dict or any(_KINDS.get(k) is not type(v) for k, v in found.items()):
        return None
    return found


def expected(
    operation: str,
    given: Mapping[int, Sequence[Value]],
    arguments: Mapping[int, Arguments],
    num_replicas: int,
    joined: Collection[int] = (),
) -> dict[int, list[Value]] | None:
    """Return the arrays of each replica's result; None if the values cannot be combined.

    Args:
        operation: The method of the program, such as all_reduce.
        given: The arrays of each replica that takes part, by replica_id, in replica order.
        arguments: The arguments of each of these replicas.
        num_replicas: The number of replicas of the run, or of members of the process group.
        joined: Further replicas, which have joined during the call: they give zeros, and get no
            result.
    """
    if joined:
        return _expected_with_joined(operation, given, arguments, num_replicas, joined)
    settings = [{**one, "weight": "weight" in one} for one in arguments.values()]
    if any(one != settings[0] for one in settings) or len({len(own) for own in given.values()}) > 1:
        return None
    columns = list(zip(*given.values(), strict=True))  # one tuple per array, in replica order
    if operation == "all_to_all":
        whole = len(columns) == len(given)
        return dict(zip(given, map(list, columns), strict=True)) if whole else None
    if operation == "broadcast":
        value = given.get(settings[0].get("root", -1))
        return None if value is None else {replica: list(value) for replica in given}
    weights = [float(one["weight"]) for one in arguments.values() if "weight" in one]
    how = _How(settings[0], weights, num_replicas)
    try:
        parts = [_PARTS[operation](list(one), how) for one in columns]
    except (ArithmeticError, KeyError, TypeError, ValueError):
        return None
    return {replica: [part[i] for part in parts] for i, replica in enumerate(given)}


def _expected_with_joined(
    operation: str,
    given: Mapping[int, Sequence[Value]],
    arguments: Mapping[int, Arguments],
    num_replicas: int,
    joined: Collection[int],
) -> dict[int, list[Value]] | None:
    first = next(iter(given), None)
    if first is None or operation != "all_reduce" or arguments[first].get("op") not in _WITH_ZEROS:
        return None
    zeros = [np.zeros_like(one) for one in given[first]]
    weighs = {"weight": 0.0} if "weight" in arguments[first] else {}
    every = sorted({*given, *joined})
    found = expected(
        operation,
        {i: given.get(i, zeros) for i in every},
        {i: arguments.get(i, {**arguments[first], **weighs}) for i in every},
        num_replicas,
    )
    return None if found is None else {i: found[i] for i in given}


@dataclass(frozen=True, slots=True)
class _How:
    arguments: Arguments
    weights: Sequence[float]
    num_replicas: int


def _reduced(values: Sequence[Value], how: _How) -> Value:
    """Return the reduction of the replicas' values; raise ValueError if it has no meaning."""
    op = how.arguments["op"]
    if how.weights:
        _check_meaning(op, values[0])
        return _weighted_mean(values, how.weights)
    if len(values) == how.num_replicas == 1:
        return values[0]
    _check_meaning(op, values[0])
    total = values[0]
    for value in values[1:]:
        total = np.asarray(_PAIRS[op](total, value))
    if op != "MEAN":
        return total
    if total.dtype.kind in "iu":
        return np.asarray(total / np.float64(len(values)))
    return np.asarray(total / np.asarray(len(values)).astype(total.dtype))


def _weighted_mean(values: Sequence[Value], weights: Sequence[float]) -> Value:
    kind, dtype = kind_of(values[0].dtype), values[0].dtype
    counted = [(one, weight) for one, weight in zip(values, weights, strict=True) if weight > 0]
    if not counted:
        raise ValueError("no weight")
    wide = np.complex128 if kind == "c" else np.float64
    total, divisor = np.zeros((), wide), 0.0
    for i, (value, weight) in enumerate(counted):
        term = value.astype(wide) * weight
        total, divisor = (total + term if i else term), divisor + weight
    mean = np.asarray(total / divisor)
    return mean.astype(dtype) if kind in "fc" else mean


def _check_meaning(op: str, value: Value) -> None:
    kind = kind_of(value.dtype)
    if (kind == "b") != (op in {"ANY", "ALL"}) or (kind == "c" and op in {"MIN", "MAX"}):
        raise ValueError("the op has no meaning for the dtype")


def _everywhere(values: Sequence[Value], how: _How) -> list[Value]:
    return [_reduced(values, how)] * len(values)


def _gathered(values: Sequence[Value], how: _How) -> list[Value]:
    return [np.concatenate(values, axis=how.arguments["axis"])] * len(values)


def _scattered(values: Sequence[Value], how: _How) -> list[Value]:
    axis = how.arguments["axis"]
    return np.split(_reduced(values, how), len(values), axis)


def _scanned(values: Sequence[Value], how: _How) -> list[Value]:
    op, first = how.arguments["op"], values[0]
    _check_meaning(op, first)
    if how.arguments.get("exclusive"):
        values = [np.full_like(first, _neutral(op, first.dtype)), *values[:-1]]
    found = [values[0]]
    for i, value in enumerate(values[1:]):
        # an exclusive scan begins with the neutral element, which is not part of a sum
        alone = how.arguments.get("exclusive") and not i
        found.append(value if alone else np.asarray(_PAIRS[op](found[-1], value)))
    return found


def _neutral(op: str, dtype: np.dtype[Any]) -> Any:
    """Return the value that an op leaves out: x op neutral is x for every x of the dtype."""
    if op not in {"MIN", "MAX"}:
        return {"SUM": 0, "ANY": False, "PROD": 1, "ALL": True}[op]
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.name)
        return limits.max if op == "MIN" else limits.min
    most = np.inf if has_infinity(dtype) else max_of(dtype)
    return most if op == "MIN" else -most


_PARTS: Final[Mapping[str, Callable[[Sequence[Value], _How], list[Value]]]] = {
    "all_reduce": _everywhere,
    "all_gather": _gathered,
    "reduce_scatter": _scattered,
    "scan": _scanned,
}
"""Method → a function of one array of each replica that returns each replica's part."""
