"""The allowed values of environment variables, and the errors for other values."""

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


@pytest.mark.parametrize("asked", ["abc", "", "-1", "nan", "inf"])
def test_an_invalid_timeout_is_refused_before_a_worker_starts(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setenv("VARSIM_CALL_TIMEOUT_S", asked)

    with simulated_cluster() as cluster, pytest.raises(ConfigError) as caught:
        tf.distribute.MirroredStrategy(["cpu:0"]).start()

    expected = "expected a number of seconds, such as 600 or 0.5; 0 means no limit"
    assert f"VARSIM_CALL_TIMEOUT_S={asked!r} (environment): {expected}" == str(caught.value)
    assert [] == cluster.networks


def limits(**settings: float) -> tuple[float, float, float]:
    """Return after how many seconds without progress a strategy warns, and fails."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0"], **settings)
        found = strategy.coordinator.state.stalls.limits
    return found.warn_s, found.blocked_s, found.computing_s


@pytest.mark.parametrize("asked", [0.25, 0])
def test_a_timeout_may_be_a_fraction_or_zero(monkeypatch: pytest.MonkeyPatch, asked: float) -> None:
    monkeypatch.setenv("VARSIM_CALL_TIMEOUT_S", str(asked))

    assert (5, asked, asked) == limits()


def test_a_setting_of_the_strategy_overrides_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("VARSIM_CALL_TIMEOUT_S", raising=False)
    assert (5, 60, 600) == limits()
    monkeypatch.setenv("VARSIM_CALL_TIMEOUT_S", "7")

    assert (2, 3, 3) == limits(stall_warn_s=2, stall_fail_s=3)
    assert (5, 0, 0) == limits(stall_fail_s=0)


def test_environment_variables_are_read_in_one_module() -> None:
    """So a wrong value causes one clear error, and no error at the import of varsim."""
    named = {path.name for path in SOURCES if re.search(r"[\"']VARSIM_", path.read_text("utf-8"))}
    assert {"environment.py"} == named


@pytest.mark.parametrize("asked", ["1.5", "many", "", "-3", "²"])
def test_a_count_is_a_whole_number(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setenv("VARSIM_WORKERS", asked)
    with pytest.raises(ConfigError, match=rf"VARSIM_WORKERS='{asked}' \(environment\): expected"):
        environment.whole_number(environment.WORKERS, "a number")
