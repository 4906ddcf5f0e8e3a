"""Decoding goes on until no card has an unfinished hypothesis."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
END = 0


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        tokens = tf.Variable(
            0,
            name="tokens",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    rng = np.random.default_rng(52)

    def decode(tables):
        context = tf.distribute.get_replica_context()
        mine = np.array_split(tables, strategy.num_replicas_in_sync)[
            context.replica_id_in_sync_group
        ]
        state = np.ones(len(mine), int)
        steps = 0
        while True:
            alive = state != END
            if not bool(context.all_reduce("ANY", np.array(alive.any()), name="unfinished")):
                break
            state = np.where(alive, mine[np.arange(len(mine)), state], END)
            tokens.assign_add(int(alive.sum()))
            steps += 1
        return steps

    longest = []
    for _ in range(5):
        # a chain over 12 states that ends in state 0 for certain
        tables = np.stack(
            [np.concatenate([[0], np.maximum(np.arange(1, 12) - 1, 0)]) for _ in range(10)]
        )
        starts = rng.integers(2, 12, 10)
        tables[:, 1] = starts
        tables[tables == 1] = END
        longest.append(
            int(strategy.experimental_local_results(strategy.run(decode, args=(tables,)))[0])
        )
    return {"longest": longest, "tokens": int(tokens.numpy())}
