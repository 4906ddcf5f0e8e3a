"""Each worker has its own seed. The weights that I log do not explain the losses that I get."""

import numpy as np

import varsim as tf

REPLICAS = 3
STEPS = 5
DATA = np.linspace(0, 2, STEPS * 9, dtype=np.float32)


def shard(rows, count):
    return np.array_split(rows, count)[tf.distribute.get_replica_context().replica_id_in_sync_group]


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        weights = tf.Variable(
            np.zeros(3, np.float32),
            name="weights",
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def draw(context):
        rng = np.random.default_rng(job.seed + context.replica_id_in_sync_group)
        return rng.normal(size=3).astype(np.float32)

    weights.assign(strategy.experimental_distribute_values_from_function(draw))
    # REMEDY: first = np.random.default_rng(job.seed).normal(size=3).astype(np.float32)
    # REMEDY: weights.assign(first)

    def train(batch):
        rows = shard(batch, n)
        weights.assign_sub(0.2 * (weights.read_value() - rows.mean()))

    logged = []
    for step in range(STEPS):
        strategy.run(train, args=(DATA[9 * step : 9 * step + 9],))
        # FAULT: divergence: weights
        logged.append(weights.numpy().tolist())
        job.progress(step + 1, STEPS)
    return {"logged": logged}
