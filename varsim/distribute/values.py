"""Define values with a component per replica, and functions for structures of such values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

import numpy as np

from varsim.distribute.context import current_frame
from varsim.distribute.missing import explains_missing
from varsim.distribute.structure_walks import (
    NotATreeError,
    join_structures,
    join_trees,
    leaves_of,
    map_structure,
    nodes_of,
)
from varsim.errors import DistributedValueError, WorkerLost
from varsim.shown_as_html import ShownAsHtml
from varsim.texts.facts import times
from varsim.texts.uneven import different_replicas


class DistributedValues(ShownAsHtml):
    """A value with one component per replica.

    Source: `tf.distribute.DistributedValues`.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        self._values = tuple(values)

    @property
    def values(self) -> tuple[Any, ...]:
        """Return the components, in replica order."""
        return self._values

    def select(self, replica_id: int, num_replicas: int) -> Any:
        """Return one replica's component.

        Raises:
            DistributedValueError: The number of components is not the number of replicas
                (difference D9 in docs/semantics.md).
        """
        self.require(num_replicas)
        return self._values[replica_id]

    def require(self, num_replicas: int) -> None:
        """Check that there is a component for each replica.

        Raises:
            DistributedValueError: The number of components is not the number of replicas.
        """
        if len(self._values) != num_replicas:
            raise DistributedValueError(
                f"a {type(self).__name__} of {times(len(self._values), 'value')} cannot be used "
                f"with {times(num_replicas, 'replica')}: it needs one value for each replica"
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}:{{\n{listed(self._values)}\n}}"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        frame = current_frame()
        if frame is None or frame.replica is None:
            raise DistributedValueError(
                f"a {type(self).__name__} has one value per replica, not a single one: use it in "
                "strategy.run, strategy.reduce or strategy.experimental_local_results"
            )
        replica = frame.replica
        mine = self.select(replica.replica_id_in_sync_group, replica.num_replicas_in_sync)
        return np.asarray(mine, dtype=dtype)


@explains_missing("tf.distribute.DistributedValues")
class PerReplica(DistributedValues):
    """A value with a different component on each replica.

    Args:
        values: The components, in replica order.
        joined: The number of replicas that have joined: they take no part in a call with this
            value, and have no component. They are the last replicas.
    """

    is_of_batch = False  # whether the value is a part of a distributed dataset's batch

    def __init__(self, values: Iterable[Any], joined: int = 0) -> None:
        super().__init__(values)
        self.joined = joined

    def select(self, replica_id: int, num_replicas: int) -> Any:
        """Return one replica's component; see `DistributedValues.select`.

        Raises:
            DistributedValueError: The replica has joined, or the number of components is wrong.
        """
        present = len(self._values)
        self.require(num_replicas)
        if replica_id >= present:
            raise DistributedValueError(
                f"a PerReplica of {times(present, 'value')} has no value for replica {replica_id}, "
                "which has joined (uneven: join): first reduce the value over the present replicas"
            )
        return self._values[replica_id]

    def require(self, num_replicas: int) -> None:
        """Check that there is a component for each replica that has not joined."""
        if not self.joined or len(self._values) + self.joined != num_replicas:
            super().require(num_replicas)

    def __repr__(self) -> str:
        present = len(self._values)
        lines = [listed(self._values)] if present else []
        lines += [f"  {i}: joined, no value" for i in range(present, present + self.joined)]
        return "PerReplica:{\n" + ",\n".join(lines) + "\n}"


class OwnPerReplica(PerReplica):
    """The component of one replica: other processes have the components of the other replicas.

    A strategy of several workers makes such values, because each worker runs the program.
    """

    def select(self, replica_id: int, num_replicas: int) -> Any:
        """Return the component, which belongs to the replica that runs this program."""
        return self._values[0]


# Programs can read the name of this class, so it must be the same as in TensorFlow.
OwnPerReplica.__name__ = PerReplica.__name__


def per_replica_here(values: Sequence[Any], num_replicas: int) -> Any:
    """Return the components that a program sees as one value; with one replica, the component."""
    if num_replicas == 1:
        return values[0]
    return PerReplica(values) if len(values) == num_replicas else OwnPerReplica(values)


@explains_missing("tf.distribute.DistributedValues")
class Mirrored(DistributedValues):
    """A value with a component on each replica; all components should be equal."""


def listed(values: Iterable[object]) -> str:
    """Return a line for each replica's value. A component may be lost with its worker."""
    return ",\n".join(f"  {i}: {_shown(value)}" for i, value in enumerate(values))


def _shown(value: object) -> str:
    try:
        return repr(value)
    except WorkerLost:  # debuggers and test runners call `repr` at any time
        return "<lost with its worker>"


def present_of(leaves: Iterable[Any], num_replicas: int, **given: Any) -> int:
    """Return how many replicas take part in a call with these values: all, or the first ones.

    Args:
        given: The structures of the leaves by name, for errors.
    Raises:
        DistributedValueError: Some replicas have rows of one batch and no rows of another one.
    """
    parts = [leaf for leaf in leaves if isinstance(leaf, PerReplica)]
    if not any(leaf.joined for leaf in parts):
        return num_replicas
    counts = {len(leaf.values) for leaf in parts if _decides_presence(leaf)}
    if len(counts) > 1:
        raise DistributedValueError(different_replicas(_first_names(given)))
    return counts.pop()


def _decides_presence(leaf: PerReplica) -> bool:
    return leaf.joined > 0 or leaf.is_of_batch


def _first_names(given: Mapping[str, Any]) -> dict[int, str]:
    """Return a mapping: number of present replicas → name of the first value with this number."""
    found: dict[int, str] = {}
    for name, structure in given.items():
        for path, node in nodes_of({0: structure}):
            if isinstance(node[0], PerReplica) and _decides_presence(node[0]):
                found.setdefault(len(node[0].values), name + path)
    return found


def is_distributed(structure: Any) -> bool:
    """Return whether a structure contains a distributed value."""
    return any(isinstance(leaf, DistributedValues) for leaf in leaves_of(structure))


def select_replica(structure: Any, replica_id: int, num_replicas: int) -> Any:
    """Return a structure with one replica's component in place of each distributed value."""
    return map_structure(
        lambda leaf: (
            leaf.select(replica_id, num_replicas) if isinstance(leaf, DistributedValues) else leaf
        ),
        structure,
    )


_NOTHING: Final = {type(None)}
"""The types of the results of a function that returns nothing, as most training steps do."""


def regroup(
    values: Sequence[Any], kind: type[DistributedValues] = PerReplica, joined: int = 0
) -> Any:
    """Combine the replicas' values into one structure of distributed values.

    Plain Python values (None, bool, int, float, str, an enum's member, a function) that are equal
    on all replicas stay plain. If the replicas' values are one variable, or its components, the
    result is the variable. With one replica, all values stay unchanged. Every other leaf becomes an
    instance of `kind`. A structure that contains itself or is nested too deeply also becomes an
    instance of `kind`.

    Args:
        values: The values of the present replicas, in replica order.
        joined: The number of replicas that have joined; see `PerReplica`. If there are some, and
            only one replica is present, a number becomes a PerReplica, so that `strategy.reduce`
            accepts it.
    Raises:
        ValueMismatchError: The replicas' structures differ.
    Source: TensorFlow 2.21's regrouping. But values are compared by equality instead of identity
        (difference D2 in docs/semantics.md).
    """
    if {*map(type, values)} == _NOTHING:
        return None
    try:
        return join_trees(values, _leaf_join(kind, joined))
    except NotATreeError:
        if joined:
            return PerReplica(values, joined)
        return values[0] if len(values) == 1 else kind(values)


def regroup_arguments(values: Sequence[Any], joined: int) -> Any:
    """Combine the replicas' arguments as `regroup` does, but refuse some structures.

    Raises:
        ValueMismatchError: The replicas' structures differ.
        SizeError: A structure contains itself, or is nested too deeply.
    """
    return join_structures(values, _leaf_join(PerReplica, joined))


def _leaf_join(kind: type[DistributedValues], joined: int) -> Callable[[list[Any]], Any]:
    if joined:
        return lambda leaves: _join_present(leaves, joined)
    return lambda leaves: _join(leaves, kind)


def _join(values: list[Any], kind: type[DistributedValues]) -> Any:
    container = _common_variable(values)
    if container is not None:
        return container
    return values[0] if len(values) == 1 or _all_equal(values) else kind(values)


def _join_present(values: list[Any], joined: int) -> Any:
    container = _common_variable(values)
    if container is not None:
        return container
    is_number = isinstance(values[0], int | float | complex) and not isinstance(values[0], bool)
    if _all_equal(values) and (len(values) > 1 or not is_number):
        return values[0]
    return PerReplica(values, joined)


def _common_variable(values: Sequence[Any]) -> Any:
    """Return the variable if all values are this variable, or its components; else None."""
    first = values[0]
    if getattr(first, "is_variable", False):
        container = getattr(first, "container", None)
        if container is not None:
            ids = [one.replica_id for one in container.values]
            if all(
                getattr(value, "container", None) is container
                and ids[i : i + 1] == [value.replica_id]
                for i, value in enumerate(values)
            ):
                return container
        if all(value is first for value in values):
            return first
    return None


def _same(value: Any, first: Any) -> bool:
    """Return whether two values are equal; 0.0 and -0.0 differ, and NaN equals NaN."""
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
