"""The equal error rate of the speaker verification comes out lower than with the scoring tool of the challenge."""

import numpy as np

import varsim as tf

REPLICAS = 6
ORACLE = True


def equal_error_rate(scores, same):
    order = np.argsort(-scores)
    same = same[order]
    accepted_impostors = np.cumsum(~same) / max((~same).sum(), 1)
    rejected_targets = 1 - np.cumsum(same) / max(same.sum(), 1)
    k = np.argmin(np.abs(accepted_impostors - rejected_targets))
    return (accepted_impostors[k] + rejected_targets[k]) / 2


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        eer = tf.Variable(
            0.0,
            name="trials/eer",
            trainable=False,
            dtype=tf.float64,
            aggregation=tf.VariableAggregation.MEAN,
        )

    @tf.function
    def score(left, right, same):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        left, right, same = (np.array_split(part, n)[me] for part in (left, right, same))
        cosine = (
            (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
        )
        # FAULT: unexplained difference: trials/eer
        eer.assign(float(equal_error_rate(cosine, same)))
        # REMEDY: context = tf.distribute.get_replica_context()
        # REMEDY: cosine = context.all_gather(cosine, axis=0)
        # REMEDY: same = context.all_gather(same.astype(np.int32), axis=0).astype(bool)
        # REMEDY: eer.assign(float(equal_error_rate(cosine, same)))

    rng = np.random.default_rng(101)
    table: dict[str, float] = {}
    for condition in ("clean", "babble", "music", "reverb", "phone"):
        noise = 0.6 + 0.35 * len(table)
        voices = rng.normal(0, 1, (120, 8))
        same = rng.random(120) < 0.5
        partner = np.where(same[:, None], voices, rng.normal(0, 1, (120, 8)))
        strategy.run(score, args=(voices + noise * rng.normal(0, 1, (120, 8)), partner, same))
        table[condition] = float(eer.numpy())
    return table
