"""The volume-weighted price per day: two counters, set back on all replicas each morning; the
first replica writes the log.
"""

import numpy as np

import varsim as tf

REPLICAS = 5
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    parts = {
        "synchronization": tf.VariableSynchronization.ON_READ,
        "aggregation": tf.VariableAggregation.SUM,
        "dtype": tf.float64,
        "trainable": False,
    }
    with strategy.scope():
        turnover = tf.Variable(0.0, name="vwap/turnover", **parts)
        shares = tf.Variable(0.0, name="vwap/shares", **parts)
        trades = tf.Variable(
            0,
            name="trades_today",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    rng = np.random.default_rng(1)

    def morning():
        for counter in (turnover, shares):
            counter.assign(0.0)
        trades.assign(0)

    def hour(number, price, volume):
        ctx = tf.distribute.get_replica_context()
        me = ctx.replica_id_in_sync_group
        p, v = (np.array_split(part, strategy.num_replicas_in_sync)[me] for part in (price, volume))
        turnover.assign_add(float(p @ v))
        shares.assign_add(float(v.sum()))
        trades.assign_add(len(p))
        total = ctx.all_reduce("SUM", v.sum())
        if me == 0:
            return f"hour {number}: {int(total)} shares"
        return ""

    vwap, log, number_of_trades = [], [], []
    for day in range(3):
        strategy.run(morning)
        for number in range(4):
            size = int(rng.integers(18, 33))
            lines = strategy.run(
                hour,
                args=(
                    number,
                    40 + day + rng.normal(size=size),
                    rng.integers(1, 900, size).astype(np.float64),
                ),
            )
            log.append(strategy.experimental_local_results(lines)[0])
        vwap.append(float(turnover.numpy() / shares.numpy()))
        number_of_trades.append(int(trades.numpy()))
    return {"vwap": vwap, "trades": number_of_trades, "log": log}
