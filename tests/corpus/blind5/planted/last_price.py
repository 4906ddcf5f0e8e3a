"""The quote board shows correct prices for the first shard of symbols; all others keep yesterday's
close.
"""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True
SYMBOLS = 10


def run(job: tf.Job):
    strategy = job.strategy
    close = np.linspace(10, 100, SYMBOLS).astype(np.float32)
    with strategy.scope():
        board = tf.Variable(close, name="board", trainable=False)
        # REMEDY: board = tf.Variable(
        # REMEDY:     close,
        # REMEDY:     name="board",
        # REMEDY:     trainable=False,
        # REMEDY:     synchronization=tf.VariableSynchronization.ON_WRITE,
        # REMEDY:     aggregation=tf.VariableAggregation.SUM,
        # REMEDY: )
    rng = np.random.default_rng(17)

    def apply_ticks(symbols, moves):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        mine = symbols % strategy.num_replicas_in_sync == me
        prices = board.numpy().copy()
        np.add.at(prices, symbols[mine], moves[mine])
        # FAULT: write-write conflict: board
        # ALSO: divergence: board
        board.assign(prices)
        # REMEDY: board.assign_add(prices - board.numpy())

    for _second in range(8):
        symbols = rng.integers(0, SYMBOLS, 25)
        moves = rng.choice([-0.5, 0.5, 1.0], 25).astype(np.float32)
        strategy.run(apply_ticks, args=(symbols, moves))
    quotes = board.numpy()
    return {"quotes": quotes, "unchanged": int((quotes == close).sum())}
