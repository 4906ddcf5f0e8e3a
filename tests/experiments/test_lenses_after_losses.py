"""What the report of a run shows of variables whose values are lost with a worker."""

from __future__ import annotations

import pytest

import varsim as tf
from tests.report.summaries import summary, variable_summary
from varsim.errors import WorkerLost
from varsim.experiments.strategies import look_at
from varsim.report.run_sentences import sentences_on_synchronisation
from varsim.report.summary import SyncCost
from varsim.testing import simulated_cluster
from varsim.texts.incarnations import LostWrites


def test_the_report_does_not_call_components_equal_whose_later_writes_are_lost() -> None:
    with simulated_cluster() as cluster:
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], auto="adaptive")
        with strategy.scope():
            v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.MEAN)

        def step(last: bool = False) -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            v.assign_add(1.0 + replica)
            if last and replica == 1:
                cluster.lose(1)

        for _ in range(3):
            strategy.run(step)
        with pytest.raises(WorkerLost):
            strategy.run(step, (True,))
        seen = look_at(strategy, v, partly=True)

    assert (
        "3 writes of each replica in completed calls, which were not exchanged, cannot be "
        "exchanged any more (replica 1: worker was killed by SIGKILL); the components shown have "
        "the value before these writes"
    ) == seen.refused
    assert [0.0, 0.0] == [None if one is None else one.elements for one in seen.components]
    assert (None, None) == (seen.value, seen.apart)
    (said,) = sentences_on_synchronisation(
        summary(
            variable_summary(
                "v",
                seen,
                synchronization="AUTO",
                aggregation="MEAN",
                on_write=SyncCost(merges=3, messages=12, size_bytes=48),
            )
        )
    )
    assert "AUTO was adaptive" in said
    assert "same" not in said


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "1 write of each replica in completed calls, which waited for an exchange, is lost"),
        (2, "2 writes of each replica in completed calls, which waited for an exchange, are lost"),
    ],
)
def test_lost_writes_are_counted_in_good_english(count: int, said: str) -> None:
    assert f"variable 'v': {said}" == str(LostWrites("v", count))
