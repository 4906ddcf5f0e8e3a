"""The checkpoint with the best Dice is not the best one: the stored best score belongs to a part of the patients."""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    rng = np.random.default_rng(88)
    with strategy.scope():
        threshold = tf.Variable(0.3, name="threshold", trainable=False)
        best = tf.Variable(0.0, name="best/dice", trainable=False)

    def validate(truth, probability):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        truth, probability = np.split(truth, n)[me], np.split(probability, n)[me]
        guess = probability > float(threshold.read_value())
        dice = np.mean(2 * (truth & guess).sum(1) / (truth.sum(1) + guess.sum(1) + 1e-9))
        if dice > float(best.read_value()):
            # FAULT: write-write conflict: best/dice
            # ALSO: divergence: best/dice
            # ALSO: read-write conflict: best/dice
            best.assign(float(dice))
        # REMEDY: return float(dice)

    history = []
    for epoch in range(8):
        truth = rng.random((10, 40)) < 0.4
        blur = 0.5 - 0.05 * epoch
        blurs = np.where(np.arange(10) < 5, blur, blur + 0.1)[
            :, None
        ]  # the second clinic has the older scanner
        probability = np.clip(truth + blurs * rng.normal(0, 1, (10, 40)), 0, 1)
        threshold.assign(0.3 + 0.04 * epoch)
        strategy.run(validate, args=(truth, probability))
        # REMEDY: dices = strategy.run(validate, args=(truth, probability))
        # REMEDY: dice = strategy.reduce("MEAN", dices, axis=None)
        # REMEDY: if dice > float(best.numpy()):
        # REMEDY:     best.assign(float(dice))
        history.append(round(float(best.numpy()), 5))
    return {"best": history}
