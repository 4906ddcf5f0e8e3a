"""One-sided operations between real processes: nothing is lost, and no value is torn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import Strategy
from tests.replica_context import replica_id

NONE = tf.VariableSynchronization.NONE

pytestmark = [
    pytest.mark.processes,
    pytest.mark.filterwarnings("ignore::varsim.errors.VarsimWarning"),
]

SIZE = 2**17
"""Number of float32 values: a value of 512 KiB is in shared memory, if the machine has it."""


def measured(found: Any) -> tuple[int, float, float]:
    return found.version, float(found.value.min()), float(found.value.max())


def test_pushes_of_three_processes_add_up(strategy: Strategy) -> None:
    with strategy.scope():
        count = tf.Variable(0, synchronization=NONE, name="count")

    def step() -> int:
        for _ in range(50):
            count.push(1)
        return count.pull().version

    versions = strategy.experimental_local_results(strategy.run(step))

    assert (150, 150) == (int(count.pull().value), max(versions))
    assert all(50 <= version <= 150 for version in versions)


def test_large_values_are_never_torn(strategy: Strategy) -> None:
    with strategy.scope():
        v = tf.Variable(np.zeros(SIZE, np.float32), synchronization=NONE, name="v")

    def step() -> list[Any]:
        seen: list[Any] = []
        one = np.ones(SIZE, np.float32)
        for number in range(10):
            v.push(one)
            v.assign(one * (10 * replica_id() + number))
            v.publish()
            seen += map(measured, (v.pull(), v.fetch((replica_id() + 1) % 3)))
        return seen

    for seen in strategy.experimental_local_results(strategy.run(step)):
        assert all(least == most for _, least, most in seen)
        pulls, fetches = seen[::2], seen[1::2]
        assert all(version == value for version, value, _ in pulls)
        assert [one[0] for one in fetches] == sorted(one[0] for one in fetches)
    assert {30.0} == {*np.unique(v.pull().value).tolist()}
    assert [9.0, 19.0, 29.0] == [float(v.fetch(i).value[0]) for i in range(3)]
