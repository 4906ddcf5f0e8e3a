"""Each environment variable has one form, and a wrong value is one clear error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import varsim as tf
from varsim import environment
from varsim.errors import ConfigError
from varsim.testing import simulated_cluster

SOURCES = [
    path
    for folder in ("varsim", "workers")
    for path in (Path(__file__).parents[1] / folder).rglob("*.py")
]


@pytest.mark.parametrize("asked", ["abc", "", "0", "-1", "nan", "inf"])
def test_an_invalid_timeout_is_refused_before_a_worker_starts(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setenv("VARSIM_CALL_TIMEOUT_S", asked)

    with simulated_cluster() as cluster, pytest.raises(ConfigError) as caught:
        tf.distribute.MirroredStrategy(["cpu:0"]).start()

    expected = "expected a number of seconds above 0, such as 600 or 0.5"
    assert f"VARSIM_CALL_TIMEOUT_S={asked!r} (environment): {expected}" == str(caught.value)
    assert [] == cluster.networks


def test_a_timeout_may_be_a_fraction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARSIM_CALL_TIMEOUT_S", "0.25")
    with simulated_cluster():
        assert 0.25 == tf.distribute.MirroredStrategy(["cpu:0"]).coordinator.call_timeout_s


def test_environment_variables_are_read_in_one_module() -> None:
    """A wrong value must be one clear error, and not an error at the import of varsim."""
    named = {path.name for path in SOURCES if re.search(r"[\"']VARSIM_", path.read_text("utf-8"))}
    assert {"environment.py"} == named


@pytest.mark.parametrize("asked", ["1.5", "many", "", "-3", "²"])
def test_a_count_is_a_whole_number(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setenv("VARSIM_WORKERS", asked)
    with pytest.raises(ConfigError, match=rf"VARSIM_WORKERS='{asked}' \(environment\): expected"):
        environment.whole_number(environment.WORKERS, "a number")
