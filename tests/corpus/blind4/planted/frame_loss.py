"""The loss per frame of the acoustic model is a little different with five cards, and nobody finds the reason."""

import numpy as np

import varsim as tf

REPLICAS = 5
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        frames = tf.Variable(
            0,
            name="frames",
            dtype=tf.int64,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
        loss = tf.Variable(0.0, name="frame_loss", aggregation=tf.VariableAggregation.MEAN)
    rng = np.random.default_rng(60)

    def evaluate(utterances):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = utterances[me::n]  # whole utterances, some of 10 and some of 80 frames
        costs = np.concatenate(mine)
        frames.assign_add(np.int64(len(costs)))
        # FAULT: mean of means: frame_loss
        loss.assign(float(costs.mean()))
        # REMEDY: context = tf.distribute.get_replica_context()
        # REMEDY: value = np.asarray(costs.mean(), "float32")
        # REMEDY: value = context.all_reduce("MEAN", value, weight=len(costs))
        # REMEDY: loss.assign(float(value))

    log = []
    for _ in range(9):
        lengths = rng.integers(10, 80, 15)
        noisy = rng.gamma(2.0, 1.0, 15)
        utterances = [
            rng.gamma(1.5, level, length) for level, length in zip(noisy, lengths, strict=True)
        ]
        strategy.run(evaluate, args=(utterances,))
        log.append(float(loss.numpy()))
    return {"frames": int(frames.numpy()), "loss": log}
