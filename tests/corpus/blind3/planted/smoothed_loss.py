"""The smoothed loss, by which the learning rate is lowered, jumps about more on the cluster than
the loss itself on one machine.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


class PlateauWatcher:
    """Smooths the loss."""

    def __init__(self, decay):
        self.decay = decay
        # FAULT: variable outside the scope: plateau/smoothed
        self.smoothed = tf.Variable(4.0, name="plateau/smoothed", trainable=False)
        # REMEDY: self.smoothed = tf.Variable(
        # REMEDY:     4.0,
        # REMEDY:     name="plateau/smoothed",
        # REMEDY:     trainable=False,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def see(self, loss):
        self.smoothed.assign(
            self.decay * self.smoothed.read_value() + (1 - self.decay) * np.float32(loss)
        )


def run(job: tf.Job):
    strategy = job.strategy
    watcher = PlateauWatcher(0.8)
    # REMEDY: with strategy.scope():
    # REMEDY:     watcher = PlateauWatcher(0.8)
    with strategy.scope():
        logits = tf.Variable(
            np.zeros(12, np.float32), name="unigram/logits", aggregation=tf.VariableAggregation.MEAN
        )
    rng = np.random.default_rng(6)
    chance = rng.dirichlet(np.full(12, 0.4))

    def step(tokens):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.split(tokens, strategy.num_replicas_in_sync)[me]
        z = logits.read_value()
        p = np.exp(z - z.max())
        p = p / p.sum()
        watcher.see(-np.log(p[mine]).mean())
        observed = np.bincount(mine, minlength=12).astype(np.float32) / np.float32(len(mine))
        logits.assign_add((observed - p).astype(np.float32))

    rate, history = 1.0, []
    for number in range(8):
        strategy.run(step, args=(rng.choice(12, 48, p=chance),))
        history.append(float(watcher.smoothed.numpy()))
        if number > 3 and history[-1] > history[-2]:
            rate *= 0.5
    return {"smoothed": history[-1], "rate": rate}
