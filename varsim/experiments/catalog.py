"""Find and load workloads: by name, by module or by file."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from varsim.experiments.key_locations import KeyPath, WrongKey
from varsim.nearest import did_you_mean, listed
from varsim.protocol.tracebacks import text_of
from varsim.raised import traceback_of

_PACKAGE: Final = "varsim.workloads"
_KEYS: Final[KeyPath] = ("workload",)
_NOT_RUN_BY_CALL: Final = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)
"""Tests for functions whose code does not run when they are called, such as generators."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A training program that an experiment can run."""

    name: str  # the name in an experiment; for a file, the absolute path
    run: Callable[..., Mapping[str, object]]
    module: ModuleType


@dataclass(frozen=True, slots=True)
class Listing:
    """The description of a built-in workload, read without importing it."""

    name: str
    path: Path
    docstring: str
    params: dict[str, str]  # the parameters of `run` as text: "epochs: int = 20"

    @property
    def description(self) -> str:
        """Return the first paragraph of the docstring in one line."""
        return " ".join(self.docstring.partition("\n\n")[0].split())


@cache
def built_in() -> dict[str, Path]:
    """Return name → file, for the workloads that ship with varsim."""
    folder = Path(__file__).parents[1] / "workloads"
    return {
        path.stem: path
        for path in sorted(folder.glob("*.py"))
        if any(line.startswith("def run(") for line in path.read_text("utf-8").splitlines())
    }


def list_workloads() -> list[Listing]:
    """Return the descriptions of the workloads that ship with varsim, in order of their names."""
    return [listing(name) for name in built_in()]


def listing(name: str) -> Listing:
    """Return the description of a built-in workload."""
    path = built_in()[name]
    tree = ast.parse(path.read_text("utf-8"))
    (run,) = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run"
    ]
    params = {}
    for argument, default in zip(run.args.kwonlyargs, run.args.kw_defaults, strict=True):
        value = "" if default is None else f" = {ast.unparse(default)}"
        params[argument.arg] = ast.unparse(argument) + value
    return Listing(name, path, ast.get_docstring(tree) or "", params)


def is_path(name: str) -> bool:
    """Return whether the text names a file, and not a module."""
    return name.endswith(".py") or os.sep in name


def whole_path(name: str) -> Path:
    """Return the absolute path of a file, with links and `..` in its folder resolved."""
    path = Path(name).expanduser()
    return path.parent.resolve() / path.name


def load_workload(name: str) -> Workload:
    """Load the workload with this name, dotted module or path.

    The folder of a file, or the current folder for a module, is added to `sys.path`, as
    `python FILE` and `python -m MODULE` do.

    Raises:
        WrongKey: The workload does not exist, cannot be loaded, or has no function `run(job)`.
    """
    if name in built_in():
        module = importlib.import_module(f"{_PACKAGE}.{name}")
    elif is_path(name):
        path = whole_path(name)
        module, name = _load_file(path, name), str(path)
    else:
        module = _load_module(name)
    run = getattr(module, "run", None)
    if not callable(run) or not _takes_a_job(run):
        raise WrongKey(_KEYS, _without_run(name))
    if any(test(run) for test in _NOT_RUN_BY_CALL):
        raise WrongKey(
            _KEYS,
            f"run of {name!r} is a coroutine or a generator, so a call does not run its code; make "
            "it a plain function, which may use asyncio.run(...)",
        )
    return Workload(name, run, module)


def _without_run(name: str) -> str:
    as_it_is = f"; or run it as a script: varsim exec {name}" if is_path(name) else ""
    return (
        f"{name!r} has no function run(job, *, ...): write a function that trains under "
        f"job.strategy and returns its results{as_it_is}"
    )


def has_run_of_job(source: bytes) -> bool:
    """Return whether a Python source defines `run` with a first parameter `job`."""
    try:
        body = ast.parse(source).body
    except (ValueError, SyntaxError):
        return False
    functions = [one for one in body if isinstance(one, ast.FunctionDef) and one.name == "run"]
    first = [[*one.args.posonlyargs, *one.args.args][:1] for one in functions]
    return any(one.arg == "job" for parameters in first for one in parameters)


def _may_define_run(path: Path) -> bool:
    """Return whether importing a module may define the name `run`, judging by its source."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, ValueError, SyntaxError):
        return True  # the file cannot be read; importing it raises a better error
    return any({"run", "*"} & set(_bound(node)) for node in body)


def _bound(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement may bind."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    for part in ast.walk(node):
        match part:
            case ast.Name(id=name) | ast.FunctionDef(name=name):
                yield name
            case ast.alias(name=name, asname=other):
                yield other or name


def _takes_a_job(run: Callable[..., Any]) -> bool:
    kinds = [parameter.kind for parameter in inspect.signature(run).parameters.values()]
    return bool(kinds) and kinds[0] in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )


def _load_file(path: Path, name: str) -> ModuleType:
    if not path.is_file():
        near = did_you_mean(name, _neighbours(path, name))
        raise WrongKey(_KEYS, f"there is no file {name!r}{near}")
    if not _may_define_run(path):  # checked without executing the file, which may be a script
        raise WrongKey(_KEYS, _without_run(name))
    _import_from(path.parent)
    module_name = f"workload_{path.stem}"  # the prefix avoids the name of another module
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise WrongKey(_KEYS, f"{name!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickle look for the module there
    _travel_by_value(module)
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's file may raise anything while it is imported
        del sys.modules[module_name]
        raise WrongKey(_KEYS, _unloadable(name, error)) from error
    return module


def _travel_by_value(module: ModuleType) -> None:
    """Pickle a module's objects by value: workers cannot import it under this name."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)


def _neighbours(path: Path, name: str) -> list[str]:
    folder = path.parent
    files = sorted(folder.glob("*.py")) if folder.is_dir() else []
    return [str(Path(name).with_name(file.name)) for file in files]


def _load_module(name: str) -> ModuleType:
    _import_from(Path.cwd())
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # the package does not exist, or this is not a dotted name
        found = None
    if found is None:
        raise WrongKey(
            _KEYS,
            f"there is no workload {name!r}{did_you_mean(name, built_in())}\n"
            f"  built in: {listed(built_in())}; or give a dotted module, or a path to a .py file",
        )
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as in _load_file
        raise WrongKey(_KEYS, _unloadable(name, error)) from error


def _import_from(folder: Path) -> None:
    sys.path[:] = [str(folder), *(one for one in sys.path if one != str(folder))]


def _unloadable(name: str, error: BaseException) -> str:
    frames = [
        frame
        for frame in traceback.extract_tb(traceback_of(error))
        if not frame.filename.startswith("<frozen")
    ]
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{name!r} cannot be loaded: {type(error).__name__}: {text_of(error)}{where}"
