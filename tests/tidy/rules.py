"""Checks of those rules of CONTRIBUTING.md that Ruff does not check.

Each function checks one rule: it takes a file and yields the lines that break the rule, with a
remedy.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tests.tidy.source import Source, Violation

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 70

PURE = ("varsim/sync/", "varsim/analysis/")
IMPURE = frozenset(
    "asyncio contextvars datetime io logging multiprocessing os pathlib random secrets select "
    "signal socket subprocess sys tempfile threading time uuid zmq".split()
)
CONCURRENT = frozenset({"_thread", "asyncio", "concurrent", "threading"})
VAGUE = frozenset("common data helper helpers info manager misc util utils".split())
MAY_ASK_FOR_MODES = ("varsim/sync/policies/", "varsim/spec.py", "varsim/workloads/")
MODES = frozenset({"on_read", "on_write"})
FOUND_IN_THEIR_FOLDER = ("varsim.cli.commands.", "varsim.lessons.")

Rule = Callable[[Source], Iterator[Violation]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def files_are_short(source: Source) -> Iterator[Violation]:
    """Find files that are too long. Test files are not checked."""
    lines = source.text.count("\n")
    if lines > MAX_FILE_LINES and not source.path.startswith("tests/"):
        yield Violation(
            source.path, MAX_FILE_LINES, f"has {lines} lines; split it ({MAX_FILE_LINES} at most)"
        )


def functions_are_short(source: Source) -> Iterator[Violation]:
    """Find functions that are too long."""
    for node in source.nodes:
        if isinstance(node, Function):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield Violation(
                    source.path,
                    node.lineno,
                    f"{node.name} has {lines} lines; move parts without branches "
                    f"into other functions ({MAX_FUNCTION_LINES} at most)",
                )


def decisions_are_pure(source: Source) -> Iterator[Violation]:
    """Find I/O, clocks and random numbers in the engine and the checkers."""
    if not source.path.startswith(PURE):
        return
    for line, name in source.imports:
        if name.split(".")[0] in IMPURE or name.startswith("numpy.random"):
            yield Violation(source.path, line, f"imports {name}; let the shell pass in the values")
    for node in source.nodes:
        match node:
            case ast.Call(func=ast.Name(id="open" | "print" | "input" as name)):
                yield Violation(source.path, node.lineno, f"calls {name}; return an action instead")
            case ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="random"):
                yield Violation(
                    source.path, node.lineno, "uses random numbers; let the shell pass them in"
                )


def nothing_sleeps(source: Source) -> Iterator[Violation]:
    """Find sleeps; a test must wait for a state with a deadline.

    Only the injection of faults is allowed to sleep, because a fault can be a delay.
    """
    if source.path.endswith("distribute/fault_injection.py"):
        return
    for node in source.nodes:
        match node:
            case ast.Attribute(value=ast.Name(id="time"), attr="sleep"):
                line = node.lineno
            case ast.ImportFrom(module="time", names=names) if any(
                alias.name == "sleep" for alias in names
            ):
                line = node.lineno
            case _:
                continue
        yield Violation(
            source.path, line, "sleeps; wait for a state with a deadline (tests/waiting.py)"
        )


def nothing_runs_beside(source: Source) -> Iterator[Violation]:
    """Find threads and event loops, because a process does one thing at a time.

    Tests are allowed to use threads; a test that leaves a thread running fails. The coordinator is
    allowed to read the number of its thread, because it refuses calls from another thread.
    """
    if source.path.startswith("tests/") or source.path == "varsim/threads.py":
        return
    for line, name in source.imports:
        if name.split(".")[0] in CONCURRENT:
            yield Violation(
                source.path, line, f"imports {name}; docs/adr/0002 shows the alternative"
            )


def names_say_something(source: Source) -> Iterator[Violation]:
    """Find files with a vague name."""
    stem = source.path.rpartition("/")[2].removesuffix(".py")
    vague = VAGUE.intersection(stem.split("_"))
    if vague and not stem.startswith(
        "test_"
    ):  # a test file has the name of the module that it tests
        yield Violation(
            source.path, 1, f"{min(vague)!r} is vague; name the file after what it does"
        )


def ports_are_not_chosen(source: Source) -> Iterator[Violation]:
    """Find fixed ports, because another program may use the port."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if re.search(r"tcp://[^\s\"'/]*:[1-9]\d{1,4}\b", line):
            yield Violation(
                source.path,
                number,
                "has a fixed TCP port; bind to a wildcard, and pass the endpoint on",
            )


def broad_excepts_have_reasons(source: Source) -> Iterator[Violation]:
    """Find handlers that catch everything, do not raise again, and have no comment."""
    for node in source.nodes:
        if not isinstance(node, ast.ExceptHandler) or not _is_broad(node.type):
            continue
        if isinstance(last := node.body[-1], ast.Raise) and last.exc is None:
            continue
        near = range(node.lineno, node.body[0].lineno + 1)
        comments = [re.sub(r"noqa[:\s\w,]*-?", "", source.comments.get(n, "")) for n in near]
        if not any(comment.strip() for comment in comments):
            yield Violation(
                source.path,
                node.lineno,
                "catches everything; catch less, or give the reason in a comment",
            )


def _is_broad(caught: ast.expr | None) -> bool:
    match caught:
        case None | ast.Name(id="Exception" | "BaseException"):
            return True
        case ast.Tuple(elts=parts):
            return any(map(_is_broad, parts))
    return False


def modes_are_asked_for_once(source: Source) -> Iterator[Violation]:
    """Find comparisons of modes outside the policies.

    A workload is a program like a user's: it is allowed to compare the modes of its variables.
    """
    if not source.installed or source.path.startswith(MAY_ASK_FOR_MODES):
        return
    for node in source.nodes:
        match node:
            case ast.Compare(left=left, comparators=others):
                compared = [left, *others]
            case ast.MatchValue(value=value):
                compared = [value]
            case _:
                continue
        if any(_names_mode(part) for whole in compared for part in ast.walk(whole)):
            yield Violation(
                source.path,
                compared[0].lineno,
                "compares a mode; ask the policy in sync/policies instead",
            )


def _names_mode(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="VariableSynchronization")):
            return True
        case ast.Attribute(value=ast.Attribute(attr="VariableSynchronization")):
            return True
        case ast.Constant(value=str() as text):
            return text.lower() in MODES
    return False


def no_machine_is_named(source: Source) -> Iterator[Violation]:
    """Find folders, package indexes and addresses that exist only on one machine."""
    if source.path.startswith("tests/tidy/"):
        return
    for number, line in enumerate(source.text.splitlines(), 1):
        if found := re.search(
            r"(?<![\w.~}<>)/-])/(home|root|work|workspace|Users|opt|srv|mnt)/\w+"
            r"|--(extra-)?index-url|--find-links"
            r"|\b(10|192\.168|172\.(1[6-9]|2\d|3[01]))\.\d+\.\d+\.\d+\b",
            line,
        ):
            yield Violation(
                source.path, number, f"{found.group()!r} belongs to one machine; remove it"
            )


def conflicts_are_resolved(source: Source) -> Iterator[Violation]:
    """Find the marks that git leaves in a file that it could not merge."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if re.match(r"(<{7}|>{7}) ", line):
            yield Violation(source.path, number, "is a mark of a merge conflict; resolve it")


def no_package_is_called_workers(source: Source) -> Iterator[Violation]:
    """Find a package called workers, because other projects have packages of this name."""
    if source.path == "workers/__init__.py" or source.path.startswith("workers/workers/"):
        yield Violation(source.path, 1, "workers/ is a source root; the package is varsim_worker")


OF_CODE: Final[tuple[Rule, ...]] = (
    files_are_short,
    functions_are_short,
    decisions_are_pure,
    nothing_sleeps,
    nothing_runs_beside,
    names_say_something,
    broad_excepts_have_reasons,
    modes_are_asked_for_once,
    no_package_is_called_workers,
)
"""The rules for each Python file."""

OF_TEXTS: Final[tuple[Rule, ...]] = (
    ports_are_not_chosen,
    no_machine_is_named,
    conflicts_are_resolved,
)
"""The rules for each text file, a Python file too."""


def every_module_is_used(project: Sequence[Source], reachable_by_name: str) -> Iterator[Violation]:
    """Find dead modules: no module imports them, and no text names them.

    The packages in examples/ show what other packages import.

    Args:
        reachable_by_name: The texts of pyproject.toml and of the experiments in configs/. A module
            that they name is not dead.
    """
    installed = [source for source in project if source.installed]
    users = [*installed, *(one for one in project if one.path.startswith("examples/"))]
    imported = {name for source in users for _, name in source.imports}
    imported |= {name.rpartition(".")[0] for name in imported}
    strings = frozenset[str]().union(*(source.strings for source in installed))
    for source in installed:
        name = source.module
        last = name.rpartition(".")[2]
        if source.path.endswith("__init__.py") or last == "__main__" or name in imported:
            continue
        if name.startswith(FOUND_IN_THEIR_FOLDER):
            continue
        if any(text == name or text.startswith(f"{name}:") for text in strings):
            continue
        if name in reachable_by_name or (
            name.startswith("varsim.workloads.")
            and re.search(rf"^workload: *{last}\b", reachable_by_name, re.MULTILINE)
        ):
            continue
        yield Violation(source.path, 1, "no module imports this one; use it, or delete it")
