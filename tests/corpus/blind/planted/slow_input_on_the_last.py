"""The all-reduce of the loss takes 20 ms, although the loss is a single number."""

import numpy as np

import varsim as tf

REPLICAS = 4
WAITS = True
STEPS, BATCH = 8, 12
DATA = np.linspace(0, 1, STEPS * BATCH)
MATRIX = np.random.default_rng(0).normal(size=(40, 40))


def work(amount):
    for _ in range(amount):
        np.linalg.svd(MATRIX)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        loss_sum = tf.Variable(
            0.0,
            name="loss_sum",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def load(batch):
        if tf.distribute.get_replica_context().replica_id_in_sync_group == n - 1:
            work(40)
        return shard(batch, n)

    def evaluate(batch):
        own = np.float32((load(batch) ** 2).sum())
        context = tf.distribute.get_replica_context()
        # FAULT: waiting for one replica:
        loss = context.all_reduce(tf.distribute.ReduceOp.SUM, own)
        loss_sum.assign_add(float(loss))

    for step in range(STEPS):
        strategy.run(evaluate, args=(DATA[step * BATCH : (step + 1) * BATCH],))
        job.progress(step + 1, STEPS)
    return {"loss": float(loss_sum.read_value())}
