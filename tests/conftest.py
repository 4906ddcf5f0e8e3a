"""Fixtures that every test uses: a private folder for files, and a check for leaks."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.effort import many
from tests.leaks import MARK, LeakCheck
from tests.shared_fixtures import (  # noqa: F401 - hooks of pytest
    has_failed,
    pytest_runtest_makereport,
    pytest_runtest_teardown,
)
from tests.surroundings import ensure_open_files, heed_interrupts, short_temporary
from varsim.testing import simulated_cluster


def pytest_configure() -> None:
    """Check the machine's limits, heed SIGINT, and make random tests repeatable in CI."""
    ensure_open_files()
    heed_interrupts()
    # A deadline would fail tests on a busy machine. In CI, each run draws the same examples;
    # older releases of hypothesis need `derandomize` for this. Other runs draw new examples.
    in_ci = bool(os.environ.get("CI"))
    settings.register_profile(
        "varsim", deadline=None, derandomize=in_ci, max_examples=many(MOST_EXAMPLES)
    )
    settings.load_profile("varsim")


MOST_EXAMPLES = 50
"""The number of examples of a test by hypothesis that sets no other number."""

COLLECTION_AFTER = 7_000
"""The number of new objects after which garbage is collected; Python's default is 700."""

FULL_COLLECTION_AFTER = 100
"""The number of collections of the middle generation before a full one; Python's default is 10."""


def pytest_collection() -> None:
    """Collect no garbage while the tests are collected: almost all new objects stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Make garbage collections rare: a full one visits all modules and collected tests.

    `gc.freeze` would avoid these visits, too. But `gc.get_referrers` does not see frozen objects,
    so hypothesis would treat the global random generators as objects about to be freed.
    """
    gc.enable()
    _, middle, _ = gc.get_threshold()
    gc.set_threshold(COLLECTION_AFTER, middle, FULL_COLLECTION_AFTER)


@pytest.fixture(scope="session", autouse=True)
def private_temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Create a folder that all processes of this test run use for temporary files.

    With this folder the leak check finds each file of this run, and no file of another test run.
    The path is short, because the path of an ipc socket has at most 107 characters.
    """
    tmp_path_factory.getbasetemp()  # pytest's own folders stay in their usual folder
    path = short_temporary()
    patch = pytest.MonkeyPatch()
    patch.setenv("TMPDIR", str(path))
    patch.setenv(MARK, uuid.uuid4().hex)
    (path / "state").mkdir()
    patch.setenv("XDG_STATE_HOME", str(path / "state"))  # the folder of the user's key
    patch.setattr(tempfile, "tempdir", None)
    yield path
    patch.undo()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a test an empty current folder, its own `sys.path`, and no VARSIM_WORKERS."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("VARSIM_WORKERS", raising=False)
    return tmp_path


@pytest.fixture
def in_one_process(own_folder: Path) -> Iterator[Path]:
    """Simulate the clusters of a test in this process; return its folder."""
    with simulated_cluster():
        yield own_folder


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest, private_temporary: Path) -> Iterator[None]:
    """Fail a test that leaves a process, thread, socket, private folder or segment behind."""
    check = LeakCheck(private_temporary, os.environ[MARK])
    yield
    leaks = check.leaks()
    if not leaks:
        return
    check.end_processes()
    if has_failed(request.node):
        return  # the traceback of a failed test keeps objects alive that the test would have closed
    pytest.fail("the test left behind:\n  " + "\n  ".join(leaks), pytrace=False)
