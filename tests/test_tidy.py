"""The house rules that a program can check; CONTRIBUTING.md has the reasons.

What Ruff checks (docstrings of public names, annotations, prints, layout) is not checked again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.tidy import layers, rules
from tests.tidy.source import ROOT, Finding, Source, sources, texts

Rule = Callable[[Source], Iterator[Finding]]


def check(rule: Rule, project: Iterable[Source]) -> None:
    findings = [finding for source in project for finding in rule(source)]
    if findings:
        pytest.fail("\n" + "\n".join(map(str, findings)), pytrace=False)


def test_imports_point_down() -> None:
    check(layers.imports_point_down, sources())


def test_every_module_has_a_layer() -> None:
    check(layers.every_module_has_a_layer, sources())


def test_files_are_short() -> None:
    check(rules.files_are_short, sources())


def test_functions_are_short() -> None:
    check(rules.functions_are_short, sources())


def test_decisions_are_pure() -> None:
    check(rules.decisions_are_pure, sources())


def test_nothing_sleeps() -> None:
    check(rules.nothing_sleeps, sources())


def test_nothing_runs_beside() -> None:
    check(rules.nothing_runs_beside, sources())


def test_names_say_something() -> None:
    check(rules.names_say_something, sources())


def test_ports_are_not_chosen() -> None:
    check(rules.ports_are_not_chosen, (s for s in texts() if s.path not in KNOW_WHAT_IS_WRONG))


def test_broad_excepts_have_reasons() -> None:
    check(rules.broad_excepts_have_reasons, sources())


def test_modes_are_asked_for_once() -> None:
    check(rules.modes_are_asked_for_once, sources())


def test_places_are_nobodys() -> None:
    check(rules.places_are_nobodys, (s for s in texts() if s.path not in KNOW_WHAT_IS_WRONG))


def test_no_package_is_called_workers() -> None:
    check(rules.no_package_is_called_workers, sources())


def test_every_module_is_used() -> None:
    named = [ROOT / "pyproject.toml", *(ROOT / "configs").glob("*.yaml")]
    by_name = "\n".join(path.read_text("utf-8") for path in named)
    findings = list(rules.every_module_is_used(sources(), by_name))
    if findings:
        pytest.fail("\n" + "\n".join(map(str, findings)), pytrace=False)


KNOW_WHAT_IS_WRONG = frozenset({"tests/test_tidy.py"})
"""Files that show what the rules refuse."""

LONG_FUNCTION = "def long():\n" + "    x = 1\n" * 70
WRONG: list[tuple[Rule, str, str, int]] = [
    (layers.imports_point_down, "varsim/sync/x.py", "import varsim.coordinator", 1),
    (layers.imports_point_down, "varsim/sync/x.py", "def f():\n    from varsim import cli", 2),
    (layers.imports_point_down, "varsim/spec.py", "from .protocol import messages", 1),
    (layers.imports_point_down, "varsim/distribute/x.py", "from ..report import table", 1),
    (layers.imports_point_down, "varsim/launch/x.py", "import varsim_worker.worker", 1),
    (layers.imports_point_down, "varsim/analysis/x.py", "from varsim.sync import policy", 1),
    (layers.imports_point_down, "varsim/workloads/x.py", "from varsim.distribute import y", 1),
    (layers.imports_point_down, "varsim/errors.py", "import varsim", 1),
    (layers.imports_point_down, "workers/varsim_worker/x.py", "import varsim.launch.process", 1),
    (layers.every_module_has_a_layer, "varsim/stray.py", "", 1),
    (rules.files_are_short, "varsim/x.py", "\n" * 501, 500),
    (rules.functions_are_short, "tests/x.py", LONG_FUNCTION, 1),
    (rules.decisions_are_pure, "varsim/sync/x.py", "import time", 1),
    (rules.decisions_are_pure, "varsim/sync/x.py", "def f():\n    from os import path", 2),
    (rules.decisions_are_pure, "varsim/sync/x.py", "print(1)", 1),
    (rules.decisions_are_pure, "varsim/analysis/x.py", "import numpy as np\nnp.random.rand()", 2),
    (rules.nothing_sleeps, "tests/x.py", "import time\ntime.sleep(1)", 2),
    (rules.nothing_sleeps, "varsim/x.py", "from time import sleep", 1),
    (rules.nothing_runs_beside, "varsim/x.py", "import threading", 1),
    (rules.nothing_runs_beside, "varsim/x.py", "from concurrent.futures import Future", 1),
    (rules.names_say_something, "varsim/array_utils.py", "", 1),
    (rules.ports_are_not_chosen, "varsim/x.py", "socket.bind('tcp://127.0.0.1:5555')", 1),
    (rules.broad_excepts_have_reasons, "varsim/x.py", "try: f()\nexcept Exception: g()", 2),
    (rules.broad_excepts_have_reasons, "varsim/x.py", "try: f()\nexcept:  # noqa: E722\n  g()", 2),
    (
        rules.broad_excepts_have_reasons,
        "varsim/x.py",
        "try: f()\nexcept (A, BaseException): g()",
        2,
    ),
    (rules.modes_are_asked_for_once, "varsim/x.py", "if mode == 'on_read': pass", 1),
    (rules.modes_are_asked_for_once, "varsim/x.py", "x is VariableSynchronization.NONE", 1),
    (rules.modes_are_asked_for_once, "varsim/x.py", "x in (spec.VariableSynchronization.NONE,)", 1),
    (
        rules.modes_are_asked_for_once,
        "varsim/x.py",
        "match m:\n    case VariableSynchronization.NONE: pass",
        2,
    ),
    (rules.places_are_nobodys, "README.md", "see /home/me/notes", 1),
    (rules.places_are_nobodys, "Makefile", "pip install --index-url x", 1),
    (rules.no_package_is_called_workers, "workers/workers/__init__.py", "", 1),
]


@pytest.mark.parametrize(
    ("rule", "path", "text", "line"),
    WRONG,
    ids=[f"{w[0].__name__}-{i}" for i, w in enumerate(WRONG)],
)
def test_a_rule_finds_what_it_refuses(rule: Rule, path: str, text: str, line: int) -> None:
    """Each rule can fail, and names the line."""
    assert [(path, line)] == [(found.path, found.line) for found in rule(Source(path, text))]


RIGHT: list[tuple[Rule, str, str]] = [
    (layers.imports_point_down, "varsim/sync/x.py", "from varsim.protocol.messages import Commit"),
    (layers.imports_point_down, "varsim/sync/x.py", "from . import policy"),
    (layers.imports_point_down, "varsim/workloads/x.py", "import varsim as tf"),
    (layers.imports_point_down, "tests/x.py", "import varsim_worker.worker"),
    (rules.functions_are_short, "tests/x.py", LONG_FUNCTION.replace("    x = 1\n", "", 1)),
    (rules.ports_are_not_chosen, "varsim/x.py", "socket.bind('tcp://127.0.0.1:*')"),
    (
        rules.broad_excepts_have_reasons,
        "varsim/x.py",
        "try: f()\nexcept Exception:  # noqa: BLE001 - a user's function may raise anything\n  g()",
    ),
    (
        rules.broad_excepts_have_reasons,
        "varsim/x.py",
        "try: f()\nexcept BaseException:\n  g()\n  raise",
    ),
    (rules.modes_are_asked_for_once, "varsim/sync/policy.py", "x is VariableSynchronization.NONE"),
    (rules.modes_are_asked_for_once, "varsim/x.py", "m = VariableSynchronization.ON_READ"),
    (rules.places_are_nobodys, "README.md", "workers/varsim_worker and docs/home/x"),
]


@pytest.mark.parametrize(
    ("rule", "path", "text"), RIGHT, ids=[f"{r[0].__name__}-{i}" for i, r in enumerate(RIGHT)]
)
def test_a_rule_lets_pass_what_is_right(rule: Rule, path: str, text: str) -> None:
    assert [] == list(rule(Source(path, text)))


def test_a_module_that_nobody_names_is_dead() -> None:
    project = [
        Source("varsim/a.py", "import varsim.b"),
        Source("varsim/b.py", ""),
        Source("varsim/c.py", "COMMANDS = {'d': 'varsim.d:main'}"),
        Source("varsim/d.py", ""),
        Source("varsim/workloads/e.py", ""),
        Source("tests/f.py", "import varsim.g"),
        Source("varsim/g.py", ""),
    ]
    dead = rules.every_module_is_used(project, "varsim.a varsim.c\nworkload: e\n")
    assert ["varsim/g.py"] == [finding.path for finding in dead]
