"""Ported from DDP: the two-tower model's recall depends on which worker's export we load,
although gradients are averaged in each step.
"""

import numpy as np

import varsim as tf
import varsim.torch_distributed as dist

REPLICAS = 4
DIM = 5


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        user = tf.Variable(
            np.zeros((8, DIM), np.float32),
            name="tower/user",
            synchronization=tf.VariableSynchronization.NONE,
        )
        scale = tf.Variable(
            np.ones(DIM, np.float32),
            name="tower/scale",
            synchronization=tf.VariableSynchronization.NONE,
        )

    def build():
        dist.init_process_group("gloo")
        # FAULT: divergence: tower/user
        user.assign(np.random.normal(0, 0.3, (8, DIM)).astype(np.float32))  # noqa: NPY002
        # REMEDY: user.assign(np.random.normal(0, 0.3, (8, DIM)).astype(np.float32))
        # REMEDY: user.broadcast(root=0)
        scale.assign(np.full(DIM, 0.5, np.float32))

    def train(features, items):
        rank, world = dist.get_rank(), dist.get_world_size()
        x, y = features[rank::world], items[rank::world]
        hidden = x @ user.read_value()
        error = hidden * scale.read_value() - y
        d_user = (x.T @ (error * scale.read_value()) / np.float32(len(x))).astype(np.float32)
        d_scale = (error * hidden).mean(axis=0).astype(np.float32)
        dist.all_reduce(d_user, op=dist.ReduceOp.AVG)
        dist.all_reduce(d_scale, op=dist.ReduceOp.AVG)
        user.assign_sub(0.1 * d_user)
        scale.assign_sub(0.1 * d_scale)

    strategy.run(build)
    rng = np.random.default_rng(40)
    truth = rng.normal(size=(8, DIM)).astype(np.float32)
    for _ in range(10):
        features = rng.normal(size=(16, 8)).astype(np.float32)
        strategy.run(train, args=(features, features @ truth))
    exports = [one.numpy() for one in strategy.experimental_local_results(user)]
    return {"apart": float(max(np.abs(one - exports[0]).max() for one in exports))}
