"""At the full rate the first bin of the energy histogram lacks exactly 65,536 events."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
EDGES = np.linspace(0.0, 8.0, 9)


def run(job: tf.Job):
    strategy = job.strategy
    rng = np.random.default_rng(77)
    spectrum = np.zeros(8, np.int64)

    def fill(events):
        ctx = tf.distribute.get_replica_context()
        mine = events[ctx.replica_id_in_sync_group :: strategy.num_replicas_in_sync]
        bins, _ = np.histogram(mine, EDGES)
        # FAULT: overflow of a sum
        return ctx.all_reduce("SUM", bins.astype(np.int16))  # half of the bandwidth
        # REMEDY: return ctx.all_reduce("SUM", bins.astype(np.int64))

    for rate in (8_000, 16_000, 48_000, 90_000):
        events = rng.exponential(1.1, rate)
        merged = strategy.experimental_local_results(strategy.run(fill, args=(events,)))[0]
        spectrum += merged
    return {"spectrum": spectrum, "events": int(spectrum.sum())}
