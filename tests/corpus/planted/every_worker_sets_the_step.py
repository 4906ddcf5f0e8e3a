"""The global_step jumps: every worker writes its own count to a variable without aggregation.

Similar report: tensorflow#24875 ("synced or never synced?").
"""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        global_step = tf.Variable(
            0,
            name="global_step",
            synchronization=tf.VariableSynchronization.ON_WRITE,
        )

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # FAULT: write-write conflict: global_step
        global_step.assign(10 * number + me)
        # REMEDY:

    shown = []
    for number in range(5):
        strategy.run(train, args=(number,))
        # REMEDY: global_step.assign(10 * number)
        # REMEDY: strategy.run(train, args=(number,))
        # ALSO: divergence: global_step
        shown.append(int(global_step.read_value()))
    return {"steps": shown[-1]}
