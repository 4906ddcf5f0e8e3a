"""Find the sources of a program: its file, and the modules that it imports from its own folder.

The modules are found by reading import statements. So a module is found even if only a worker or a
branch that was not executed imports it. Files that a program loads in another way (`importlib`,
data files) are not found.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import varsim

_MAX_FILES: Final = 200
_MAX_FILE_BYTES: Final = 2**20
_MAX_BYTES: Final = 2**23  # limit for all files; sources that are written by hand are smaller
_OURS: Final = Path(varsim.__file__).parent
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, slots=True)
class ProgramLocation:
    """The location of a program."""

    file: Path  # the file that is run
    root: Path  # the folder from which the program imports; `file` is in it or in a subfolder


@dataclass(slots=True)
class Sources:
    """The sources: path below the root → content. The program's file is the first."""

    files: dict[str, bytes] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)  # imported files that were not read, and why


def location_of_file(path: Path) -> ProgramLocation:
    """Return the location of a file that is run by its path, and imports from its own folder."""
    return ProgramLocation(path, path.parent)


def location_of_module(name: str, file: str | None) -> ProgramLocation | None:
    """Return the location of a dotted module, with the folder of its top-level package as root.

    Return None for an installed module.
    """
    if file is None:
        return None
    path = Path(file).absolute()
    depth = name.count(".") + (path.name == "__init__.py")
    root = path.parents[depth]
    return None if _is_installed(path, root) else ProgramLocation(path, root)


def _is_installed(path: Path, root: Path) -> bool:
    if _OURS in path.parents:
        return True
    libraries = {Path(sys.prefix), Path(sys.base_prefix)}
    return bool(_INSTALLED & {*path.parts}) or root.parent.parent in libraries


def sources_of(location: ProgramLocation) -> Sources:
    """Read the sources of a program, as they are now."""
    found = Sources()
    installed = _installed_in(location.root)
    total, seen, waiting = 0, {location.file}, [location.file]
    while waiting:
        path = waiting.pop(0)
        name = path.relative_to(location.root).as_posix()
        try:
            content = path.read_bytes()
        except OSError as error:
            found.left_out.append(f"{name}: {error.strerror}")
            continue
        total += len(content)
        if len(content) > _MAX_FILE_BYTES or total > _MAX_BYTES or len(found.files) >= _MAX_FILES:
            found.left_out.append(f"{name}: too many files, or too large")
            total -= len(content)
            continue
        found.files[name] = content
        for imported in _imported(content, path, location.root):
            top = imported.relative_to(location.root).parts[0].removesuffix(".py")
            if imported not in seen and top not in installed:
                seen.add(imported)
                waiting.append(imported)
    return found


def _installed_in(root: Path) -> set[str]:
    """Return the top-level modules that pip has installed beside a program (`--target`)."""
    names = set()
    for record in root.glob("*.dist-info/RECORD"):
        for line in record.read_text("utf-8", "replace").splitlines():
            names.add(line.partition(",")[0].partition("/")[0].removesuffix(".py"))
    return names


def forget_imported(location: ProgramLocation) -> None:
    """Make Python import the modules of a program's own folder again.

    So the current content of the program's files is run, and not an earlier import of a module with
    the same name. Installed modules stay imported, even if a file of the program has the same name,
    because varsim may use them.
    """
    for name in list(sources_of(location).files)[1:]:
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        file = getattr(sys.modules.get(module), "__file__", None)
        standard = module.partition(".")[0] in sys.stdlib_module_names
        if file is not None and not standard and not _INSTALLED & {*Path(file).parts}:
            del sys.modules[module]


def _imported(content: bytes, path: Path, root: Path) -> Iterator[Path]:
    """Yield the files below the root that a module's import statements may refer to."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return
    package = path.relative_to(root).parent.parts
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield from _files(root, tuple(alias.name.split(".")))
            case ast.ImportFrom(module=module, names=names, level=level):
                above = package[: len(package) - level + 1] if level else ()
                base = (*above, *(module.split(".") if module else ()))
                yield from _files(root, base)
                for alias in names:
                    yield from _files(root, (*base, alias.name))


def _files(root: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files that importing a module executes: its packages' files, and its own file."""
    for depth in range(1, len(parts) + 1):
        stem = root.joinpath(*parts[:depth])
        for path in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")):
            if path.is_file() and _OURS not in path.parents:
                yield path
                break
