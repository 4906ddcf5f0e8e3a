"""A failed test does not disturb other tests of its module or folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.conftest import environment
from tests.waiting import MS

COUNTED = """
import pytest

made, ended = [], []

@pytest.fixture(scope="module")
def cluster():
    made.append("cluster")
    yield len(made)
    ended.append("cluster")

@pytest.fixture(scope="module")
def variables(cluster):
    yield f"of {cluster}"
    ended.append("variables")

def test_first(variables): assert "of 1" == variables
def test_second(variables):
    assert "of 1" == variables
    assert ended
def test_third(variables, cluster):
    assert "of 2" == variables
    assert ["variables", "cluster"] == ended
def test_fourth(cluster): assert 2 == cluster
"""

STUCK = """
import os

import pytest
import varsim as tf
from varsim.errors import CallTimeout

@pytest.fixture(scope="module")
def strategy():
    with tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"]) as started:
        yield started

def leave_replicas_that_wait(strategy, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)

    def wait():
        path.read_text()

    with pytest.raises(CallTimeout):
        strategy.run(wait)

def test_leaves_replicas_that_wait_and_fails(strategy, tmp_path):
    leave_replicas_that_wait(strategy, tmp_path)
    raise AssertionError

def test_finds_all_replicas_free(strategy):
    assert 1 == strategy.run(lambda: 1)

def test_leaves_replicas_that_wait_and_passes(strategy, tmp_path):
    leave_replicas_that_wait(strategy, tmp_path)

def test_finds_all_replicas_free_again(strategy):
    assert 1 == strategy.run(lambda: 1)
"""

OF_A_FOLDER = STUCK.replace('scope="module"', 'scope="session"')
AFTER = """
from pathlib import Path

def test_the_strategy_of_the_other_folder_is_closed():
    assert "" == Path("/proc/thread-self/children").read_text()
"""


@pytest.mark.processes
@pytest.mark.thorough
def test_fixtures_of_a_failed_or_stuck_test_are_created_again(tmp_path: Path):
    """Fixtures that depend on such a fixture are also created again. All others stay shared."""
    (tmp_path / "test_counted.py").write_text(COUNTED)
    (tmp_path / "test_stuck.py").write_text(STUCK)
    for number, (folder, text) in enumerate([("a", OF_A_FOLDER), ("b", AFTER)]):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"test_{number}.py").write_text(text)

    options = ("-q", "-p", "tests.shared_fixtures", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--basetemp", tmp_path / "base", "."],
        cwd=tmp_path,
        env=environment() | {"VARSIM_CALL_TIMEOUT_S": str(200 * MS)},
        capture_output=True,
        text=True,
        timeout=30_000 * MS,
    )

    assert "3 failed, 10 passed" in done.stdout, done.stdout
