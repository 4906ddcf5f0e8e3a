"""Compare the structures of the replicas' values, and find the paths at which replicas differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

from varsim.protocol.parts import LEAF, Combination, Structure
from varsim.spec import Array
from varsim.texts.facts import Fact
from varsim.texts.mismatches import Lacks, Sides

Node = tuple[str, ...]
"""The properties of a node: its kind; for a leaf, also the shape and dtype if they are compared."""

Form = tuple[tuple[str, Node], ...]
"""The paths of a structure, with the node at each path."""

_FACETS: Final = ("", "shape", "dtype")

K = TypeVar("K")


def form_of(structure: Structure, leaves: Sequence[Array], how: Combination) -> Form:
    """Return the properties of a structure and its leaves that must be equal on all replicas."""
    remaining = iter(leaves)
    return tuple(
        (path, (kind, *(_of_leaf(next(remaining), how) if kind == LEAF else ())))
        for path, kind in structure
    )


def _of_leaf(leaf: Array, how: Combination) -> Node:
    sizes = sizes_of(leaf.shape, how)
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})", leaf.dtype.name


def sizes_of(shape: tuple[int, ...], how: Combination) -> list[str]:
    """Return the sizes of a value as texts; a size that may differ between replicas is "any"."""
    return ["any" if how.may_differ(axis) else str(size) for axis, size in enumerate(shape)]


def differences(forms: Mapping[int, Form]) -> list[Fact]:
    """Return a fact for each path at which replicas differ.

    Args:
        forms: replica_id → the form of this replica's value.
    """
    nodes = {i: dict(form) for i, form in forms.items()}
    covered: set[str] = set()  # paths with a difference; paths below these are skipped
    found: list[Fact] = []
    for path in dict.fromkeys(path for own in nodes.values() for path in own):
        at_path = {i: own.get(path) for i, own in nodes.items()}
        if len(set(at_path.values())) > 1 and not (covered and _is_below(path, covered)):
            covered.add(path)
            found += _at(path, at_path)
    return found


def _is_below(path: str, covered: set[str]) -> bool:
    return any(path[:end] in covered for end, sign in enumerate(path) if sign in "[.")


def _at(path: str, at_path: Mapping[int, Node | None]) -> Iterator[Fact]:
    without = tuple(i for i, node in at_path.items() if node is None)
    if without:
        yield Lacks(without, path)
    for index, facet in enumerate(_FACETS):
        seen: dict[str, list[int]] = {}
        for i, node in at_path.items():
            if node is not None and len(node) > index:
                seen.setdefault(node[index], []).append(i)
        if len(seen) > 1:
            yield Sides(fewest_first(seen), path or "the value", facet)
            if index == 0:
                return


def fewest_first(who: Mapping[K, Sequence[int]]) -> tuple[tuple[K, tuple[int, ...]], ...]:
    """Return each item with its replicas; the item with the fewest replicas is the first."""
    order = sorted(who.items(), key=lambda one: (len(one[1]), one[1]))
    return tuple((what, tuple(ids)) for what, ids in order)
