"""Every GPU assigns the loss of its shard to one plain variable. The last one to arrive wins."""

import numpy as np

import varsim as tf

REPLICAS = 3


class Monitor:
    def __init__(self):
        # FAULT: variable outside the scope: last_loss
        self.last_loss = tf.Variable(0.0, name="last_loss")
        # REMEDY: self.last_loss = tf.Variable(
        # REMEDY:     0.0, name="last_loss", aggregation=tf.VariableAggregation.MEAN
        # REMEDY: )

    def see(self, loss):
        self.last_loss.assign(loss)


def run(job: tf.Job):
    strategy = job.strategy
    monitor = Monitor()
    # REMEDY: with strategy.scope():
    # REMEDY:     monitor = Monitor()
    data = np.arange(36, dtype=np.float32).reshape(3, 12)

    def evaluate(batch):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = np.array_split(batch, strategy.num_replicas_in_sync)[me]
        monitor.see(float(np.square(part).mean()))

    shown = []
    for batch in data:
        strategy.run(evaluate, args=(batch,))
        shown.append(float(monitor.last_loss.numpy()))
    return {"losses": shown}
