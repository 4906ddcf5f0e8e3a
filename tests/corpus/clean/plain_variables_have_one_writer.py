"""Plain variables: all replicas add to a counter, one writes a note, and the program a rate."""

import numpy as np

import varsim as tf

REPLICAS = 3


def run(job: tf.Job):
    strategy = job.strategy
    rows = tf.Variable(0, name="rows")
    note = tf.Variable(0.0, name="note")
    rate = tf.Variable(0.5, name="rate")
    with strategy.scope():
        weight = tf.Variable(0.0, name="weight", aggregation=tf.VariableAggregation.MEAN)
    data = np.linspace(1.0, 4.0, 48, dtype=np.float32).reshape(4, 12)

    def change_rate(_):
        rate.assign(0.9 * rate.read_value())

    def train(batch):
        context = tf.distribute.get_replica_context()
        me = context.replica_id_in_sync_group
        part = np.array_split(batch, strategy.num_replicas_in_sync)[me]
        weight.assign_sub(rate.read_value() * (weight.read_value() - part.mean()))
        rows.assign_add(len(part))
        if me == 0:
            note.assign(float(part.max()))
        context.merge_call(change_rate)

    for batch in data:
        strategy.run(train, args=(batch,))
    return {"rows": int(rows.numpy()), "note": float(note.numpy()), "weight": weight.numpy()}
