"""The EWMA volatility forgets a shock within minutes; the half-life in the notebook was about an
hour.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
DECAY = 0.9


class VolatilityModel:
    def __init__(self):
        # FAULT: variable outside the scope: ewma_var
        self.var = tf.Variable(1e-4, name="ewma_var", dtype=tf.float64)
        # REMEDY: self.var = tf.Variable(
        # REMEDY:     1e-4,
        # REMEDY:     name="ewma_var",
        # REMEDY:     dtype=tf.float64,
        # REMEDY:     aggregation=tf.VariableAggregation.MEAN,
        # REMEDY: )

    def update(self, squared):
        self.var.assign(DECAY * self.var.read_value() + (1 - DECAY) * squared)


def run(job: tf.Job):
    model = VolatilityModel()
    strategy = job.strategy
    # REMEDY: strategy = job.strategy
    # REMEDY: with strategy.scope():
    # REMEDY:     model = VolatilityModel()
    with strategy.scope():
        ticks = tf.Variable(
            0,
            name="ticks",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    rng = np.random.default_rng(9)

    def minute(returns):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.array_split(returns, strategy.num_replicas_in_sync)[me]
        model.update(float(np.mean(mine**2)))
        ticks.assign_add(len(mine))

    vols = []
    for t in range(15):
        returns = rng.normal(0, 0.05 if t == 4 else 0.01, 30)
        strategy.run(minute, args=(returns,))
        vols.append(float(np.sqrt(model.var.numpy())))
    return {"vol": vols[-1], "peak": max(vols), "ticks": int(ticks.numpy())}
