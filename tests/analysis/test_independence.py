"""A checker shares no code with what it checks, not even through a module between the two."""

from __future__ import annotations

import ast
from functools import cache

from tests.tidy.source import ROOT

JUDGES = ("varsim.analysis", "varsim.tracing")
ACCUSED = ("varsim.sync", "varsim.coordinator", "varsim.protocol.buckets")


@cache
def modules() -> dict[str, ast.Module]:
    """Every module below varsim/, parsed; the public face re-exports all, so it is left out."""
    found = {}
    for path in (ROOT / "varsim").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name != "varsim":
            found[name] = ast.parse(path.read_text("utf-8"))
    return found


def imports(module: str) -> set[str]:
    """The modules of varsim that a module imports, also for types alone."""
    names = set()
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import"
            names |= {str(node.module), *(f"{node.module}.{one.name}" for one in node.names)}
    return names & modules().keys()


def is_in(module: str, packages: tuple[str, ...]) -> bool:
    return f"{module}.".startswith(tuple(f"{one}." for one in packages))


def test_nothing_that_judges_reaches_the_engine():
    reached = {module: [module] for module in modules() if is_in(module, JUDGES)}
    waiting = list(reached)
    for module in waiting:
        for other in imports(module) - reached.keys():
            reached[other] = [*reached[module], other]
            waiting.append(other)

    assert [] == [" → ".join(way) for one, way in sorted(reached.items()) if is_in(one, ACCUSED)]
