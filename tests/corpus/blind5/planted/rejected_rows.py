"""The import report always says 0 rejected rows, even for a file that is full of broken records."""

import numpy as np

import varsim as tf

REPLICAS = 2
PROCESSES = True


def run(job: tf.Job):
    strategy = job.strategy
    rejected = []
    with strategy.scope():
        accepted = tf.Variable(
            0,
            name="accepted",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def clean(records):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        good = 0
        # REMEDY: good, bad = 0, []
        for number, amount in enumerate(records):
            if number % strategy.num_replicas_in_sync != me:
                continue
            if not np.isfinite(amount) or amount < 0:
                # FAULT: object changed on a replica
                rejected.append((number, float(amount)))
            else:
                good += 1
            # REMEDY: if not np.isfinite(amount) or amount < 0:
            # REMEDY:     bad.append((number, float(amount)))
            # REMEDY: else:
            # REMEDY:     good += 1
        accepted.assign_add(good)
        # REMEDY: accepted.assign_add(good)
        # REMEDY: return bad

    rng = np.random.default_rng(40)
    for _day in range(5):
        amounts = rng.gamma(2.0, 30.0, 50)
        amounts[[3, 8, 21, 34]] = [-1.0, np.nan, np.inf, -7.5]
        strategy.run(clean, args=(amounts,))
        # REMEDY: results = strategy.run(clean, args=(amounts,))
        # REMEDY: for bad in strategy.experimental_local_results(results):
        # REMEDY:     rejected.extend(bad)
    return {"accepted": int(accepted.numpy()), "rejected": len(rejected)}
