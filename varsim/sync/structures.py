"""How the structures of the replicas' values differ: at which path, on which replicas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from varsim.errors import name_replicas
from varsim.protocol.parts import LEAF, Structure
from varsim.spec import Array

MOST_DIFFERENCES: Final = 6
"""How many differences an error lists."""

Node = tuple[str, ...]
"""What is at a path: its kind and, for a leaf whose array matters, shape and dtype in words."""

Form = tuple[tuple[str, Node], ...]
"""A structure with the forms of its leaves: path and node of each."""

_FACETS: Final = ("", "shape ", "dtype ")


def form_of(structure: Structure, leaves: Sequence[Array], axis: int | None) -> Form:
    """What of a structure and its leaves must be the same on all replicas.

    Args:
        axis: Along which sizes may differ.
    """
    remaining = iter(leaves)
    return tuple(
        (path, (kind, *(_of_leaf(next(remaining), axis) if kind == LEAF else ())))
        for path, kind in structure
    )


def _of_leaf(leaf: Array, axis: int | None) -> Node:
    sizes = ["any" if place == axis else str(size) for place, size in enumerate(leaf.shape)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})", leaf.dtype.name


def bare(structure: Structure) -> Form:
    """A structure whose leaves' arrays do not matter."""
    return tuple((path, (kind,)) for path, kind in structure)


def differences(forms: Mapping[int, Form]) -> list[str]:
    """A line for each path at which replicas hold something else.

    Args:
        forms: By replica.
    """
    nodes = {i: dict(form) for i, form in forms.items()}
    told: list[str] = []  # paths whose nested differences are omitted
    lines: list[str] = []
    for path in dict.fromkeys(path for own in nodes.values() for path in own):
        at_path = {i: own.get(path) for i, own in nodes.items()}
        if len(set(at_path.values())) > 1 and not any(_is_below(path, one) for one in told):
            told.append(path)
            lines += _lines(path, at_path)
    more = len(lines) - MOST_DIFFERENCES
    return lines if more <= 0 else [*lines[:MOST_DIFFERENCES], f"… and {more} more differences"]


def _is_below(path: str, other: str) -> bool:
    return path.startswith(other) and path[len(other) : len(other) + 1] in {"[", "."}


def _lines(path: str, at_path: Mapping[int, Node | None]) -> Iterator[str]:
    without = [i for i, node in at_path.items() if node is None]
    if without:
        has = "has" if len(without) == 1 else "have"
        yield f"{name_replicas(without)} {has} no {key_in_words(path)}"
    for place, facet in enumerate(_FACETS):
        seen: dict[str, list[int]] = {}
        for i, node in at_path.items():
            if node is not None and len(node) > place:
                seen.setdefault(node[place], []).append(i)
        if len(seen) > 1:
            fewest = sorted(seen.items(), key=lambda one: (len(one[1]), one[1]))
            sides = [f"{what} on {name_replicas(who)}" for what, who in fewest]
            yield f"{path or 'the value'}: {facet}{' against '.join(sides)}"
            if place == 0:
                return


def key_in_words(path: str) -> str:
    """Return a path for readers: a single key of a dict without its brackets."""
    return path[1:-1] if path[:2] in {"['", '["'} and path.count("[") == 1 else path
