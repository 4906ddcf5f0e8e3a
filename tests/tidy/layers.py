"""Imports point down: the picture in ARCHITECTURE.md, taken by its word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from tests.tidy.source import ROOT, Finding, Source

FACE = "varsim"
"""The row of `varsim/__init__.py`, the public face."""

NEVER: dict[str, dict[str, str]] = {
    "analysis": {"varsim.sync": "a checker must not share code with the engine that it checks"},
    "varsim_worker": {
        "varsim.coordinator": "a worker talks to it by messages only",
        "varsim.launch.process": "a worker does not start clusters",
        "varsim.launch.nursery": "a worker does not start clusters",
        "varsim.report": "a worker has nothing to show",
    },
}
"""What a package must not import although it stands lower, and why."""

OF_THE_FACE = ("varsim.workloads.job", "varsim.experiments.finished")
"""Parts of the face that are kept above it: what a workload is given, and `run_experiment`."""

ONLY_THE_FACE = "workloads"
"""Written as a user would write them: against `import varsim as tf` alone."""


@cache
def layers() -> tuple[tuple[str, ...], ...]:
    """The rows of the picture, from the top."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    found = re.search(r"```layers\n(.*?)```", text, re.DOTALL)
    assert found, "ARCHITECTURE.md has no block marked ```layers"
    rows = [line.split("  #")[0].split() for line in found.group(1).splitlines()]
    return tuple(tuple(row) for row in rows if row)


def package_of(module: str) -> str | None:
    """The name in the picture that a module belongs to; None if it is not ours."""
    parts = module.split(".")
    if parts[0] == "varsim_worker":
        return parts[0]
    if parts[0] != "varsim":
        return None
    if len(parts) > 1 and parts[1] == "__main__":
        return "cli"
    known = {name for row in layers() for name in row}
    return parts[1] if len(parts) > 1 and parts[1] in known else FACE


def imports_point_down(source: Source) -> Iterator[Finding]:
    """A module imports only from rows below its own, and from its own package."""
    importer = package_of(source.module)
    if importer is None or not source.installed:
        return
    rank = {name: depth for depth, row in enumerate(layers()) for name in row}
    for line, name in source.imports():
        imported = package_of(name)
        if imported is None or imported == importer:
            continue
        if importer == FACE and f"{name}.".startswith(tuple(f"{one}." for one in OF_THE_FACE)):
            continue
        if imported == "varsim_worker":
            yield Finding(source.path, line, "varsim knows the worker by a command line only")
        elif reason := _never(importer, name):
            yield Finding(source.path, line, f"{importer} imports {name}: {reason}")
        elif importer == ONLY_THE_FACE and imported != FACE:
            yield Finding(
                source.path, line, "a workload uses the public face only: `import varsim`"
            )
        elif rank[imported] <= rank[importer]:
            yield Finding(
                source.path,
                line,
                f"{importer} imports {name}, which does not stand below it in ARCHITECTURE.md; "
                "move the code down, or pass what is needed as an argument",
            )


def _never(importer: str, name: str) -> str:
    for refused, reason in NEVER.get(importer, {}).items():
        if f"{name}.".startswith(f"{refused}."):
            return reason
    return ""


def every_module_has_a_layer(source: Source) -> Iterator[Finding]:
    """Each file and folder directly under varsim/ stands in the picture."""
    parts = source.module.split(".")
    inside = source.path.startswith("varsim/") and len(parts) > 1
    if inside and package_of(source.module) == FACE:
        yield Finding(source.path, 1, f"{parts[1]} has no row in the picture in ARCHITECTURE.md")
