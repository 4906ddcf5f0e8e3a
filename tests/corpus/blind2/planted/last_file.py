"""After a restart I continue after the last file that was stored.

Why is this never a file of the second worker?
"""

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        lines = tf.Variable(
            0,
            name="lines",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        last_file = tf.Variable(
            -1,
            name="last_file",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.NONE,
        )

    def step(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        file = 2 * number + me
        lines.assign_add(100 + 7 * file)
        # FAULT: write-write conflict: last_file
        last_file.assign(file)
        # REMEDY:

    for number in range(9):
        strategy.run(step, args=(number,))
        # REMEDY: strategy.run(step, args=(number,))
        # REMEDY: last_file.assign(2 * number + 1)
    # ALSO: divergence: last_file
    resume = int(last_file.read_value()) + 1
    return {"lines": int(lines.read_value()), "resume": resume}
