"""The entropy of the volume profile prints nan on the afternoon when the stock was halted for some
minutes.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    count = strategy.num_replicas_in_sync
    rng = np.random.default_rng(5)
    volumes = rng.integers(200, 3000, (6, 60)).astype(np.float64)
    volumes[3, 44:52] = 0.0  # halted

    def entropy(minutes):
        ctx = tf.distribute.get_replica_context()
        share = minutes / minutes.sum()
        # every replica takes a third of the minutes
        part = np.array_split(share, count)[ctx.replica_id_in_sync_group]
        with np.errstate(divide="ignore", invalid="ignore"):
            nats = -(part * np.log(part)).sum()
            # REMEDY: held = part[part > 0]
            # REMEDY: nats = -(held * np.log(held)).sum()
        # FAULT: NaN or infinity
        return ctx.all_reduce(tf.distribute.ReduceOp.SUM, nats)

    index = []
    for afternoon in volumes:
        value = strategy.experimental_local_results(strategy.run(entropy, args=(afternoon,)))[0]
        index.append(float(value) / np.log(len(afternoon)))
    return {"evenness": index, "average": float(np.mean(index))}
