"""The curriculum of the speech model reaches its hardest noise level only after three times as many clips as planned."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
PLANNED = 180


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        clips = tf.Variable(
            0.0,
            name="clips_heard",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        gain = tf.Variable(1.0, name="gain", aggregation=tf.VariableAggregation.MEAN)
    rng = np.random.default_rng(55)

    def train(batch, noise):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        batch, noise = np.split(batch, n)[me], np.split(noise, n)[me]
        clips.assign_add(float(len(batch)))
        # FAULT: stale read: clips_heard
        progress = min(float(clips.read_value()) / PLANNED, 1.0)
        noisy = batch + progress * noise
        gain.assign_sub(0.1 * float(np.mean((float(gain.read_value()) * noisy - batch) * noisy)))

    for _ in range(15):
        batch = rng.normal(0, 1, (18, 30))
        strategy.run(train, args=(batch, rng.normal(0, 1, (18, 30))))
    return {"heard": float(clips.numpy()), "gain": float(gain.numpy())}
