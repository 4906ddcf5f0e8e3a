"""The workload `inventory`: its writes and reads, its settings, and the lists that it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.dtypes import DTYPES
from tests.workloads.runs import run_workload
from varsim.experiments.config import Experiment
from varsim.experiments.runner import run_experiment
from varsim.extension_dtypes import NAMES
from varsim.testing import simulated_cluster
from varsim.workloads import inventory

W = {"name": "w", "shape": [3], "dtype": "float32"}
COUNTER = {"name": "steps", "shape": [], "dtype": "int64"}
MEAN = inventory.INCREMENT


def values(name: str, **settings: Any) -> list[list[float]]:
    """Return the components of a variable after four steps on three replicas."""
    components = run_workload(inventory, replicas=3, steps=4, **settings).components[name]
    return [component.tolist() for component in components]


def test_floats_are_averaged_and_variables_of_other_dtypes_count_steps():
    listed = [W, COUNTER, {"name": "done", "shape": [2], "dtype": "bool"}]

    assert [[4 * MEAN] * 3] * 3 == values("w", variables=listed)
    assert [4, 4, 4] == values("steps", variables=listed)
    assert [[True, True]] * 3 == values("done", variables=listed)


def test_the_mode_applies_to_free_floats_only():
    """A counter has no mean, so the modes on_read and local_sgd are not for counters."""
    listed = [W, COUNTER, {**W, "name": "kept", "synchronization": "on_write"}]
    components = run_workload(
        inventory, replicas=3, steps=4, mode="on_read", variables=listed
    ).components

    assert [[2 * MEAN] * 3, [4 * MEAN] * 3, [6 * MEAN] * 3] == [*map(list, components["w"])]
    assert [4, 4, 4] == [*map(int, components["steps"])]
    assert [[4 * MEAN] * 3] * 3 == [*map(list, components["kept"])]


def test_the_variables_have_the_settings_of_the_list():
    seen = {**W, "name": "seen", "synchronization": "on_read", "aggregation": "sum"}
    local = {**W, "name": "local", "synchronization": "none", "trainable": False}
    created: dict[str, tf.Variable] = {}

    def keep(next_creator: Any, **settings: Any) -> tf.Variable:
        created[settings["name"]] = next_creator(**settings)
        return created[settings["name"]]

    with tf.variable_creator_scope(keep), pytest.warns(tf.VarsimWarning, match="NONE"):
        run_workload(inventory, replicas=2, steps=1, variables=[seen, local])

    on_read, none = tf.VariableSynchronization.ON_READ, tf.VariableSynchronization.NONE
    assert (on_read, tf.VariableAggregation.SUM) == (
        created["seen"].synchronization,
        created["seen"].aggregation,
    )
    assert (none, False) == (created["local"].synchronization, created["local"].trainable)


def test_every_dtype_and_shape_of_a_variable_can_be_written():
    listed = [
        {"name": f"{dtype}{shape}", "shape": shape, "dtype": dtype}
        for dtype in [dtype.name for dtype in DTYPES]
        for shape in ([], [2, 3], [0, 4])
    ]
    run = run_workload(inventory, replicas=2, steps=2, variables=listed)

    assert len(listed) == run.result["variables"]
    assert all(np.all(run.components[one["name"]][0]) for one in listed)
    assert set(NAMES) == set(inventory.DTYPES)


def test_a_run_and_a_single_device_have_the_same_values(tmp_path: Path):
    """The oracle shows no difference. The only finding is about redundant merges of the counter."""
    with simulated_cluster():
        ran = run_experiment(
            Experiment(workload="inventory", workers=3, oracle=True, out=str(tmp_path))
        )

    assert ran.verdict is not None
    assert "VALID" == ran.verdict.outcome
    assert ["merges of the same values"] == [one.split(":")[0] for one in ran.verdict.findings]


def test_the_result_has_the_size_of_the_model():
    result = run_workload(inventory, replicas=2, variables=[W, COUNTER]).result

    assert {"steps": 10, "variables": 2, "parameters": 4, "bytes": 20} == result


@pytest.mark.parametrize(
    ("listed", "problem"),
    [
        ([], "params.variables: the list is empty"),
        ([{}], r"params.variables\[0\]: name is missing"),
        ([W, W], r"params.variables\[1\]: 'w' is listed twice"),
        ([W | {"size": 1}], "unknown key 'size'; keys: name, shape, dtype, synchronization,"),
        ([W | {"name": ""}], r"params.variables\[0\].name: invalid value '': expected a text"),
        ([W | {"shape": [None]}], r"shape: invalid value \[None\]: expected a list of dimensions"),
        ([W | {"shape": [-1]}], r"shape: invalid value \[-1\]"),
        ([W | {"dtype": "string"}], "dtype: invalid value 'string': expected one of float16,"),
        ([W | {"synchronization": "on"}], "expected one of auto, none, on_write, on_read"),
        ([W | {"aggregation": 3}], "expected one of none, sum, mean, only_first_replica"),
        ([W | {"trainable": "yes"}], "trainable: invalid value 'yes': expected true or false"),
    ],
)
def test_the_error_for_a_wrong_list_names_the_entry(listed: list[dict[str, Any]], problem: str):
    with pytest.raises(tf.ConfigError, match=problem):
        run_workload(inventory, replicas=2, variables=listed)


def test_too_large_variables_are_refused_before_they_are_created():
    """The error has the memory that is needed, the limit and the remedy."""
    huge = [{"name": "table", "shape": [10**9, 64], "dtype": "float32"}]

    problem = (
        r"238.42 GiB, so with 2 replicas a run needs up to 2,622.6 GiB of memory, and the "
        r"limit is .* GiB. .* params.limit_gib=2623"
    )
    with pytest.raises(tf.ConfigError, match=problem):
        run_workload(inventory, replicas=2, variables=huge)
    with pytest.raises(tf.ConfigError, match=r"the limit is 0\.5 GiB"):
        run_workload(inventory, replicas=2, variables=huge, limit_gib=0.5)
