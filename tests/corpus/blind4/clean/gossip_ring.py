"""Cameras that agree on a background image by exchanging with one neighbour at a time, without a server."""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        background = tf.Variable(
            np.zeros((6, 6), np.float32),
            name="background",
            synchronization=tf.VariableSynchronization.NONE,
        )
    scene = np.random.default_rng(48).random((6, 6)).astype(np.float32)

    def look(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        rng = np.random.default_rng([number, me])
        frame = scene + rng.normal(0, 0.1, (6, 6)).astype(np.float32)
        background.assign_add((0.2 * (frame - background.numpy())).astype(np.float32))

    def gossip(number):
        context = tf.distribute.get_replica_context()
        me, n = context.replica_id_in_sync_group, strategy.num_replicas_in_sync
        if n == 1:
            return
        partner = me ^ 1 if number % 2 == 0 else (n - 1) - me
        if me < partner:
            context.send(background.numpy(), to=partner)
            theirs = context.recv(partner)
        else:
            theirs = context.recv(partner)
            context.send(background.numpy(), to=partner)
        background.assign((background.numpy() + theirs) / np.float32(2))

    for number in range(20):
        strategy.run(look, args=(number,))
        strategy.run(gossip, args=(number,))
    copies = np.stack([copy.numpy() for copy in background.values])
    return {
        "apart": float(np.ptp(copies, axis=0).max()),
        "error": float(np.abs(copies - scene).mean()),
        "agree": bool(np.ptp(copies, axis=0).max() < 0.1),
    }
