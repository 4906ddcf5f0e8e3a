"""Replicas append their losses to a list of the program, which stays empty."""

import varsim as tf

REPLICAS = 2
PROCESSES = True


def run(job: tf.Job):
    strategy = job.strategy
    losses = []

    def train(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # FAULT: object changed on a replica:
        losses.append(1.0 / (number + me))
        # REMEDY: return 1.0 / (number + me)

    for number in range(1, 4):
        strategy.run(train, args=(number,))
        # REMEDY: losses += strategy.experimental_local_results(strategy.run(train, args=(number,)))
    return {"count": len(losses)}
