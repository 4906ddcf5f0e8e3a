"""Find the variables of a program's objects, with the names of the attributes that lead to them.

An object is a variable, a list, a tuple, a dict, or an object of a class of the program. As in
TensorFlow, objects are matched by the names of these attributes, and not by the names of variables.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

from varsim.distribute.checkpoints.contents import escaped
from varsim.distribute.values import DistributedValues
from varsim.distribute.variable import Variable
from varsim.errors import CheckpointError
from varsim.texts import checkpoints as texts

MAX_NODES: Final = 1_000_000
"""The limit of objects that are searched for variables: a larger structure is not a model."""

_CLOSED: Final = (sys.stdlib_module_names - {"test", "__main__"}) | {"numpy", "varsim"}
"""The packages whose objects are not searched: they hold no variables of the program."""

_LEAVES: Final = (type, FunctionType, MethodType, ModuleType, DistributedValues, str, bytes)


@dataclass(slots=True)
class Node:
    """An object that has variables, or is a variable.

    Attributes:
        held: The object.
        path: The names on the shortest path from the root to the node.
        children: A mapping: name of an attribute or element → number of its node.
    """

    held: Any
    path: tuple[str, ...]
    children: dict[str, int] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return the name of the node in a file, as in TensorFlow."""
        return "/".join(map(escaped, self.path))

    @property
    def shown(self) -> str:
        """Return the path as text for users."""
        return ".".join(self.path)


def can_hold_variables(value: object) -> bool:
    """Return whether a value is a variable, or an object that is searched for variables."""
    return isinstance(value, Variable) or children_of(value) is not None


def children_of(value: object) -> Mapping[Any, object] | None:
    """Return name → object for the objects in `value`; None if `value` is not searched.

    A class can choose these objects by a method `_checkpoint_children`.
    """
    own = getattr(type(value), "_checkpoint_children", None)
    if own is not None:
        chosen: Mapping[Any, object] = own(value)
        return chosen
    if isinstance(value, Variable):
        return None
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list | tuple):
        return {str(index): one for index, one in enumerate(value)}
    if isinstance(value, _LEAVES) or type(value).__module__.partition(".")[0] in _CLOSED:
        return None
    return dict(_attributes(value))


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in {"__dict__", "__weakref__"} and hasattr(value, name):
                yield name, getattr(value, name)
    yield from getattr(value, "__dict__", {}).items()


def graph_of(root: Mapping[str, object]) -> list[Node]:
    """Return the root and the nodes below it, in the order of their distance from the root.

    Objects without variables have no node.

    Raises:
        CheckpointError: A dict holds a variable under a key that is not a string, or there are more
            than `MAX_NODES` objects.
    """
    return _pruned(_searched(root))


def _searched(root: Mapping[str, object]) -> list[Node]:
    nodes = [Node(root, ())]
    numbers = {id(root): 0}  # id → number; the nodes keep the objects alive, so no id is reused
    waiting = deque([(0, root)])
    while waiting:
        number, children = waiting.popleft()
        for name, held in children.items():
            inner = None if isinstance(held, Variable) else children_of(held)
            if inner is None and not isinstance(held, Variable):
                continue
            if not isinstance(name, str):
                if any(isinstance(one, Variable) for one in (held, *(inner or {}).values())):
                    raise CheckpointError(texts.KEY_IS_NOT_TEXT.format(key=name))
                continue
            found = numbers.get(id(held))
            if found is None:
                found = numbers[id(held)] = len(nodes)
                nodes.append(Node(held, (*nodes[number].path, name)))
                if len(nodes) > MAX_NODES:
                    raise CheckpointError(texts.TOO_MANY_OBJECTS.format(limit=MAX_NODES))
                if inner is not None:
                    waiting.append((found, inner))
            nodes[number].children[name] = found
    return nodes


def _pruned(nodes: list[Node]) -> list[Node]:
    """Return the root and the nodes that lead to variables, with new numbers."""
    parents: dict[int, list[int]] = {}
    for number, node in enumerate(nodes):
        for child in node.children.values():
            parents.setdefault(child, []).append(number)
    leads = {0}
    waiting = [number for number, node in enumerate(nodes) if isinstance(node.held, Variable)]
    while waiting:
        number = waiting.pop()
        if number not in leads or number == 0:
            leads.add(number)
            waiting += [one for one in parents.get(number, ()) if one not in leads]
    order = {old: new for new, old in enumerate(sorted(leads))}
    return [
        Node(
            nodes[old].held,
            nodes[old].path,
            {name: order[one] for name, one in nodes[old].children.items() if one in order},
        )
        for old in order
    ]
