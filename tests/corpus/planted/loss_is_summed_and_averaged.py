"""The metric means the replicas' losses, but each replica writes the sum of an all_reduce."""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    count = strategy.num_replicas_in_sync
    with strategy.scope():
        loss, total = (
            tf.Variable(
                0.0,
                name=name,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=aggregation,
            )
            for name, aggregation in (
                ("loss", tf.VariableAggregation.MEAN),
                ("total", tf.VariableAggregation.SUM),
            )
        )
    batches = np.random.default_rng(3).gamma(2.0, 1.0, (2, 8)).astype(np.float32)

    def step(batch):
        context = tf.distribute.get_replica_context()
        mine = np.split(batch, count)[context.replica_id_in_sync_group]
        # FAULT: scaled by the number of replicas: loss
        loss.assign(context.all_reduce(tf.distribute.ReduceOp.SUM, mine.mean()))
        # REMEDY: loss.assign(context.all_reduce(tf.distribute.ReduceOp.MEAN, mine.mean()))
        everything = context.all_reduce(tf.distribute.ReduceOp.SUM, mine.sum())
        # FAULT: scaled by the number of replicas: total
        total.assign_add(everything)

    for batch in batches:
        strategy.run(step, args=(batch,))
        print(loss.numpy(), total.numpy())
