"""The weights are local during training. At the end all copies are read and averaged."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weights = tf.Variable(
            0.0,
            name="weights",
            synchronization=tf.VariableSynchronization.NONE,
        )
    data = np.linspace(-1.0, 2.0, 30)

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = np.array_split(data, strategy.num_replicas_in_sync)[me]
        weights.assign_sub(0.1 * (weights.read_value() - part[number]))

    for number in range(5):
        strategy.run(train, args=(number,))
    copies = strategy.experimental_local_results(weights)
    return {"weights": float(np.mean([copy.numpy() for copy in copies]))}
