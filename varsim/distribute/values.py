"""Values that have a component per replica, and the structures that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any

import numpy as np

from varsim.distribute.context import current_frame
from varsim.errors import DistributedValueError, ValueMismatchError


class DistributedValues:
    """A value with one component per replica.

    Source: `tf.distribute.DistributedValues`.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        self._values = tuple(values)

    @property
    def values(self) -> tuple[Any, ...]:
        """The components, in replica order."""
        return self._values

    def select(self, replica_id: int, num_replicas: int) -> Any:
        """One replica's component.

        Raises:
            DistributedValueError: There is not one component for each replica (D9).
        """
        if len(self._values) != num_replicas:
            raise DistributedValueError(
                f"a {type(self).__name__} of {len(self._values)} values cannot be used with "
                f"{num_replicas} replicas: it needs one value for each"
            )
        return self._values[replica_id]

    def __repr__(self) -> str:
        lines = ",\n".join(f"  {i}: {value!r}" for i, value in enumerate(self._values))
        return f"{type(self).__name__}:{{\n{lines}\n}}"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        frame = current_frame()
        if frame is None or frame.replica is None:
            raise DistributedValueError(
                f"a {type(self).__name__} has one value per replica and is none itself: use it in "
                "strategy.run, strategy.reduce or strategy.experimental_local_results"
            )
        replica = frame.replica
        mine = self.select(replica.replica_id_in_sync_group, replica.num_replicas_in_sync)
        return np.asarray(mine, dtype=dtype)


class PerReplica(DistributedValues):
    """A value that is each replica's own."""


class Mirrored(DistributedValues):
    """A value that was computed on every replica and is meant to be the same."""


def map_structure(fn: Callable[[Any], Any], structure: Any) -> Any:
    """Applies `fn` to every leaf of nested tuples, lists and dicts."""
    if isinstance(structure, dict):
        return {key: map_structure(fn, value) for key, value in structure.items()}
    if isinstance(structure, tuple):
        mapped = [map_structure(fn, value) for value in structure]
        return type(structure)(*mapped) if hasattr(structure, "_fields") else tuple(mapped)
    if isinstance(structure, list):
        return [map_structure(fn, value) for value in structure]
    return fn(structure)


def leaves_of(structure: Any) -> list[Any]:
    """The leaves of nested tuples, lists and dicts, in order."""
    leaves: list[Any] = []
    map_structure(leaves.append, structure)
    return leaves


def outline(structure: Any) -> str:
    """The shape of a nested structure as text: equal for structures that match."""
    return repr(map_structure(lambda _: ..., structure))


def is_distributed(structure: Any) -> bool:
    """Whether anything in a structure has a component per replica."""
    return any(isinstance(leaf, DistributedValues) for leaf in leaves_of(structure))


def select_replica(structure: Any, replica_id: int, num_replicas: int) -> Any:
    """One replica's slice of a structure; what is not distributed is everybody's."""
    return map_structure(
        lambda leaf: (
            leaf.select(replica_id, num_replicas) if isinstance(leaf, DistributedValues) else leaf
        ),
        structure,
    )


def regroup(values: Sequence[Any], kind: type[DistributedValues] = PerReplica) -> Any:
    """Puts the replicas' values together into one structure of distributed values.

    Plain Python values (None, bool, int, float, str, an enum's member, a function) that are equal
    on all replicas come back as they are, and so do a variable and its components as that
    variable, and everything if there is only one replica. All else becomes a `kind`.

    Raises:
        ValueMismatchError: The replicas' structures differ.
    Source: TensorFlow 2.21's regrouping, by equality where it goes by identity (D2).
    """
    return join_structures(values, lambda leaves: _join(leaves, kind))


def join_structures(values: Sequence[Any], join: Callable[[list[Any]], Any]) -> Any:
    """One structure from one structure per replica; `join` makes one leaf from all of them.

    Raises:
        ValueMismatchError: The structures differ.
    """
    first = values[0]
    if not isinstance(first, dict | list | tuple):
        return join(list(values))
    _check_alike(values)
    if isinstance(first, dict):
        return {key: join_structures([value[key] for value in values], join) for key in first}
    members = [join_structures(parts, join) for parts in zip(*values, strict=True)]
    if isinstance(first, list):
        return members
    return type(first)(*members) if hasattr(first, "_fields") else tuple(members)


def _join(values: list[Any], kind: type[DistributedValues]) -> Any:
    container = _common_variable(values)
    if container is not None:
        return container
    return values[0] if len(values) == 1 or _all_equal(values) else kind(values)


def _check_alike(values: Sequence[Any]) -> None:
    first = values[0]
    for replica_id, value in enumerate(values):
        alike = type(value) is type(first) and len(value) == len(first)
        if alike and isinstance(first, dict):
            alike = value.keys() == first.keys()
        if not alike:
            raise ValueMismatchError(
                "replicas gave structures that do not match:\n"
                f"  replica 0: {outline(first)}\n  replica {replica_id}: {outline(value)}"
            )


def _common_variable(values: Sequence[Any]) -> Any:
    """The variable that all of these are, or whose components they are in replica order."""
    first = values[0]
    if getattr(first, "is_variable", False):
        container = getattr(first, "container", None)
        if container is not None and all(
            getattr(value, "container", None) is container and value.replica_id == i
            for i, value in enumerate(values)
        ):
            return container
        if all(value is first for value in values):
            return first
    return None


def _same(value: Any, first: Any) -> bool:
    """Equal, where 0.0 and -0.0 are two values and NaN is one."""
    if isinstance(value, float | complex):
        return repr(value) == repr(first)
    return bool(value == first)


_PLAIN = (type(None), bool, int, float, complex, str, bytes, Enum, type)


def _all_equal(values: Sequence[Any]) -> bool:
    first = values[0]
    if isinstance(first, np.ndarray | np.generic):
        return False
    if isinstance(first, _PLAIN):
        return all(type(value) is type(first) and _same(value, first) for value in values)
    return all(value is first for value in values)
