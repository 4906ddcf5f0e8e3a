"""Describe what a checkpoint contains: a graph of objects, and the values of its variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, field
from enum import Enum
from typing import Any, Final, TypeVar

import numpy as np

from varsim import extension_dtypes
from varsim.distribute.checkpoints import archive
from varsim.distribute.checkpoints.archive import Archive
from varsim.errors import CheckpointError
from varsim.spec import Array, NamedArrays, VariableAggregation
from varsim.value_class import value_class

ATTRIBUTE: Final = ".ATTRIBUTES/VARIABLE_VALUE"
"""The end of an array's name, as in TensorFlow."""


STATE: Final = ".ATTRIBUTES/POLICY_STATE"
"""The end of the name of an array that a policy keeps beside a component, before the replica."""


class Kept(Enum):
    """Which arrays of a variable a checkpoint has."""

    VALUE = "value"  # the value of a cross-replica read, as TensorFlow saves it
    SAME = "same"  # the components of all replicas, which are equal and are saved once
    EACH = "each"  # the components of all replicas, which are saved one by one
    WITH_COPY = "with_copy"  # as EACH, and then the authoritative copy, which the program reads


@value_class
class SavedVariable:
    """A variable in a checkpoint."""

    key: str  # the path of the variable's object, from which the arrays get their names
    name: str
    dtype: str
    synchronization: str
    aggregation: str
    replicas: int  # 0 for a variable without a strategy
    kept: Kept
    is_mirrored: bool
    states: tuple[tuple[tuple[str, str], ...], ...] = ()
    """For each replica, the names and dtypes of the arrays that the policy keeps beside the
    component; () if the policy keeps nothing, or if the checkpoint is not exact."""

    @property
    def state_keys(self) -> tuple[tuple[str, ...], ...]:
        """Return, for each replica, the names of these arrays in the checkpoint."""
        one = f"{self.key}/{STATE}" if self.key else STATE
        return tuple(
            tuple(f"{one}/{replica_id}/{escaped(name)}" for name, _ in state)
            for replica_id, state in enumerate(self.states)
        )

    @property
    def array_names(self) -> tuple[str, ...]:
        """Return the names of the variable's arrays."""
        one = f"{self.key}/{ATTRIBUTE}" if self.key else ATTRIBUTE
        if self.kept in {Kept.VALUE, Kept.SAME}:
            return (one,)
        components = tuple(f"{one}/{replica_id}" for replica_id in range(self.replicas))
        return components if self.kept is Kept.EACH else (*components, f"{one}/copy")

    @property
    def component_names(self) -> tuple[str, ...]:
        """Return the names of the arrays with the component of each replica."""
        if self.kept is Kept.WITH_COPY:
            return self.array_names[:-1]
        return self.array_names * (self.replicas // len(self.array_names))

    def dtypes(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the dtype of each array of the variable in the checkpoint."""
        for name in self.array_names:
            yield name, self.dtype
        for state, keys in zip(self.states, self.state_keys, strict=True):
            for (_, dtype), key in zip(state, keys, strict=True):
                yield key, dtype

    @property
    def settings(self) -> tuple[str, str]:
        """Return the synchronization and the aggregation, as text."""
        return self.synchronization, self.aggregation


@value_class
class SavedNode:
    """An object in a checkpoint."""

    children: Mapping[str, int]  # name of a child → number of its node
    variable: int | None = None  # the number of the variable, if the object is a variable


@value_class
class Contents:
    """The contents of a checkpoint; node 0 is the root."""

    nodes: Sequence[SavedNode]
    variables: Sequence[SavedVariable]
    arrays: Mapping[str, Array]  # read-only
    extra: Mapping[str, Any] = field(default_factory=dict)  # plain JSON values of the caller

    def values_of(self, number: int) -> tuple[Array, ...]:
        """Return the arrays of a variable."""
        return tuple(self.arrays[name] for name in self.variables[number].array_names)

    def states_of(self, number: int) -> tuple[NamedArrays, ...]:
        """Return what the policy of a variable keeps beside each component; () for nothing."""
        saved = self.variables[number]
        return tuple(
            tuple((name, self.arrays[key]) for (name, _), key in zip(state, keys, strict=True))
            for state, keys in zip(saved.states, saved.state_keys, strict=True)
        )

    @property
    def is_exact(self) -> bool:
        """Return whether the checkpoint has all components of all variables."""
        return all(one.kept is not Kept.VALUE for one in self.variables)

    @property
    def paths(self) -> dict[int, str]:
        """Return the path of each node with a variable, as text for users."""
        return {
            number: ".".join(map(_unescaped, self.variables[node.variable].key.split("/")))
            for number, node in enumerate(self.nodes)
            if node.variable is not None
        }

    def as_archive(self) -> Archive:
        """Return the contents in the form of a file."""
        variables = [
            {**asdict(one), "kept": one.kept.value, "shape": _shape(self, number)}
            for number, one in enumerate(self.variables)
        ]
        nodes = [
            {"children": dict(one.children)}
            | ({} if one.variable is None else {"variable": one.variable})
            for one in self.nodes
        ]
        document = {"nodes": nodes, "variables": variables, "extra": dict(self.extra)}
        return Archive(document, self.arrays)


def escaped(name: str) -> str:
    """Return the name of an attribute as a part of a key, as in TensorFlow."""
    return name.replace(".", "..").replace("/", ".S")


def _unescaped(part: str) -> str:
    return re.sub(r"\.(.?)", lambda found: "/" if found[1] == "S" else ".", part)


def _shape(contents: Contents, number: int) -> list[int]:
    return list(contents.values_of(number)[0].shape)


# ---------------------------------------------------------------- reading


def read(path: str) -> Contents:
    """Read and check a checkpoint.

    Raises:
        CheckpointError: See `archive.read`; or the description does not match the arrays.
    """
    found = archive.read(path)
    try:
        return _checked(found)
    except _WrongDocument as error:
        file = archive.file_of(path)
        raise CheckpointError(f"{file} is not a checkpoint of varsim: {error}") from None


class _WrongDocument(Exception):
    """The description of a checkpoint is wrong."""


T = TypeVar("T")


def _as(kind: type[T], value: Any, what: str) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _WrongDocument(f"{what} is not of type {kind.__name__}")
    return value


def _checked(found: Archive) -> Contents:
    document = found.document
    variables = [
        _variable(_as(dict, one, "a variable"))
        for one in _as(list, document.get("variables"), "variables")
    ]
    nodes = [_node(_as(dict, one, "a node")) for one in _as(list, document.get("nodes"), "nodes")]
    if not nodes:
        raise _WrongDocument("it has no objects")
    for node in nodes:
        if any(not 0 <= child < len(nodes) for child in node.children.values()):
            raise _WrongDocument("an object has a child that does not exist")
        if node.variable is not None and not 0 <= node.variable < len(variables):
            raise _WrongDocument("an object has a variable that does not exist")
    arrays: dict[str, Array] = {}
    for saved in variables:
        for name, dtype in saved.dtypes():
            if name in arrays or name not in found.arrays:
                raise _WrongDocument(f"array {name!r} is missing, or belongs to two variables")
            arrays[name] = _array(found.arrays[name], dtype)
    extra = _as(dict, document.get("extra"), "extra")
    others = found.arrays.keys() - arrays.keys()
    arrays |= {name: found.arrays[name] for name in others}
    return Contents(nodes, variables, arrays, extra)


def _array(stored: Array, dtype: str) -> Array:
    if dtype not in extension_dtypes.NAMES:
        raise _WrongDocument(f"no variable can have dtype {dtype!r}")
    try:
        array = archive.array_of(stored, dtype)
    except CheckpointError as error:
        raise _WrongDocument(str(error)) from None
    array.setflags(write=False)
    return array


def _node(said: dict[str, Any]) -> SavedNode:
    children = _as(dict, said.get("children"), "children")
    number = said.get("variable")
    return SavedNode(
        {name: _as(int, child, "a child") for name, child in children.items()},
        None if number is None else _as(int, number, "a variable's number"),
    )


MAX_REPLICAS: Final = 100_000
"""The limit of replicas in a checkpoint, so that a wrong number does not take all memory."""


def _variable(said: dict[str, Any]) -> SavedVariable:
    texts = {
        name: _as(str, said.get(name), name)
        for name in ("key", "name", "dtype", "synchronization", "aggregation")
    }
    replicas = _as(int, said.get("replicas"), "replicas")
    kept = said.get("kept")
    if kept not in {one.value for one in Kept} or not 0 <= replicas <= MAX_REPLICAS:
        raise _WrongDocument(f"a variable has {replicas} replicas and keeps {kept!r}")
    if texts["aggregation"] not in VariableAggregation.__members__:
        raise _WrongDocument(f"there is no aggregation {texts['aggregation']!r}")
    states = _states(_as(list, said.get("states", []), "states"))
    if states and len(states) != replicas:
        raise _WrongDocument(f"a variable has {replicas} replicas, and {len(states)} states")
    return SavedVariable(
        **texts,
        replicas=replicas,
        kept=Kept(kept),
        is_mirrored=_as(bool, said.get("is_mirrored"), "is_mirrored"),
        states=states,
    )


def _states(said: list[Any]) -> tuple[tuple[tuple[str, str], ...], ...]:
    states = tuple(tuple(map(_name_and_dtype, _as(list, one, "a state"))) for one in said)
    for state in states:
        names = [name for name, _ in state]
        if names != sorted(set(names)):
            raise _WrongDocument("the names of a state are not in order")
    return states


def _name_and_dtype(said: Any) -> tuple[str, str]:
    pair = _as(list, said, "an array of a state")
    if len(pair) != 2:
        raise _WrongDocument("an array of a state has no name and dtype")
    return _as(str, pair[0], "a name"), _as(str, pair[1], "a dtype")


def same_components(components: Sequence[Array]) -> bool:
    """Return whether all components have the same bytes."""
    first = components[0]
    return all(
        one is first or (one.shape == first.shape and _bytes(one) == _bytes(first))
        for one in components[1:]
    )


def _bytes(array: Array) -> bytes:
    return np.asarray(array).tobytes()
