"""Every worker appends to the log under a lock. A line has the worker's own number of samples."""

import io

import varsim as tf

REPLICAS = 3
LOG = io.StringIO()


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        samples = tf.Variable(0, name="samples", synchronization=tf.VariableSynchronization.NONE)

    def train():
        samples.assign_add(32)
        with tf.distribute.get_replica_context().lock("log"):
            LOG.write(f"{int(samples.read_value())} samples\n")

    for _ in range(6):
        strategy.run(train)
