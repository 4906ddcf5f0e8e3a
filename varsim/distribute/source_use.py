"""Find out from its source whether a program uses an object outside the functions of its replicas.

A replica on a worker process sees only its copy of an object, not the code of the program that
called it. But both are usually in one file. If this file calls strategy.run, and nowhere else loads
the object, the object is the replica's own: momentum, a cache or a generator, for example. In doubt
the answer is that the program uses it.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
from typing import Final

_CALLS_OF_REPLICAS: Final = frozenset({"run", "schedule"})
_CONVERSIONS: Final = frozenset(
    f"__{name}__"
    for name in "bool call enter exit float format getitem int iter len repr str".split()
)
"""Methods that statements and builtins call."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(slots=True)
class _Loads:
    """What the code of a program loads."""

    names: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)  # names of which more than an attribute is used
    attributes: set[str] = field(default_factory=set)


def may_be_used_outside(name: str, code: CodeType, run_by_replicas: Collection[CodeType]) -> bool:
    """Return whether the program may use an object outside the functions of its replicas.

    Args:
        name: The name of the object in a function, such as `callback.history['loss']`.
        code: The function, or a method of an object whose name is `self`.
        run_by_replicas: The functions that replicas run, with those that they call.
    """
    root, *attributes = name.partition("[")[0].split(".")
    parameters = code.co_varnames[: code.co_argcount]
    if root in parameters and not (attributes and root == parameters[0] == "self"):
        return True  # the program has another name for it
    tree = _tree(code.co_filename)
    if tree is None or not any(map(_calls_replicas, ast.walk(tree))):
        return True
    loads = _loads_of(tree, {one.co_firstlineno for one in run_by_replicas})
    if not attributes:
        return root in loads.names
    return attributes[-1] in loads.attributes or root in loads.whole


@lru_cache(maxsize=100)
def _tree(filename: str) -> ast.Module | None:
    try:
        return ast.parse("".join(linecache.getlines(filename)) or "?")
    except (SyntaxError, ValueError):
        return None


def _calls_replicas(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _CALLS_OF_REPLICAS
    )


def _loads_of(tree: ast.Module, skipped: Collection[int]) -> _Loads:
    """Return what a file loads, outside functions that begin at the skipped lines.

    A method counts if its name is loaded, or if a statement or builtin calls it.
    """
    loads, methods = _Loads(), dict[str, list[ast.AST]]()
    _collect(tree, loads, methods, skipped)
    while called := [one for one in methods if one in loads.attributes | _CONVERSIONS]:
        for one in called:
            for method in methods.pop(one):
                for node in ast.iter_child_nodes(method):
                    _collect(node, loads, methods, skipped)
    return loads


def _collect(
    node: ast.AST, loads: _Loads, methods: dict[str, list[ast.AST]], skipped: Collection[int]
) -> None:
    if isinstance(node, _Function) and _first_line(node) in skipped:
        return
    match node:
        case ast.ClassDef(body=body):
            for one in body:
                if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                    methods.setdefault(one.name, []).append(one)
                else:
                    _collect(one, loads, methods, skipped)
            return
        case ast.Name(id=name, ctx=ast.Load()):
            loads.names.add(name)
            loads.whole.add(name)
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            loads.names.add(name)
            if isinstance(node.ctx, ast.Load):
                loads.attributes.add(attribute)
            return
        case ast.Attribute(attr=attribute, ctx=ast.Load()):
            loads.attributes.add(attribute)
    for child in _parts(node):
        _collect(child, loads, methods, skipped)


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of code that the program itself uses.

    What goes to the replicas is theirs, and an object that is given to a class is kept by another
    one: neither shows a use.
    """
    if isinstance(node, ast.Call) and (_calls_replicas(node) or _creates(node)):
        yield node.func
        for one in (*node.args, *(keyword.value for keyword in node.keywords)):
            if _creates(node) and not isinstance(one, ast.Name):
                yield one
        return
    yield from ast.iter_child_nodes(node)


def _creates(node: ast.Call) -> bool:
    """Return whether a call creates an object of a class, by the usual capital letter."""
    func = node.func
    name = func.id if isinstance(func, ast.Name) else getattr(func, "attr", "")
    return name[:1].isupper()


def _first_line(node: _Function) -> int:
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min([node.lineno, *(one.lineno for one in decorators)])
