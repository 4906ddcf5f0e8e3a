"""The pytest plugin: fixtures, marker, assertions, and the reports of failures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "testing.md"

HEAD = """
import numpy as np
import pytest
import varsim as tf
from varsim.testing import *

def variable(strategy, **settings):
    with strategy.scope():
        return tf.Variable(0.0, name="v", **settings)
SUM, MEAN = tf.VariableAggregation.SUM, tf.VariableAggregation.MEAN
simulated = pytest.mark.varsim(workers=3, simulated=True)
"""


def run(folder: Path, text: str, *options: str, typed: str = "") -> str:
    """Run the tests of a text in a new process; return what pytest printed."""
    (folder / "test_one.py").write_text(HEAD + text)
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers"]
    words += [f"--basetemp={folder / 'temporary'}", *options]
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, input=typed
    )
    return done.stdout


@pytest.mark.thorough
def test_a_passing_test_has_the_workers_of_its_marker(tmp_path: Path):
    said = run(
        tmp_path,
        """
@pytest.mark.varsim(workers=3, mode="on_read", simulated=True, fail_on=["conflict"])
def test_one(varsim_strategy, varsim_cluster):
    assert varsim_cluster.strategy is varsim_strategy
    v = variable(varsim_strategy, aggregation=SUM)
    varsim_strategy.run(lambda: v.assign_add(1.0))
    assert 3.0 == v.numpy()
    assert "ON_READ" == v.synchronization.name
    assert_valid(varsim_cluster, fail_on=["any"])
    assert (varsim_cluster.path / "history.db").exists()
""",
    )
    assert "1 passed" in said, said


@pytest.mark.thorough
def test_the_markers_of_a_class_and_its_tests_are_combined(tmp_path: Path):
    """The closest marker decides; a setting that it does not have is not lost."""
    said = run(
        tmp_path,
        """
@pytest.mark.varsim(workers=3, simulated=True, fail_on="never", mode="on_write")
class TestAll:
    @pytest.mark.varsim(mode="on_read")
    def test_mode(self, varsim_strategy):
        assert 3 == varsim_strategy.num_replicas_in_sync
        v = variable(varsim_strategy, aggregation=SUM)
        varsim_strategy.run(lambda: v.assign_add(1.0))
        assert "ON_READ" == v.synchronization.name

    @pytest.mark.varsim(workers=2)
    def test_finding(self, varsim_strategy):
        v = variable(varsim_strategy, aggregation=SUM)
        for _ in range(20):
            varsim_strategy.run(lambda: v.assign_add(1.0))

    def test_nothing(self, varsim_strategy):
        pass
""",
    )
    assert "2 failed, 1 passed" in said, said
    assert "found: merges-that-are-never-read" in said
    assert "there is no record: the test used no strategy" in said
    assert 1 == said.count("what the replicas did last")


@pytest.mark.thorough
def test_a_debugger_finds_the_workers_of_a_failed_test(tmp_path: Path):
    said = run(
        tmp_path,
        """
@simulated
def test_one(varsim_strategy):
    varsim_strategy.run(lambda: 42)
    assert 42 == 0
""",
        "--pdb",
        typed="p varsim_strategy.run(lambda: 43)\nq\n",
    )
    assert "(Pdb) 43\n" in said, said


@pytest.mark.thorough
def test_a_requested_finding_fails_the_test(tmp_path: Path):
    said = run(
        tmp_path,
        """
@pytest.mark.varsim(workers=2, simulated=True, fail_on="never")
def test_one(varsim_strategy):
    v = variable(varsim_strategy, aggregation=SUM)
    for _ in range(20):
        varsim_strategy.run(lambda: v.assign_add(1.0))
""",
    )
    assert "1 failed" in said, said
    assert "found: merges-that-are-never-read" in said
    assert "what the replicas did last" in said


@pytest.mark.thorough
def test_a_failure_in_a_replica_shows_the_program_and_what_the_replicas_did(
    tmp_path: Path,
):
    said = run(
        tmp_path,
        """
@simulated
def test_one(varsim_strategy):
    v = variable(varsim_strategy, aggregation=SUM)
    def step():
        if tf.distribute.get_replica_context().replica_id_in_sync_group == 1:
            raise RuntimeError("no data")
        v.assign_add(1.0)
        return v.read_value()
    varsim_strategy.run(step)
""",
    )
    assert "1 failed" in said, said
    assert "no data" in said
    assert "varsim/sync" not in said.split("what the replicas did last")[0]
    assert "varsim/distribute" not in said.split("what the replicas did last")[0]
    assert re.search(r"replica 1: raise call 1.*in call 1, at .*\.py:\d+", said)
    assert "the whole record: varsim check " in said


@pytest.mark.thorough
def test_a_wrong_marker_is_one_clear_error(tmp_path: Path):
    said = run(
        tmp_path,
        """
@pytest.mark.varsim(wokers=3)
def test_key(varsim_strategy): pass

@pytest.mark.varsim(workers="x")
def test_value(varsim_strategy): pass

@pytest.mark.varsim(fail_on="stail")
def test_kind(varsim_strategy): pass

@pytest.mark.varsim(fail_on=None)
def test_kinds(varsim_strategy): pass

@pytest.mark.varsim(simulated="no")
def test_simulated(varsim_strategy): pass

@pytest.mark.varsim(trace="off", fail_on="any")
def test_trace(varsim_strategy): pass

@pytest.mark.varsim(3)
def test_form(varsim_strategy): pass
""",
    )
    assert "7 errors" in said, said
    assert "fail_on=None: expected kinds of findings" in said
    assert "simulated='no': expected True or False" in said
    assert "trace='off' records nothing: remove one of them" in said
    assert "there is no setting 'wokers'; did you mean 'workers'" in said
    assert "workers: " in said
    assert "stail: there is no such kind of finding" in said
    assert "takes only settings with names" in said
    assert "varsim_cluster(" not in said
    assert "During handling" not in said


@pytest.mark.thorough
def test_assertions_name_the_replica_the_key_and_the_factor(tmp_path: Path):
    said = run(
        tmp_path,
        """
def replica():
    return tf.distribute.get_replica_context().replica_id_in_sync_group

@simulated
def test_equal(varsim_strategy):
    assert_replicas_equal(varsim_strategy.run(lambda: np.float32([1, 2])))
    assert_replicas_equal(varsim_strategy.run(lambda: 1.0 + 1e-9 * replica()), rtol=1e-6)

@simulated
def test_differ(varsim_strategy):
    assert_replicas_equal(varsim_strategy.run(lambda: np.float32([1, replica() // 2])))

@simulated
def test_named(varsim_strategy):
    v = variable(varsim_strategy, synchronization=tf.VariableSynchronization.NONE)
    varsim_strategy.run(lambda: v.assign(float(replica())))
    assert_replicas_equal(v)

@simulated
def test_no_components(varsim_strategy):
    assert_replicas_equal(3.0)

def count(strategy):
    v = variable(strategy, aggregation=SUM)
    strategy.run(lambda: v.assign_add(8.0))
    return {"seen": v.numpy()}

def count_shares(strategy):
    v = variable(strategy, aggregation=SUM)
    strategy.run(lambda: v.assign_add(9.0 / strategy.num_replicas_in_sync))
    return {"seen": v.numpy(), "more": [1, np.arange(3)]}

@simulated
def test_close(varsim_strategy):
    assert_close_to_single_device(count_shares, varsim_strategy)

@simulated
def test_factor(varsim_strategy):
    assert_close_to_single_device(count, varsim_strategy)
""",
    )
    assert "4 failed, 2 passed" in said, said
    assert "the components of v differ: 1.0 on replica 1, 0.0 on replica 0\n" in said
    unlike = "1.0 on replica 2, 0.0 on replica 0, at [1] (1 of 2 elements differ)"
    assert f"the components of the value differ: {unlike}" in said
    assert "TypeError: a float has no components" in said
    differs = "['seen'] differs from a single device: 24.0 on 3 replicas, 8.0 on the single device"
    assert f"{differs}. It is 3 times the single device's value" in said


def test_other_tests_import_nothing_of_varsim(tmp_path: Path):
    """The test uses a new process, which has imported nothing."""
    (tmp_path / "test_one.py").write_text(
        "import sys\n"
        "def test_one():\n"
        "    ours = {one for one in sys.modules if one.startswith('varsim')}\n"
        "    assert ours <= {'varsim', 'varsim.pytest_plugin'}\n"
        "    assert 'numpy' not in sys.modules\n"
    )
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout


@pytest.mark.thorough
@pytest.mark.processes
def test_the_example_of_the_documentation_passes_and_fails_as_it_says(tmp_path: Path):
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    wrong = example.replace(
        "aggregation=tf.VariableAggregation.SUM", "aggregation=tf.VariableAggregation.MEAN"
    )
    (tmp_path / "test_right.py").write_text(example)
    (tmp_path / "test_wrong.py").write_text(wrong)
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2"]
    words.append(f"--basetemp={tmp_path / 'temporary'}")
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "1 failed, 1 passed" in done.stdout, done.stdout
    said = re.search(r"AssertionError: (\['slope'\] differs .*)", done.stdout)
    assert said is not None
    assert said[1] in " ".join(DOCS.read_text().split()), said[1]


@pytest.mark.thorough
@pytest.mark.processes
def test_a_time_out_shows_who_waits(tmp_path: Path):
    text = """
@pytest.mark.timeout(3, method="signal")
@pytest.mark.varsim(workers=2)
def test_one(varsim_strategy):
    v = variable(varsim_strategy, aggregation=SUM)
    def step():
        if tf.distribute.get_replica_context().replica_id_in_sync_group == 1:
            while True:
                pass
        v.assign_add(1.0)
        return v.read_value()
    varsim_strategy.run(step)
"""
    said = run(tmp_path, text)

    assert "1 failed" in said
    assert re.search(r"replica 0: wait v, in call 1, at .*test_one.py:\d+", said), said
    assert "replica 1: no event is recorded" in said
    assert "No column for replica 1: nothing happened there during these events." in said
    assert "varsim/shells" not in said
