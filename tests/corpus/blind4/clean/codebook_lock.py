"""A vocabulary of acoustic units grows while the cards read their recordings; a lock guards look-up and insertion."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
UNITS = 40


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        uses = tf.Variable(
            np.zeros(UNITS, np.int64),
            name="unit_uses",
            synchronization=tf.VariableSynchronization.NONE,
        )
        new = tf.Variable(
            0,
            name="new_units",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def read_recordings(units):
        context = tf.distribute.get_replica_context()
        mine = np.array_split(units, strategy.num_replicas_in_sync)[
            context.replica_id_in_sync_group
        ]
        for piece in np.array_split(mine, 2):
            counts = np.bincount(piece, minlength=UNITS)
            with context.lock("codebook"):
                known = uses.pull().value
                first_seen = int(
                    ((known == 0) & (counts > 0)).sum()
                )  # nobody else may count the same unit as new
                uses.push(counts)
            new.assign_add(first_seen)

    rng = np.random.default_rng(27)
    growth = []
    for _ in range(5):
        strategy.run(read_recordings, args=(rng.zipf(1.6, 60) % UNITS,))
        growth.append(int(new.numpy()))
    table = uses.pull().value
    return {"growth": growth, "uses": int(table.sum()), "known": int((table > 0).sum())}
