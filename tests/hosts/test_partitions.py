"""Links between two hosts, on networks that are slow, lose packets, or are cut.

`python -m tests.hosts.partitions` prints the times. They depend on the machine, so no test asserts
them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from tests.hosts.lab import Lab
from tests.hosts.partitions import BOTH, CASES, Case, Ends, tried
from tests.waiting import MS, wait_for
from varsim.errors import LinkLost
from varsim.launch.launcher import LINK_LOSS_S
from varsim.transport.sockets import NOTICED_AFTER_S

pytestmark = pytest.mark.hosts

SHORT_LOSS_S = 500 * MS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_envelope_arrives_once_and_in_order(hosts_are_possible: None, case: Case) -> None:
    outcome = tried(case)

    assert outcome.is_right, outcome
    assert bool(case.cut) == (outcome.recovered_s is not None)
    assert (outcome.recovered_s or 0.0) < LINK_LOSS_S
    assert min(outcome.delays_s) >= case.shape.get("delay_s", 0.0)
    if case.cut or "loss" in case.shape:
        assert outcome.dropped > 0
    # An envelope that was lost in a cut is sent once more, and TCP repeats some packets.
    assert 1.0 < outcome.carried_ratio < 3.0
    if not case.cut:
        assert 1 == outcome.connections
    elif case.time_s >= 2 * NOTICED_AFTER_S:
        assert 2 == outcome.connections  # the systems have noticed the cut


@pytest.mark.parametrize("cut", [BOTH, BOTH[:1], BOTH[1:]], ids=["both", "to it", "from it"])
def test_both_ends_lose_a_link_that_stays_cut(
    make_lab: Callable[..., Lab], cut: tuple[tuple[int, int], ...]
) -> None:
    """One direction is enough, because a connection needs both."""
    lab = make_lab(2)
    with closing(Ends(lab, SHORT_LOSS_S)) as ends:
        ends.connect()
        for sender, receiver in cut:
            lab.switch.cut(sender, receiver)

        losers: set[str] = set()

        def both_have_lost() -> bool:
            ends.coordinator_turn()
            losers.update("coordinator" for _ in ends.lost)
            try:
                ends.worker_turn()
            except LinkLost:
                losers.add("worker")
            return {"coordinator", "worker"} == losers

        wait_for(both_have_lost, 20_000 * MS, what=lambda: f"two losers, not {losers}")
        assert {0} == set(ends.lost)
