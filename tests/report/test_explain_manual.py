"""The manual operations in `varsim explain` have the numbers of a simulated cluster."""

from __future__ import annotations

from typing import Any

import pytest

import varsim as tf
from varsim.errors import OperationError
from varsim.report.explain_manual import ManualExample, manual_examples
from varsim.report.explain_worked import START, example_spec
from varsim.testing import simulated_cluster

COUNT = 3
SETTINGS = [
    (synchronization, aggregation)
    for synchronization in tf.VariableSynchronization
    for aggregation in tf.VariableAggregation
    if synchronization is not tf.VariableSynchronization.AUTO
]

pytestmark = pytest.mark.filterwarnings("ignore::varsim.errors.VarsimWarning")


def act(v: tf.Variable, called: str, replica_id: int) -> Any:
    """Perform the operation of an example on a replica; return its value."""
    if called.startswith("v.sync"):
        return v.sync("MEAN")
    if called.startswith("v.broadcast"):
        return v.broadcast(0)
    everyone = tf.distribute.get_replica_context()
    if called.startswith("v.publish"):
        if replica_id == 0:
            v.publish()
        everyone.all_reduce("SUM", 0.0)
        return v.fetch(0).value
    v.push(replica_id + 1)
    everyone.all_reduce("SUM", 0.0)
    return v.pull().value


def outcome(settings: Any, example: ManualExample) -> tuple[float, list[float]]:
    """Return the value of an operation and the components after it, on a simulated cluster."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(COUNT)])
        with strategy.scope():
            v = tf.Variable(START, synchronization=settings[0], aggregation=settings[1])

        def step() -> float:
            replica_id = tf.distribute.get_replica_context().replica_id_in_sync_group
            v.values[replica_id].assign_add(replica_id + 1)
            return float(act(v, example.called, replica_id))

        (value,) = {*strategy.experimental_local_results(strategy.run(step))}
        return value, [float(one.read_value()) for one in v.values]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_examples_have_the_numbers_of_a_cluster(settings: Any):
    for example in manual_examples(example_spec(*settings), COUNT):
        if example.refused is None:
            assert example.value is not None
            expected = float(example.value), [float(one) for one in example.components]
            assert expected == outcome(settings, example)
        else:
            with pytest.raises(OperationError) as raised:
                outcome(settings, example)
            errors = example.refused, raised.value
            reasons = [one.problem.partition(" is not possible: ")[2] for one in errors]
            assert reasons[0] == reasons[1] != ""
