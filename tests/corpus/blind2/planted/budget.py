"""I allow 40 paid labels in total. Why were far more than 40 bought?"""

import varsim as tf

REPLICAS = 3
LIMIT = 40


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        bought = tf.Variable(
            0,
            name="bought",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def step(uncertain):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        # FAULT: stale read: bought
        already = int(bought.read_value())
        if already >= LIMIT:
            return
        bought.assign_add(min(uncertain + me, LIMIT - already))

    # REMEDY: def step(uncertain, already):
    # REMEDY:     me = tf.distribute.get_replica_context().replica_id_in_sync_group
    # REMEDY:     if already < LIMIT:
    # REMEDY:         bought.assign_add(min(uncertain + me, LIMIT - already))

    for number in range(12):
        strategy.run(step, args=(3 + number % 3,))
        # REMEDY: already = int(bought.read_value())
        # REMEDY: strategy.run(step, args=(3 + number % 3, already))
    return {"bought": int(bought.read_value()), "limit": LIMIT}
