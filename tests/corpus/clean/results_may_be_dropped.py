"""Collectives that only let the replicas wait, or whose results go another way."""

import numpy as np

import varsim as tf
import varsim.horovod as hvd
import varsim.torch_distributed as dist

REPLICAS = 3


def mean(value):
    return tf.distribute.get_replica_context().all_reduce("MEAN", value)


def run(job: tf.Job):
    strategy = job.strategy
    log: list[float] = []

    def noted(strategy, values):
        log.append(float(strategy.reduce("SUM", values, axis=None)))
        return log[-1]

    def step(rows):
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        mine = rows[me::3].copy()
        mean(0.0)
        context.all_reduce("SUM", np.ones(1))
        context.all_reduce("SUM", me)
        context.merge_call(noted, args=(mine.sum(),))
        means: list[np.ndarray] = []
        means.extend(map(mean, [mine, mine**2]))
        hvd.init()
        hvd.broadcast_(mine, 0)
        dist.init_process_group("gloo")
        own = np.array([mine.sum() * me])
        dist.all_reduce(own)
        dist.destroy_process_group()
        return float(own[0] + sum(one.sum() for one in means))

    rng = np.random.default_rng(5)
    for _ in range(3):
        results = strategy.run(step, args=(rng.random(12),))
        log.append(float(strategy.reduce("MEAN", results, axis=None)))
    return {"log": log}
