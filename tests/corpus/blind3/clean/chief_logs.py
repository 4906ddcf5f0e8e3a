"""The chief keeps a running average of the loss of its own micro-batch for the console; results
use the true mean.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        console = tf.Variable(
            0.0,
            name="console/running_loss",
            trainable=False,
            synchronization=tf.VariableSynchronization.NONE,
        )
        loss = tf.Variable(
            0.0, name="train/loss", trainable=False, aggregation=tf.VariableAggregation.MEAN
        )
        bias = tf.Variable(
            np.zeros(6, np.float32), name="items/bias", aggregation=tf.VariableAggregation.MEAN
        )

    def step(number, ratings):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.split(ratings, n)[me]
        error = mine - bias.read_value()
        own = np.float32(np.square(error).mean())
        loss.assign(own)
        bias.assign_add(np.float32(0.4) * error.mean(axis=0))
        if me == 0:
            console.assign(own if number == 0 else 0.9 * console.read_value() + 0.1 * own)
            if number % 5 == 4:
                print(f"[chief] step {number}: about {float(console.read_value()):.2f}")

    rng = np.random.default_rng(57)
    level = rng.normal(3, 1, 6)
    losses = []
    for number in range(10):
        strategy.run(step, args=(number, (level + rng.normal(0, 0.5, (21, 6))).astype(np.float32)))
        losses.append(round(float(loss.numpy()), 4))
    return {"losses": losses, "bias": [round(float(b), 4) for b in bias.numpy()]}
