"""The evaluation of 50 users reports 52 users, and the mean reciprocal rank differs from that of
the DataLoader without a sampler.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


class DistributedSampler:
    """As in torch: the first indices pad the list, so that every rank has equally many."""

    def __init__(self, length, world, rank):
        per_rank = -(-length // world)
        indices = list(range(length))
        indices += indices[: per_rank * world - length]
        self.indices = indices[rank::world]


def run(job: tf.Job):
    strategy = job.strategy
    settings = {
        "synchronization": tf.VariableSynchronization.ON_WRITE,
        "aggregation": tf.VariableAggregation.SUM,
    }
    with strategy.scope():
        users = tf.Variable(0, name="eval/users", **settings)
        reciprocal = tf.Variable(0.0, name="eval/reciprocal_ranks", **settings)

    def evaluate(ranks):
        rank = tf.distribute.get_replica_context().replica_id_in_sync_group
        chosen = DistributedSampler(len(ranks), strategy.num_replicas_in_sync, rank).indices
        # REMEDY: world = strategy.num_replicas_in_sync
        # REMEDY: chosen = DistributedSampler(len(ranks), world, rank).indices
        # REMEDY: chosen = chosen[: len(range(rank, len(ranks), world))]
        # FAULT: counted twice: eval/users
        users.assign_add(len(chosen))
        # ALSO: unexplained difference: eval/reciprocal_ranks
        reciprocal.assign_add(np.float32((1 / ranks[chosen]).sum()))

    rng = np.random.default_rng(3)
    report = []
    for size in (50, 37, 61, 29):
        users.assign(0)
        reciprocal.assign(0.0)
        strategy.run(evaluate, args=(rng.integers(1, 30, size),))
        report.append(
            (int(users.numpy()), round(float(reciprocal.numpy()) / int(users.numpy()), 5))
        )
    return {"report": report}
