"""Gossip of item embeddings: after each local step, a worker meets one neighbour, in turns the
left and the right one.
"""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        table = tf.Variable(
            np.zeros((6, 3), np.float32),
            name="items/local",
            synchronization=tf.VariableSynchronization.NONE,
        )
    truth = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    rounds = (
        [[strategy.group([i, (i + 1) % n]) for i in range(shift, n, 2)] for shift in (0, 1)]
        if n > 1
        else [[], []]
    )

    def step(number):
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        rng = np.random.default_rng([7, number, me])
        noisy = truth + rng.normal(0, 0.4, truth.shape).astype(np.float32)
        moved = table.read_value() + np.float32(0.3) * (noisy - table.read_value())
        for pair in rounds[number % 2]:
            if me in pair:
                moved = context.all_reduce("MEAN", moved, group=pair)
        table.assign(moved)

    for number in range(16):
        strategy.run(step, args=(number,))
    copies = np.stack([one.numpy() for one in strategy.experimental_local_results(table)])
    away = float(np.abs(copies.mean(axis=0) - truth).max())
    assert away < 0.4
    return {"away": round(away, 4), "apart": round(float(np.ptp(copies, axis=0).max()), 4)}
