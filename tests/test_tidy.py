"""The rules of the project that a program can check; CONTRIBUTING.md has the reasons.

These tests do not repeat checks of Ruff (docstrings of public names, annotations, prints, layout).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.tidy import rules
from tests.tidy.rules import Rule
from tests.tidy.source import ROOT, Source, Violation, sources, texts


@pytest.fixture(scope="module", autouse=True)
def free_sources() -> Iterator[None]:
    """Free the texts after these tests."""
    yield
    sources.cache_clear()
    texts.cache_clear()


def check(findings: Iterable[Violation]) -> None:
    if listed := [str(finding) for finding in findings]:
        pytest.fail("\n" + "\n".join(listed), pytrace=False)


def test_code_follows_the_rules() -> None:
    """One test for all rules, so that each file is parsed once; tests/tidy/rules.py has the rules.

    That decisions are pure is only checked by a look at the code; tests/processes/test_replay.py
    replays the events of runs.
    """
    findings: list[Violation] = []
    for source in sources():
        findings += [finding for rule in rules.OF_CODE for finding in rule(source)]
        source.free()
    named = [ROOT / "pyproject.toml", *(ROOT / "configs").rglob("*.yaml")]
    by_name = "\n".join(path.read_text("utf-8") for path in named)
    check([*findings, *rules.every_module_is_used(sources(), by_name)])


@pytest.mark.parametrize("rule", rules.OF_TEXTS)
def test_texts_follow_the_rules(rule: Rule) -> None:
    read = (source for source in texts() if source.path not in KNOW_WHAT_IS_WRONG)
    check(finding for source in read for finding in rule(source))


KNOW_WHAT_IS_WRONG = frozenset({"tests/test_tidy.py"})
"""Files with examples of what the rules refuse."""

LONG_FUNCTION = "def long():\n" + "    x = 1\n" * 70
WRONG: list[tuple[Rule, str, str, int]] = [
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
    (rules.no_machine_is_named, "README.md", "see /home/me/notes", 1),
    (rules.no_machine_is_named, "Makefile", "pip install --index-url x", 1),
    (rules.conflicts_are_resolved, "README.md", "a\n<<<<<<< HEAD\nb\n", 2),
    (rules.no_package_is_called_workers, "workers/workers/__init__.py", "", 1),
]


@pytest.mark.parametrize(
    ("rule", "path", "text", "line"),
    WRONG,
    ids=[f"{w[0].__name__}-{i}" for i, w in enumerate(WRONG)],
)
def test_each_rule_finds_a_violation_and_names_its_line(
    rule: Rule, path: str, text: str, line: int
) -> None:
    """Each rule can fail, and its text names the line."""
    assert [(path, line)] == [(found.path, found.line) for found in rule(Source(path, text))]


RIGHT: list[tuple[Rule, str, str]] = [
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
    (
        rules.modes_are_asked_for_once,
        "varsim/sync/policies/x.py",
        "x is VariableSynchronization.NONE",
    ),
    (rules.modes_are_asked_for_once, "varsim/x.py", "m = VariableSynchronization.ON_READ"),
    (rules.no_machine_is_named, "README.md", "workers/varsim_worker and docs/home/x"),
]


@pytest.mark.parametrize(
    ("rule", "path", "text"), RIGHT, ids=[f"{r[0].__name__}-{i}" for i, r in enumerate(RIGHT)]
)
def test_each_rule_accepts_code_that_follows_it(rule: Rule, path: str, text: str) -> None:
    assert [] == list(rule(Source(path, text)))


def test_a_module_that_nothing_imports_is_found() -> None:
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


CONTRACTS = (
    "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
)

FORBIDDEN = {  # path of a file -> (its forbidden import, the output of import-linter about it)
    "varsim/sync/x.py": (
        "import varsim.shells.coordinator",
        "varsim.sync.x -> varsim.shells.coordinator (l.1)",
    ),
    "varsim/sync/y.py": ("def f():\n  from varsim import cli", "varsim.sync.y -> varsim.cli (l.2)"),
    "varsim/distribute/x.py": (
        "from ..report import *",
        "varsim.distribute.x -> varsim.report (l.1)",
    ),
    "varsim/stray.py": ("", "- varsim.stray"),  # the module has no layer
    "varsim/distribute/stray.py": ("", "- varsim.distribute.stray"),  # no layer in its package
    "varsim/protocol/x.py": ("import varsim.protocol.y", "- .y -> .x (1 import)"),
    "varsim/protocol/y.py": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  from varsim.protocol import x",
        "No cycles are allowed in varsim.protocol.",
    ),
    "varsim/report/x.py": ("import varsim", "varsim.report.x -> varsim (l.1)"),
    "varsim/workloads/x.py": (
        "from varsim import launch",
        "varsim.workloads.x -> varsim.launch (l.1)",
    ),
    "varsim/analysis/x.py": ("import varsim.sync", "varsim.analysis.x -> varsim.sync (l.1)"),
    "varsim/launch/x.py": ("import varsim_worker", "varsim.launch.x -> varsim_worker (l.1)"),
    "workers/varsim_worker/x.py": (
        "import varsim.shells.coordinator",
        "varsim_worker.x -> varsim.shells.coordinator (l.1)",
    ),
}


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("importlinter", reason="`make setup` installs it")
    return subprocess.run(
        [sys.executable, "-c", CONTRACTS],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'workers'}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=50,
    )


def test_imports_keep_the_contracts() -> None:
    """`make lint` checks this, too; this test is part of `make quick`."""
    linted = lint_imports(ROOT)
    assert 0 == linted.returncode, linted.stdout + linted.stderr


@pytest.mark.thorough
def test_the_contracts_refuse_what_they_name(tmp_path: Path) -> None:
    """Each contract in pyproject.toml can fail, and import-linter names the module and the line."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for source in sources():
        if source.installed:
            (tmp_path / source.path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / source.path).write_text(source.text, "utf-8")
    for path, (wrong, _) in FORBIDDEN.items():
        (tmp_path / path).write_text(f"{wrong}\n", "utf-8")
    linted = lint_imports(tmp_path)
    assert [] == [said for _, said in FORBIDDEN.values() if said not in linted.stdout]
    assert "0 kept" in linted.stdout
