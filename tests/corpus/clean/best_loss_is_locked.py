"""Every worker compares its loss with the best one and replaces it: a lock makes this one step."""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        best = tf.Variable(100.0, name="best", synchronization=tf.VariableSynchronization.NONE)

    def train(number):
        context = tf.distribute.get_replica_context()
        loss = 50.0 / (number + context.replica_id_in_sync_group + 1)
        with context.lock("best"):
            so_far = float(best.pull().value)
            if loss < so_far:
                best.push(loss - so_far)

    for number in range(6):
        strategy.run(train, args=(number,))
    return {"best": float(best.pull().value)}
