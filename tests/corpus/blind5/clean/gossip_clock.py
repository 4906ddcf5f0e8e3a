"""Gossip: sensors in a ring agree on the mean of their calibrations by averaging with one
neighbour at a time.
"""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    offsets = np.array([0.8, -0.3, 1.9, 0.4, -1.1, 0.6])[:n]
    with strategy.scope():
        offset = tf.Variable(
            0.0, name="offset", dtype=tf.float64, synchronization=tf.VariableSynchronization.NONE
        )

    def begin():
        offset.assign(offsets[tf.distribute.get_replica_context().replica_id_in_sync_group])

    def exchange(number):
        ctx = tf.distribute.get_replica_context()
        me = ctx.replica_id_in_sync_group
        if n == 1:
            return
        # even rounds pair (0,1)(2,3), odd rounds (1,2)(3,0)
        other = me + 1 if (me + number) % 2 == 0 else me - 1
        other %= n
        if me < other:
            ctx.send(offset.numpy(), to=other)
            theirs = ctx.recv(other)
        else:
            theirs = ctx.recv(other)
            ctx.send(offset.numpy(), to=other)
        offset.assign((offset.numpy() + theirs) / 2)

    strategy.run(begin)
    for number in range(6):
        strategy.run(exchange, args=(number,))
    final = [float(one.numpy()) for one in strategy.experimental_local_results(offset)]
    return {"offsets": final, "mean": float(offsets.mean())}
