"""A deadlock is found at the message that closes it, and named on all replicas."""

from __future__ import annotations

import pytest

import varsim as tf
from tests.locking.programs import run, variables
from tests.locking.shapes import SHAPES, Shape
from varsim.errors import CallAborted, DeadlockError
from varsim.testing.simulation import simulated_cluster

AT_ONCE_S = 0.1
"""Simulated time. A search that waits for a deadline would take much more."""


@pytest.mark.parametrize(
    "seed", [None, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(1, 5))]
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_deadlock_is_named_at_once(shape: Shape, seed: int | None) -> None:
    with simulated_cluster(seed) as clusters:
        strategy = tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(len(shape.programs))])
        with strategy.scope():
            own = variables()
        unwound = []

        def step() -> None:
            try:
                run(shape.programs, own)
            except CallAborted:
                unwound.append(1)
                raise

        with pytest.raises(DeadlockError) as caught:
            strategy.run(step)

        assert clusters.networks[0].now_s() < AT_ONCE_S
        _check(shape, caught.value)
        strategy.run(lambda: None)  # the strategy can be used after the error
        assert len(unwound) >= len(shape.replica_ids)


def test_a_lock_around_a_deferred_write_is_a_deadlock() -> None:
    """With `auto="adaptive"`, the read of w waits for the write of replica 1."""
    with simulated_cluster(1):
        strategy = tf.distribute.MirroredStrategy(["a", "b", "c"], auto="adaptive")
        with strategy.scope():
            own = variables()
        programs = (
            "lock a, send 1, write w, read w",
            "recv 0, lock a, write w",
            "write w, recv 1",
        )
        with pytest.raises(DeadlockError) as caught:
            strategy.run(run, args=(programs, own))
        assert (0, 1) == caught.value.replica_ids
        assert "for replica 1, which has not made this write" in str(caught.value)


def _check(shape: Shape, error: DeadlockError) -> None:
    """Check the replicas and the text of an error."""
    text = str(error)
    assert shape.text in text
    assert text.count("programs.py:") >= len(shape.replica_ids)
    if "whose function has ended" not in text:
        assert shape.replica_ids == error.replica_ids
