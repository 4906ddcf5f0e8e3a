"""Trainings on two hosts have the right values, whatever the network between the hosts does.

`python -m tests.hosts.trainings` tries more networks.
"""

from __future__ import annotations

import pytest

from tests.hosts.engine_lab import EngineLab
from tests.hosts.trainings import LARGE, NETWORKS, Network, tried

pytestmark = [pytest.mark.hosts, pytest.mark.processes]

TRIED = ("100 Mbit/s", "cut from the host, 3 s", "10 ms, 1 % loss, cut of 3 s")


@pytest.mark.parametrize(
    "network", [one for one in NETWORKS if one.name in TRIED], ids=lambda one: one.name
)
def test_no_write_is_lost_or_doubled(engines: EngineLab, network: Network) -> None:
    outcome = tried(network, engines)
    assert "" == outcome.wrong, outcome
    assert outcome.packets_lost > 0 or not network.cut


def test_hosts_reduce_a_large_variable_again_after_a_cut(engines: EngineLab) -> None:
    (network,) = (one for one in NETWORKS if one.name == "cut of 3 s")
    outcome = tried(network, engines, LARGE)
    assert "" == outcome.wrong, outcome
    assert outcome.packets_lost > 0
