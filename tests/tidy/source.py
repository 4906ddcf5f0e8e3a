"""The project's files for the tidy rules; each file is read once, and parsed once for all rules."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("varsim", "workers", "tests", "benchmarks", "docs", "locks", "examples")
"""Folders of Python code; the first two are installed."""

TEXTS = (".py", ".md", ".toml", ".yaml", ".yml", ".json", ".txt", ".cfg", "Makefile", "run")
OTHERS_FOLDERS = frozenset({"build", "dist", "runs", "__pycache__", "results"})


@dataclass(frozen=True, slots=True)
class Violation:
    """A location that breaks a rule, and a text that says what is wrong and what to do."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Source:
    """One file of the project."""

    path: str  # relative to the project's root, with slashes
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Return the syntax tree."""
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Return all nodes of the tree, in any order."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def comments(self) -> dict[int, str]:
        """Return a dict: the number of a line -> the text of its comment, without `#`."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return {
            token.start[0]: token.string.lstrip("# ").strip()
            for token in tokens
            if token.type == tokenize.COMMENT
        }

    @property
    def module(self) -> str:
        """Return the dotted name with which Python imports the file."""
        parts = Path(self.path).with_suffix("").parts
        if parts[0] == "workers":
            parts = parts[1:]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def installed(self) -> bool:
        """Return whether the file is part of the distribution, and not a test or a tool."""
        return self.path.split("/")[0] in ("varsim", "workers")

    @cached_property
    def strings(self) -> frozenset[str]:
        """Return the texts of the file, including docstrings."""
        return frozenset(
            node.value
            for node in self.nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )

    @cached_property
    def imports(self) -> tuple[tuple[int, str], ...]:
        """Return the line and the dotted name of every import, including imports inside functions.

        A name that is imported from a package is also in it, because it may be a module.
        """
        return tuple(self._imports())

    def _imports(self) -> Iterator[tuple[int, str]]:
        package = self.module.split(".")
        if not self.path.endswith("__init__.py"):
            package = package[:-1]
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                start = package[: len(package) - node.level + 1] if node.level else []
                base = ".".join([*start, *([node.module] if node.module else [])])
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)

    def free(self) -> None:
        """Free the syntax tree, but keep the imports and the texts.

        Garbage collections visit all nodes that are kept, which takes longer than parsing.
        """
        _ = self.imports, self.strings
        for name in ("tree", "nodes", "comments"):
            self.__dict__.pop(name, None)


def _ours(path: Path) -> bool:
    folders = path.relative_to(ROOT).parts[:-1]
    return not any(
        name in OTHERS_FOLDERS
        or name.endswith(".egg-info")
        or (name.startswith(".") and name != ".ci")
        for name in folders
    )


@cache
def sources() -> tuple[Source, ...]:
    """Return all Python files of the project."""
    paths = sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py"))
    return tuple(_read(path) for path in paths if _ours(path))


@cache
def texts() -> tuple[Source, ...]:
    """Return all text files of the project."""
    paths = sorted(path for path in ROOT.rglob("*") if path.is_file() and _ours(path))
    return tuple(_read(path) for path in paths if path.name.endswith(TEXTS))


def _read(path: Path) -> Source:
    return Source(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
