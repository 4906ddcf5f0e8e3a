"""Check the types in a program with replicas, and in a workload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_type

import varsim as tf

strategy = tf.distribute.MirroredStrategy(devices=["cpu:0", "cpu:1"])
assert_type(strategy.num_replicas_in_sync, int)

with strategy.scope():
    total = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM)


def step(amount: float) -> None:
    """Do one step of training on a replica."""
    context = tf.distribute.get_replica_context()
    if isinstance(context, tf.distribute.ReplicaContext):
        assert_type(context.replica_id_in_sync_group, int)
        assert_type(context.num_replicas_in_sync, int)
        assert_type(context.all_reduce(tf.distribute.ReduceOp.SUM, amount), Any)
        context.all_reduce()  # type: ignore[call-arg]
        assert_type(context.all_reduce("MEAN", amount, weight=3), Any)
        assert_type(context.reduce_scatter(tf.distribute.ReduceOp.MAX, amount), Any)
        assert_type(context.all_to_all([amount]), list[Any])
        assert_type(context.broadcast(amount, root=0), Any)
        assert_type(context.scan("SUM", amount, exclusive=True), Any)
        context.scan("SUM", amount, True)  # type: ignore[call-arg]
        context.replica_id  # type: ignore[attr-defined]
    total.assign_add(amount)


assert_type(strategy.run(step, args=(1.0,)), Any)
assert_type(strategy.experimental_local_results(strategy.run(step, args=(1.0,))), tuple[Any, ...])
strategy.run(step(1.0))  # type: ignore[arg-type, func-returns-value]  # run calls the function
strategy.run(3)  # type: ignore[arg-type]
strategy.close()

with tf.distribute.MirroredStrategy(["cpu:0"]) as other:
    assert_type(other, tf.distribute.MirroredStrategy)


def run(job: tf.Job) -> None:
    """Train under a job, as `varsim run --workload` calls it."""
    assert_type(job.strategy, tf.distribute.MirroredStrategy)


workload: Callable[[tf.Job], None] = run
try:
    finished = tf.run_experiment("experiment.yaml", workers=4)
    assert_type(finished, tf.FinishedRun)
    tf.run_experiment("experiment.yaml", wrokers=4)  # type: ignore[call-arg]
except tf.VarsimError as error:
    assert_type(error, tf.VarsimError)
