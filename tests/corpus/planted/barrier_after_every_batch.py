"""A barrier from the synchronous version of a program makes its staleness of 4 useless."""

import varsim as tf

REPLICAS = 2
BATCHES = 12


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        total = tf.Variable(
            0,
            name="total",
            synchronization=tf.BoundedStaleness(4),
            aggregation=tf.VariableAggregation.SUM,
        )
        # REMEDY: total = tf.Variable(
        # REMEDY:     0,
        # REMEDY:     name="total",
        # REMEDY:     synchronization=tf.BoundedStaleness(1),
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )

    def count():
        context = tf.distribute.get_replica_context()
        for batch in range(BATCHES):
            # FAULT: bound not reached: total
            total.assign_add(batch, read_value=False)
            context.barrier()

    for _ in range(3):
        strategy.run(count)
    return {"total": int(total.read_value())}
