"""Each replica watches the patience on its own users, and training stops when all of them want to stop."""

import numpy as np

import varsim as tf

REPLICAS = 4


def run(job: tf.Job):
    strategy = job.strategy
    local = {
        "synchronization": tf.VariableSynchronization.NONE,
        "trainable": False,
    }
    with strategy.scope():
        best = tf.Variable(1e9, name="patience/best", **local)
        waited = tf.Variable(0, name="patience/waited", **local)
        stop = tf.Variable(
            False,
            name="patience/stop",
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def validate(losses):
        context = tf.distribute.get_replica_context()
        mine = float(losses[context.replica_id_in_sync_group])
        if mine < float(best.read_value()) - 0.01:
            best.assign(mine)
            waited.assign(0)
        else:
            waited.assign_add(1)
        vote = context.all_reduce(
            tf.distribute.ReduceOp.ALL, np.array(int(waited.read_value()) >= 3)
        )
        stop.assign(vote)

    rng = np.random.default_rng(4)
    curves = np.exp(-np.arange(30)[:, None] * np.array([0.2, 0.3, 0.5, 0.9])) + rng.normal(
        0, 0.002, (30, 4)
    )
    epochs = 0
    for losses in curves:
        strategy.run(validate, args=(losses,))
        epochs += 1
        if bool(stop.numpy()):
            break
    assert 10 < epochs < 29
    return {"epochs": epochs}
