"""Another package adds an exchange and a launcher by entry points, without a change in varsim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import varsim as tf
from tests.processes.foreign_backends import Noted, ZippedCoordinator
from varsim.errors import ConfigError
from varsim.experiments.config import Experiment, schema
from varsim.launch.launcher import LaunchOptions

pytestmark = pytest.mark.processes


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with two entry points. Its module is in the folder of this file."""
    folder = tmp_path / "foreign-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[varsim.exchanges]\nzipped = tests.processes.foreign_backends:Zipped\n"
        "[varsim.launchers]\nnoted = tests.processes.foreign_backends:Noted\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def write(variable: tf.Variable) -> np.ndarray:
    replica_id = tf.distribute.get_replica_context().replica_id_in_sync_group
    variable.assign_add(np.full(50_000, replica_id + 1.0))
    return np.asarray(variable)[:2]


def written(**backends: str) -> list[list[float]]:
    with tf.distribute.MirroredStrategy(["a", "b"], **backends) as strategy:
        with strategy.scope():
            variable = tf.Variable(
                np.zeros(50_000),
                synchronization=tf.VariableSynchronization.ON_WRITE,
                aggregation=tf.VariableAggregation.SUM,
            )
        return [value.tolist() for value in strategy.run(write, args=(variable,)).values]


@pytest.mark.thorough
def test_a_cluster_uses_backends_of_another_package(
    installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    operands: list[int] = []
    launched: list[LaunchOptions] = []
    monkeypatch.setattr(ZippedCoordinator, "operands", operands)
    monkeypatch.setattr(Noted, "launched", launched)

    assert [[3.0, 3.0]] * 2 == written(exchange="zipped", launcher="noted", transport="tcp")

    assert [2] == operands
    assert [("zipped", "tcp")] == [(o.backends.exchange, o.backends.transport) for o in launched]


def test_experiments_accept_backends_of_another_package(
    installed: None,
) -> None:
    experiment = Experiment(launcher="noted", exchange="zipped")

    named = {"launcher": "noted", "launcher_settings": "", "exchange": "zipped"}
    assert named == experiment.named_backends
    keys = schema()["properties"]
    launchers, _ = keys["launcher"]["anyOf"]
    assert ["process", "noted"] == [launchers["enum"][0], launchers["enum"][-1]]
    assert ["auto", "shared", "chain", "star", "zipped"] == keys["exchange"]["enum"]


def test_names_of_a_missing_package_are_refused() -> None:
    with pytest.raises(ConfigError, match="invalid exchange 'zipped': expected 'auto', 'shared'"):
        tf.distribute.MirroredStrategy(["a"], exchange="zipped")
    with pytest.raises(ConfigError, match="invalid launcher 'noted': expected 'process'"):
        tf.distribute.MirroredStrategy(["a"], launcher="noted")
