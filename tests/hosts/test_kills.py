"""What the program gets if a part of its cluster is killed, and that nothing is left on any host.

`python -m tests.hosts.kills` does all of it, ten times each.
"""

from __future__ import annotations

import pytest

from tests.hosts.engine_lab import EngineLab
from tests.hosts.kills import KILLS, Kill, try_once

pytestmark = [pytest.mark.hosts, pytest.mark.processes]

TRIED = ("ssh agent", "ssh command", "ssh partition", "mpirun fork server", "mpirun program")


@pytest.mark.parametrize("kill", [one for one in KILLS if str(one) in TRIED], ids=str)
def test_a_kill_is_reported_and_leaves_nothing(engines: EngineLab, kill: Kill) -> None:
    outcome = try_once(engines, kill)
    assert "" == outcome.wrong, outcome
