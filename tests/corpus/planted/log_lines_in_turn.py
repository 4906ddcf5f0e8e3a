"""Each worker logs in its turn. A barrier ends each turn, so nobody ever waits for the lock."""

import io

import varsim as tf

REPLICAS = 3
LOG = io.StringIO()


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        loss = tf.Variable(
            8.0,
            name="loss",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )

    def train(number):
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        loss.assign(8.0 / (number + me + 1))
        for turn in range(context.num_replicas_in_sync):
            if turn == me:
                # FAULT: lock without contention
                with context.lock("log"):
                    LOG.write(f"step {number}, worker {me}\n")
                # REMEDY: LOG.write(f"step {number}, worker {me}\n")
            context.barrier("turn")

    for number in range(6):
        strategy.run(train, args=(number,))
    return {"loss": float(loss.read_value())}
