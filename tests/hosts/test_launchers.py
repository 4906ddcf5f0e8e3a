"""Runs on three hosts, started by a real ssh and a real mpirun, have the values of one host.

`python -m tests.hosts.launchers` compares every workload in every mode.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.hosts.engine_lab import EngineLab
from tests.hosts.launchers import arguments
from tests.hosts.runs_on_hosts import LOCAL, run

pytestmark = [pytest.mark.hosts, pytest.mark.processes]


@pytest.mark.parametrize(
    ("launcher", "workload", "mode"),
    [
        ("ssh", "digits", "on_write"),
        ("ssh", "digits_ways", "compressed:on_write:top_k:0.1"),
        ("mpirun", "batch_norm", ""),
    ],
)
def test_values_are_those_of_one_host(
    engines: EngineLab, tmp_path: Path, launcher: str, workload: str, mode: str
) -> None:
    options = arguments(workload, mode)
    local = run(engines, LOCAL, options, tmp_path / LOCAL)
    there = run(engines, launcher, options, tmp_path / launcher)

    assert 0 == local.code, local.said
    assert [] == local.differences(there)
    assert len(local.events) > 100
    assert {"a": [0, 1], "b": [2, 3], "c": [4, 5]} == there.hosts


def test_a_host_that_refuses_the_login_is_named(engines: EngineLab, tmp_path: Path) -> None:
    """No question is asked: ssh ends, and the error has what it said."""
    refused = "launcher={ssh: {hosts: [a, b], options: [-F, none]}}"
    there = run(engines, "", ["digits", refused], tmp_path / "run")
    assert 1 == there.code
    assert re.search(
        r"host [ab] has ended: `ssh` exited with code 255:\s+root@[ab]: Permission denied",
        there.said,
    ), there.said
