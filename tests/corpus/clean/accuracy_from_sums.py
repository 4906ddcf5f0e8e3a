"""The program sums the hits and the examples of 4 GPUs, and divides one sum by the other."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        hits = tf.Variable(
            0,
            name="hits",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        examples = tf.Variable(
            0,
            name="examples",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def evaluate(step):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = np.array_split(np.arange(32) + 32 * step, strategy.num_replicas_in_sync)[me]
        hits.assign_add(int((part % 9 != 0).sum()))
        examples.assign_add(len(part))

    for step in range(4):
        strategy.run(evaluate, args=(step,))
    return {"accuracy": int(hits.read_value()) / int(examples.read_value())}
