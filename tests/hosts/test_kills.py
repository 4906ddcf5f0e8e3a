"""What the program gets if a part of its cluster is killed, and that nothing is left on any host.

`python -m tests.hosts.kills` does all of it, several times each.
"""

from __future__ import annotations

import pytest

from tests.hosts.engine_lab import EngineLab
from tests.hosts.kills import KILLS, Kill, try_once
from tests.hosts.ray_cluster import ray_for

pytestmark = [pytest.mark.hosts, pytest.mark.processes]

BY_RAY = ("ray partition", "ray head")
TRIED = ("ssh agent", "ssh command", "ssh partition", "mpirun fork server", "mpirun program")


@pytest.mark.parametrize("kill", [one for one in KILLS if str(one) in TRIED], ids=str)
def test_a_kill_is_reported_and_leaves_nothing(engines: EngineLab, kill: Kill) -> None:
    outcome = try_once(engines, kill)
    assert "" == outcome.wrong, outcome


@pytest.mark.timeout(180)
def test_kills_on_ray_are_reported_and_leave_nothing(
    engines_are_possible: None, ray_is_possible: None
) -> None:
    """A cut, which varsim's links notice, and then the end of the head, which only Ray notices."""
    with EngineLab(3) as engines, ray_for(engines) as ray:
        outcomes = [try_once(engines, one, ray) for one in KILLS if str(one) in BY_RAY]
    assert ["", ""] == [one.wrong for one in outcomes], outcomes
