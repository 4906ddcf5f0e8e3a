"""The samples of a run exceed its budget: only the chief locks the budget."""

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        budget = tf.Variable(600.0, name="budget", synchronization=tf.VariableSynchronization.NONE)

    def reserve(wanted):
        granted = min(wanted, float(budget.pull().value))
        budget.push(-granted)
        return granted

    def train():
        context = tf.distribute.get_replica_context()
        if context.replica_id_in_sync_group == 0:
            # FAULT: lock without contention
            with context.lock("budget"):
                return reserve(32.0)
            # REMEDY: return reserve(32.0)
        return reserve(32.0)

    for _ in range(8):
        strategy.run(train)
    return {"left": float(budget.pull().value)}
