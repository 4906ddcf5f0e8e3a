"""A Sphinx extension for the reference of Python names, which Sphinx makes from the code.

A public name is documented under the module from which users import it, such as
`varsim.Variable`. A type in a signature has the name of the module that defines it; this extension
leads it to the public name. Types without an entry, such as NumPy's, are text without a link. A
name that does not exist is left to Sphinx, which warns.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from functools import cache
from typing import Any, Final

from docutils import nodes
from sphinx.addnodes import desc_signature, pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring

MODULES: Final = (
    "varsim.errors",
    "varsim",
    "varsim.distribute",
    "varsim.distribute.cluster_resolver",
    "varsim.distribute.coordinator",
    "varsim.distribute.experimental",
    "varsim.distribute.train",
    "varsim.testing",
    "varsim.horovod",
    "varsim.torch_distributed",
)
"""The modules of the reference. Of two with the same name, links lead to the first."""

_FIELDS: Final = frozenset({"attribute", "data", "property"})


def read_docstring(
    app: Sphinx, what: Any, name: str, value: Any, _options: object, lines: list[str]
) -> None:
    """Translate the sections of a docstring, such as `Args:`, into those of Sphinx.

    Napoleon takes the words before a colon as a type, in the docstring of a property and in the
    first line under `Returns:`. No docstring of varsim has a type there.
    """
    if what in _FIELDS:
        return
    if any("├" in line for line in lines):  # a tree, as in varsim.errors, keeps its lines
        lines[2:] = ["::", "", *(f"   {line}" for line in lines[2:])]
        return
    for number, line in enumerate(lines[:-1], 1):
        if line in ("Returns:", "Yields:"):
            lines[number] = re.sub(r"^( *)", r"\1: ", lines[number])
    config: Any = Config()  # Napoleon's settings, instead of all of Sphinx
    lines[:] = GoogleDocstring(lines, config, app, what, name, value).lines()


@cache
def public_names() -> dict[str, str]:
    """Return the public name of each class and function, by the name under which it is defined."""
    found: dict[str, str] = {}
    for module in MODULES:
        imported = importlib.import_module(module)
        for name in getattr(imported, "__all__", dir(imported)):
            value = getattr(imported, name, None)  # a dtype of a package that is not installed
            home, defined = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
            if home.startswith("varsim") and defined:
                found.setdefault(f"{home}.{defined}", f"{module}.{name}")
    return found


def lead_to_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Element
) -> nodes.Element | None:
    """Return a link to the public name, text if a name has no entry, and None if there is no name.

    Args:
        app: The build.
        env: Its pages.
        node: A reference for which there is no entry.
        text: The content of the reference.
    """
    if node.get("refdomain") != "py":
        return None
    target = written_out(node)
    if public := public_names().get(target):
        python = env.get_domain("py")
        return python.resolve_xref(env, node["refdoc"], app.builder, "obj", public, node, text)
    return text if exists(target) else None


def written_out(node: pending_xref) -> str:
    """Return the dotted name of what an annotation names, such as `tf.Variable`.

    Sphinx gives an annotation as it is written if one of the annotations of its class or function
    has a name that only type checkers import.
    """
    name: str = node["reftarget"]
    entry: nodes.Node | None = node
    while entry is not None and not isinstance(entry, desc_signature):
        entry = entry.parent
    if entry is None or not entry.get("module"):
        return name
    top = entry["fullname"].partition(".")[0]
    documented = getattr(importlib.import_module(entry["module"]), top)
    home = getattr(documented, "__module__", entry["module"])  # a constant has none
    first, dot, rest = name.partition(".")
    return f"{names_of(home).get(first, first)}{dot}{rest}"


@cache
def names_of(module: str) -> dict[str, str]:
    """Return the dotted names of what a module defines and imports, also only for type checkers."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(inspect.getsource(importlib.import_module(module)))):
        match node:
            case ast.ClassDef(name=name):
                found[name] = f"{module}.{name}"
            case ast.Import(names=names):
                found |= {one.asname: one.name for one in names if one.asname}
            case ast.ImportFrom(module=str(source), names=names):
                found |= {one.asname or one.name: f"{source}.{one.name}" for one in names}
    return found


@cache
def exists(name: str) -> bool:
    """Return whether a dotted name is a module, or an attribute of a module or a class."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value: object = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            value = getattr(value, part, None)
        return value is not None
    return False


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the functions with events of Sphinx."""
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("missing-reference", lead_to_public_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
