"""The time limits of replicas without progress and of cut links are keys of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from varsim.errors import ConfigError
from varsim.experiments.loading import Override, load_experiment
from varsim.experiments.runner import run_experiment
from varsim.launch.launcher import LINK_LOSS_S
from varsim.testing import simulated_cluster

LIMITS = """
import varsim as tf
def told(strategy):
    limits = strategy.coordinator.state.stalls.limits
    print("limits", limits.warn_s, limits.blocked_s, limits.computing_s)
    print("link", strategy.incarnations.options.link_loss_s)
"""

PROGRAM = f"""{LIMITS}
def run(job): told(job.strategy)
"""

SCRIPT = f"""{LIMITS}
told(tf.distribute.MirroredStrategy(stall_warn_s=1, stall_fail_s=2, link_loss_s=3))
"""


@pytest.fixture(autouse=True)
def _in_one_process(
    write: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.delenv("VARSIM_CALL_TIMEOUT_S", raising=False)
    write("program.py", PROGRAM)
    write("script.py", SCRIPT)
    with simulated_cluster():
        yield


def run(*keys: str) -> None:
    run_experiment(load_experiment(None, [Override.parse(key) for key in keys]))


@pytest.mark.parametrize(
    ("keys", "limits"),
    [
        ([], "5.0 60.0 600.0"),
        (["stall_warn_s=0", "stall_fail_s=2.5"], "0 2.5 2.5"),
        (["stall_fail_s=0"], "5.0 0 0"),
    ],
)
def test_the_keys_are_limits_of_the_strategy(
    keys: list[str], limits: str, capfd: pytest.CaptureFixture[str]
) -> None:
    run("workload=program.py", *keys)

    assert [*map(float, limits.split())] == told(capfd)


@pytest.mark.parametrize(
    ("keys", "limits"), [([], [1, 2, 2]), (["stall_warn_s=7"], [7, 2, 2])], ids=str
)
def test_the_keys_override_those_of_a_script(
    keys: list[str], limits: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    run("script=script.py", *keys)

    assert limits == told(capfd)


@pytest.mark.parametrize(
    ("keys", "limit"),
    [
        (["workload=program.py"], LINK_LOSS_S),
        (["workload=program.py", "link_loss_s=7"], 7),
        (["script=script.py"], 3),
        (["script=script.py", "link_loss_s=7"], 7),
    ],
)
def test_the_limit_of_cuts_is_a_key(
    keys: list[str], limit: float, capfd: pytest.CaptureFixture[str]
) -> None:
    run(*keys)

    assert [limit] == told(capfd, "link")


def told(capfd: pytest.CaptureFixture[str], what: str = "limits") -> list[float]:
    (line,) = (line for line in capfd.readouterr().out.splitlines() if line.startswith(what))
    return [float(word) for word in line.split()[1:]]


@pytest.mark.parametrize("value", ["-1", ".inf", ".nan", "soon"])
@pytest.mark.parametrize("key", ["stall_fail_s", "link_loss_s"])
def test_a_wrong_time_is_refused(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=key):
        run("workload=program.py", f"{key}={value}")
