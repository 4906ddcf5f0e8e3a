"""Ported line by line from DDP: each rank's policy becomes another one, and their mean return is
that of a batch of a quarter of the size.
"""

import numpy as np

import varsim as tf

REPLICAS = 4


def gradient_of(theta, states, actions, returns):
    p = 1 / (1 + np.exp(-(states @ theta)))
    return (states * ((actions - p) * returns)[:, None]).mean(axis=0).astype(np.float32)


def run(job: tf.Job):
    strategy = job.strategy
    world = strategy.num_replicas_in_sync
    with strategy.scope():
        theta = tf.Variable(
            np.zeros(4, np.float32),
            name="reinforce/theta",
            synchronization=tf.VariableSynchronization.NONE,
        )

    def train(states, actions, returns):
        context = tf.distribute.get_replica_context()
        mine = slice(context.replica_id_in_sync_group, None, world)
        grad = gradient_of(theta.read_value(), states[mine], actions[mine], returns[mine])
        # torch: dist.all_reduce(p.grad, op=ReduceOp.AVG)
        # FAULT: discarded result
        context.all_reduce(tf.distribute.ReduceOp.MEAN, grad)
        # REMEDY: grad = context.all_reduce(tf.distribute.ReduceOp.MEAN, grad)
        # ALSO: divergence: reinforce/theta
        theta.assign_add(np.float32(0.3) * grad)

    rng = np.random.default_rng(14)
    for _ in range(8):
        states = rng.normal(size=(32, 4)).astype(np.float32)
        actions = (rng.random(32) < 0.5).astype(np.float32)
        returns = np.where(actions == (states[:, 0] > 0), 1.0, -0.4).astype(np.float32)
        strategy.run(train, args=(states, actions, returns))
    copies = [one.numpy() for one in strategy.experimental_local_results(theta)]
    return {"apart": float(max(np.abs(one - copies[0]).max() for one in copies))}
