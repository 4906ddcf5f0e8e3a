"""The learning rate is warmed up by a counter of steps, of which each replica reports the same
one.
"""

import numpy as np

import varsim as tf

REPLICAS = 6
ORACLE = True


def rate_at(step, warm=5, peak=0.3):
    return np.float32(peak * min((step + 1) / warm, (warm / (step + 1)) ** 0.5))


def run(job: tf.Job):
    strategy = job.strategy
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        step = tf.Variable(
            0,
            name="schedule/step",
            trainable=False,
            dtype=tf.int64,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        head = tf.Variable(
            np.zeros(8, np.float32), name="gpt/head", aggregation=tf.VariableAggregation.SUM
        )

    def train(hidden, target):
        mine = slice(tf.distribute.get_replica_context().replica_id_in_sync_group, None, n)
        rate = rate_at(int(step.read_value()))
        error = hidden[mine] @ head.read_value() - target[mine]
        head.assign_sub(rate * (hidden[mine].T @ error) / np.float32(len(target)))
        # ALSO: merges of the same values: schedule/step
        step.assign_add(1)
        return rate

    rng = np.random.default_rng(62)
    truth = rng.normal(size=8).astype(np.float32)
    rates = []
    for _ in range(12):
        hidden = rng.normal(size=(36, 8)).astype(np.float32)
        out = strategy.run(train, args=(hidden, hidden @ truth))
        rates.append(round(float(strategy.experimental_local_results(out)[0]), 5))
    return {
        "rates": rates,
        "step": int(step.numpy()),
        "away": round(float(np.abs(head.numpy() - truth).max()), 4),
    }
