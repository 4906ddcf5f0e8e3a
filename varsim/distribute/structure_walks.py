"""Walk through structures of the program: nested lists, tuples and dicts.

A structure can contain one container several times, and can even contain itself. A list of 40
levels, whose items are twice the same list, has 2^40 leaves. So a walk examines each container
once, or its number of steps is limited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import numpy as np

from varsim.errors import SizeError, ValueMismatchError
from varsim.protocol.limits import MAX_NESTING, MAX_NODES
from varsim.protocol.parts import LEAF, Structure
from varsim.sync import structures
from varsim.texts.mismatches import UnlikeStructures

CONTAINERS: Final = (list, tuple, dict)


def map_structure(
    fn: Callable[[Any], Any], structure: Any, containers: tuple[type[Any], ...] = CONTAINERS
) -> Any:
    """Apply `fn` to every leaf of nested containers.

    A tuple, list or dict that occurs several times has one result, which occurs as often.

    Raises:
        SizeError: The structure contains itself, or is nested too deeply.
    """
    try:
        return _mapped(fn, structure, containers, {}, 0)
    except NotATreeError as error:
        raise SizeError(f"a structure {error}") from None


def _mapped(
    fn: Callable[[Any], Any],
    structure: Any,
    containers: tuple[type[Any], ...],
    results: _Results,
    depth: int,
) -> Any:
    if not isinstance(structure, containers):
        return fn(structure)
    known = results.get(id(structure))
    if known is not None:
        return known[1]
    _enter(id(structure), results, depth)
    mapped: Any
    if isinstance(structure, dict):
        mapped = {
            key: _mapped(fn, member, containers, results, depth + 1)
            for key, member in structure.items()
        }
    else:
        members = [_mapped(fn, member, containers, results, depth + 1) for member in structure]
        mapped = _like(structure, members)
    results[id(structure)] = structure, mapped
    return mapped


_Results = dict[Any, tuple[Any, Any] | None]
"""The result of each container that a walk has left, and None for each that it has entered.

The keys are made of ids. With each result is its container, so that no other object gets the id.
"""


class NotATreeError(Exception):
    """A structure contains itself, or is nested too deeply; the text continues "a structure …"."""


def _enter(key: Any, results: _Results, depth: int) -> None:
    """Note that a walk enters a container.

    Raises:
        NotATreeError: The walk is inside the container already, or is too deep.
    """
    if key in results:
        raise NotATreeError("contains itself: use lists, tuples and dicts of values")
    if depth == MAX_NESTING:
        raise NotATreeError(
            f"is nested more than {MAX_NESTING} levels deep: use fewer levels of lists, tuples and "
            "dicts"
        )
    results[key] = None


def _like(structure: Any, members: list[Any]) -> Any:
    """Return `members` in a list, tuple or named tuple of the same type as `structure`."""
    if isinstance(structure, list):
        return members
    return type(structure)(*members) if hasattr(structure, "_fields") else tuple(members)


def leaves_of(structure: Any) -> list[Any]:
    """Return the leaves of nested tuples, lists and dicts, in order.

    The leaves of a tuple, list or dict that occurs several times are in the result once.

    Raises:
        SizeError: The structure contains itself, or is nested too deeply.
    """
    if not isinstance(structure, CONTAINERS):
        return [structure]
    leaves: list[Any] = []
    try:
        _collect(structure, leaves, {}, 0)
    except NotATreeError as error:
        raise SizeError(f"a structure {error}") from None
    return leaves


def _collect(container: Any, leaves: list[Any], results: _Results, depth: int) -> None:
    """Append the leaves of a container, and of those in it that have not been met."""
    if results.get(id(container)) is not None:
        return
    _enter(id(container), results, depth)
    for member in container.values() if isinstance(container, dict) else container:
        if not isinstance(member, CONTAINERS):
            leaves.append(member)
        elif member:
            _collect(member, leaves, results, depth + 1)
    results[id(container)] = container, None


def taken_apart(structure: Any) -> tuple[Structure, list[Any]]:
    """Return a structure's nesting as a `Structure`, and its leaves in the same order.

    Structures that differ only in the order of keys have equal nesting.

    Raises:
        ValueMismatchError: Two keys of a dict have the same text; or the structure contains
            itself, or is nested too deeply.
        SizeError: The structure has too many values for a collective.
    """
    nodes: list[tuple[str, str]] = []
    leaves: list[Any] = []
    try:
        _take_apart(structure, "", nodes, leaves, {}, 0)
    except NotATreeError as error:
        raise ValueMismatchError(f"a {type(structure).__name__} {error}") from None
    return tuple(nodes), leaves


def rebuilt(structure: Any, leaves: Iterable[Any]) -> Any:
    """Return a structure with new leaves, which are in the order of `taken_apart`."""
    return _filled(structure, iter(leaves))


def _filled(structure: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(structure, dict):
        filled = {key: _filled(structure[key], leaves) for _, key in _by_text(structure)}
        return {key: filled[key] for key in structure}
    if isinstance(structure, tuple | list):
        return _like(structure, [_filled(member, leaves) for member in structure])
    return next(leaves)


def _take_apart(
    structure: Any,
    path: str,
    nodes: list[tuple[str, str]],
    leaves: list[Any],
    around: _Results,
    depth: int,
) -> None:
    """Append the path and the kind of each node to `nodes`, and each leaf to `leaves`."""
    nodes.append((path, _kind(structure)))
    if not isinstance(structure, CONTAINERS):
        leaves.append(structure)
        return
    if len(nodes) > MAX_NODES:
        raise SizeError(
            f"a structure has more than {MAX_NODES:,} lists, tuples, dicts and values, which are "
            "too many for a collective: join the values into fewer arrays"
        )
    _enter(id(structure), around, depth)
    for step, member in _members(structure):
        _take_apart(member, path + step, nodes, leaves, around, depth + 1)
    del around[id(structure)]


def _kind(structure: Any) -> str:
    if isinstance(structure, dict):
        return "a dict"
    if isinstance(structure, list):
        return f"a list of {len(structure)}"
    if not isinstance(structure, tuple):
        return LEAF
    fields = getattr(structure, "_fields", None)
    if fields is None:
        return f"a tuple of {len(structure)}"
    return f"a {type(structure).__name__}({', '.join(fields)})"


def _members(structure: Any) -> Iterable[tuple[str, Any]]:
    """Return the members of a container, each with the last step of its path."""
    if isinstance(structure, dict):
        return [(f"[{text}]", structure[key]) for text, key in _by_text(structure)]
    fields = getattr(structure, "_fields", None)
    if fields is None:
        return [(f"[{index}]", member) for index, member in enumerate(structure)]
    return [(f".{field}", member) for field, member in zip(fields, structure, strict=True)]


def nodes_of(values: Mapping[int, Any]) -> Iterator[tuple[str, Mapping[int, Any]]]:
    """Yield the path of each node of several structures, and what each structure has there.

    The nodes below are not visited if some structure has another kind of node or none, or if these
    containers have been met together before, or if the node is too deep.
    """
    met: dict[tuple[int, ...], Mapping[int, Any]] = {}  # kept, so that no id is reused
    pending: list[tuple[str, Mapping[int, Any], int]] = [("", values, 0)]
    while pending:
        path, parts, depth = pending.pop()
        yield path, parts
        together = tuple(map(id, parts.values()))
        if together in met or depth == MAX_NESTING or len(parts) < len(values):
            continue
        met[together] = parts
        if len(set(map(_kind, parts.values()))) > 1 or not isinstance(parts[0], CONTAINERS):
            continue
        below: dict[str, dict[int, Any]] = {}
        for i, part in parts.items():
            for step, member in _members(part):
                below.setdefault(path + step, {})[i] = member
        pending += [(inner, own, depth + 1) for inner, own in reversed(below.items())]


def _by_text(structure: dict[Any, Any]) -> list[tuple[str, Any]]:
    """Return the keys of a dict with their texts, sorted by the texts."""
    texts = {repr(key.item() if isinstance(key, np.generic) else key): key for key in structure}
    if len(texts) < len(structure):
        raise ValueMismatchError(
            f"two keys of a dict of {len(structure)} have the same repr(), so they cannot be "
            "matched between replicas: use keys such as strings, numbers or tuples of them"
        )
    return sorted(texts.items(), key=itemgetter(0))


def join_structures(values: Sequence[Any], join: Callable[[list[Any]], Any]) -> Any:
    """Combine the replicas' structures as `join_trees` does, for the program.

    Raises:
        ValueMismatchError: The structures differ.
        SizeError: The structures contain themselves, or are nested too deeply.
    """
    try:
        return join_trees(values, join)
    except NotATreeError as error:
        raise SizeError(f"a structure {error}") from None


def join_trees(values: Sequence[Any], join: Callable[[list[Any]], Any]) -> Any:
    """Combine the replicas' structures into one structure, whose leaves `join` computes.

    Containers that occur together several times are joined once.

    Raises:
        ValueMismatchError: The structures differ.
        NotATreeError: The structures contain themselves, or are nested too deeply.
    """
    try:
        return _joined(values, join, {}, 0)
    except _UnlikeError:
        forms: dict[int, list[tuple[str, structures.Node]]] = {i: [] for i in range(len(values))}
        for path, parts in nodes_of(dict(enumerate(values))):
            for i, part in parts.items():
                forms[i].append((path, (_kind(part),)))
        differences = tuple(structures.differences({i: tuple(own) for i, own in forms.items()}))
        raise ValueMismatchError(UnlikeStructures(differences)) from None


class _UnlikeError(Exception):
    """The structures of some replicas differ."""


def _joined(
    values: Sequence[Any], join: Callable[[list[Any]], Any], results: _Results, depth: int
) -> Any:
    first = values[0]
    if not isinstance(first, CONTAINERS):
        return join(list(values))  # if one value is a leaf, all are leaves, as in TensorFlow
    together = tuple(map(id, values))
    known = results.get(together)
    if known is not None:
        return known[1]
    if not all(_are_alike(value, first) for value in values[1:]):
        raise _UnlikeError
    _enter(together, results, depth)
    whole: Any
    if isinstance(first, dict):
        whole = {
            key: _joined([value[key] for value in values], join, results, depth + 1)
            for key in first
        }
    else:
        parts = zip(*values, strict=True)
        whole = _like(first, [_joined(part, join, results, depth + 1) for part in parts])
    results[together] = values, whole
    return whole


def _are_alike(value: Any, first: Any) -> bool:
    """Return whether two containers have the same type, and the same length or keys."""
    if isinstance(first, dict):
        return isinstance(value, dict) and value.keys() == first.keys()
    return type(value) is type(first) and len(value) == len(first)
