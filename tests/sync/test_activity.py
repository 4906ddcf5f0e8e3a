"""What each replica does and for whom it waits, as far as the coordinator knows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import varsim as tf
from varsim.sync.activity import activities, idle
from varsim.sync.coordinator_state import CoordinatorState
from varsim.testing import simulated_cluster, simulation

Seen = tuple[int, str, str, tuple[int, ...]]
"""A replica, its status, its operation, and the replicas for which it waits."""


class Recorder:
    """Keeps what replicas do after every event, and checks it."""

    def __init__(self) -> None:
        self.seen: set[Seen] = set()

    def handled(self, state: CoordinatorState) -> None:
        found = [*activities(state)]
        for one in found:
            status = "is idle" if one.status is None else one.status.value
            operation = (
                "" if one.operation is None else str(one.operation).partition("(")[0].split()[0]
            )
            self.seen.add((one.replica_id, status, operation, one.waits_for))
            assert one.replica_id not in one.waits_for
        in_call = [one for one in found if one.status is not None]
        assert [*idle(state)] == [
            (one.replica_id, one.waits_for) for one in in_call if one.status.value != "runs"
        ]


def barrier() -> None:
    tf.distribute.get_replica_context().barrier()


def passing() -> None:
    context = tf.distribute.get_replica_context()
    if context.replica_id_in_sync_group == 0:
        context.recv(2)
    elif context.replica_id_in_sync_group == 2:
        context.send(1.0, to=0)


def reducing() -> None:
    tf.distribute.get_replica_context().all_reduce("sum", 1.0)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (
            reducing,
            [
                (0, "waits", "all_reduce", (1, 2)),
                (1, "waits", "all_reduce", (2,)),
                (0, "has ended", "", (1, 2)),
                (0, "is idle", "", ()),
            ],
        ),
        (barrier, [(0, "waits", "barrier", (1, 2)), (1, "waits", "barrier", (2,))]),
        (passing, [(0, "waits", "recv", (2,)), (1, "has ended", "", (0, 2))]),
    ],
)
def test_a_waiting_replica_names_the_replicas_for_which_it_waits(
    function: Callable[[], None], expected: list[Seen], monkeypatch: pytest.MonkeyPatch
):
    recorder = Recorder()
    monkeypatch.setattr(simulation, "Validation", lambda: recorder)
    with simulated_cluster(), tf.distribute.MirroredStrategy(["a", "b", "c"]) as strategy:
        strategy.run(function)

    assert set(expected) <= recorder.seen
