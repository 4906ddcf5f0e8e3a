"""The remedy of each planted fault, as the finding prints it, removes the finding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus.harness import (
    BLIND,
    UNEXPLAINED,
    ExpectedFinding,
    execution,
    lines_of,
    marks,
    one_blas_thread,
    planted_in,
    programs,
    unexplained,
)
from tests.corpus.remedies import changes, mended, settings_of
from tests.corpus.test_corpus import KNOWN_MISSES, name
from varsim.analysis.causes import with_causes
from varsim.analysis.findings.model import Finding
from varsim.analysis.findings.waits import STRAGGLER
from varsim.analysis.search import find, find_and_compare
from varsim.whatif.remedies import tried

HARDWARE = {STRAGGLER.name: "the device of a replica is slow, or gets more work"}
"""Kinds of finding that no change of the program removes, and why."""

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with one_blas_thread():
        yield


EVERY_PLANTED = [*programs("planted"), *planted_in(BLIND)]


def mendable() -> list[Path]:
    """Return the programs whose faults are found, and are not about hardware."""
    return [
        path
        for path in EVERY_PLANTED
        if path.stem not in KNOWN_MISSES and kinds(path) - HARDWARE.keys()
    ]


def kinds(path: Path) -> set[str]:
    return {mark.kind for mark in marks(path)[0]}


@pytest.mark.parametrize(
    "path",
    mendable(),
    ids=name,
)
def test_the_remedy_removes_the_finding(path: Path, tmp_path: Path):
    """The remedy is settings, or lines of the program that say what the finding's text says."""
    text = path.read_text("utf-8")
    before, planted = _findings(path, text, tmp_path / "before")
    settings = settings_of(planted)
    assert planted or kinds(path) == {UNEXPLAINED}
    assert settings or changes(text), [one.remedy for one in planted]

    program = tmp_path / path.name
    program.write_text(mended(text), "utf-8")
    with execution(program, program.read_text("utf-8"), tmp_path / "after", settings) as done:
        after, compared = find_and_compare(done.history, done.oracle)
        left = {one.variable for one in unexplained(compared, program)}
    assert "" == done.failure
    assert not {one.variable for one in marks(path)[0] if one.kind == UNEXPLAINED} & left
    assert [] == [one.what for one in after if _key(one) in {_key(it) for it in planted}]
    new = [one for one in after if _key(one) not in {_key(it) for it in before}]
    assert [] == [(one.kind.name, one.what) for one in new if one.kind.about_values]


def _findings(path: Path, text: str, out: Path) -> tuple[list[Finding], list[Finding]]:
    """Return the findings of a program as `varsim check` prints them, and those with a FAULT."""
    with execution(path, text, out) as done:
        causes = with_causes(done.history, find(done.history, done.oracle))
        found = list(tried(done.history, done.oracle, causes)[0])
        lines = lines_of(found, path, done.history)
    faults = marks(path)[0]
    planted = [
        one
        for one, numbers in zip(found, lines, strict=True)
        if faults & {ExpectedFinding(one.kind.name, one.variable, line) for line in numbers}
    ]
    return found, planted


def _key(finding: Finding) -> tuple[str, str]:
    return finding.kind.name, finding.variable


def test_programs_without_a_remedy_are_only_about_hardware():
    for path in EVERY_PLANTED:
        if kinds(path) <= HARDWARE.keys():
            assert [] == changes(path.read_text("utf-8")), path


def test_a_remedy_replaces_the_statement_above_it():
    text = (
        "def f():\n"
        "    with lock:\n"
        "        a()\n"
        "    # REMEDY: a()\n"
        "    b(\n"
        "        1\n"
        "    )\n"
        "    # REMEDY:\n"
        "    if c:\n"
        "        d()\n"
        "        # REMEDY: if e:\n"
        "        # REMEDY:     d()\n"
        "    return 2\n"
    )
    assert "def f():\n    a()\n    if c:\n        if e:\n            d()\n    return 2\n" == mended(
        text
    )


def test_a_remedy_that_is_below_no_statement_is_refused():
    with pytest.raises(AssertionError, match="line 2: no statement"):
        changes("a = 1\n    # REMEDY: b\n")
