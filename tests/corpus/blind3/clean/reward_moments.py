"""Mean and standard deviation of rewards, from sums over all actors; each epoch starts afresh on
every actor.
"""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        count, total, squares = (
            tf.Variable(
                0.0,
                name=f"rewards/{name}",
                dtype=tf.float64,
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
            for name in ("count", "total", "squares")
        )

    def fresh():
        for variable in (count, total, squares):
            variable.assign(0.0)

    def collect(rewards):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = np.array_split(rewards, strategy.num_replicas_in_sync)[me]
        count.assign_add(float(len(mine)))
        total.assign_add(float(mine.sum()))
        squares.assign_add(float(np.square(mine).sum()))

    rng = np.random.default_rng(83)
    report = []
    for epoch in range(3):
        strategy.run(fresh)
        for _ in range(4):
            strategy.run(collect, args=(rng.normal(epoch, 1 + epoch, int(rng.integers(10, 50))),))
        mean = total.numpy() / count.numpy()
        report.append(
            [
                round(float(mean), 5),
                round(float(np.sqrt(squares.numpy() / count.numpy() - mean**2)), 5),
            ]
        )
    return {"report": report}
