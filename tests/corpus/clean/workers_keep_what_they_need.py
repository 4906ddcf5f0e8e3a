"""Each worker keeps its own residuals and generator. The program collects what they return."""

import numpy as np

import varsim as tf

REPLICAS = 2


class Compressor:
    def __init__(self):
        self.residuals = {}

    def __call__(self, me, gradient):
        gradient = gradient + self.residuals.get(me, 0.0)
        sent = np.sign(gradient)
        self.residuals[me] = gradient - sent
        return sent


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(np.zeros(3, np.float32), aggregation=tf.VariableAggregation.MEAN)
    compress, generators = Compressor(), {}
    velocity = [np.zeros(3, np.float32) for _ in range(strategy.num_replicas_in_sync)]

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        if me not in generators:
            generators[me] = np.random.default_rng(me)
        error = weight.read_value() - generators[me].random(3, np.float32) - number
        velocity[me] *= np.float32(0.5)
        velocity[me] += compress(me, error).astype(np.float32)
        weight.assign_sub(np.float32(0.1) * velocity[me])
        return np.float32(np.square(error).sum())

    losses = [strategy.run(train, args=(number,)) for number in range(4)]
    return {"losses": [strategy.experimental_local_results(one) for one in losses]}
