"""A trainer locks the best loss until the evaluator has sent a loss; the other trainer waits."""

import varsim as tf

REPLICAS = 3
WAITS = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        best = tf.Variable(100.0, name="best", synchronization=tf.VariableSynchronization.NONE)

    def train(number):
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        if me == 2:
            context.send(40.0 / (number + 1), to=0)
            return
        with context.lock("best"):
            loss = float(context.recv(2)) if me == 0 else 50.0 / (number + 1)
            so_far = float(best.pull().value)
            if loss < so_far:
                best.push(loss - so_far)

    for number in range(6):
        strategy.run(train, args=(number,))
    waited = sum(entry.waits for entry in strategy.lock_statistics())
    return {"best": float(best.pull().value), "waited": waited}
