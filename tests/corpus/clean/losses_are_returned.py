"""Replicas return their losses, and the program appends them. A cache stays on each replica."""

import varsim as tf

REPLICAS = 2
PROCESSES = True


def run(job: tf.Job):
    strategy = job.strategy
    losses: list[float] = []
    cache: dict[int, float] = {}

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        cache[number] = 1.0 / (number + me)
        return cache[number]

    for number in range(1, 4):
        losses += strategy.experimental_local_results(strategy.run(train, args=(number,)))
    return {"count": len(losses)}
