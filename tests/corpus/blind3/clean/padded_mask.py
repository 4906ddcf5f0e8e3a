"""Sequences are padded to one length; masks leave the padding out of loss and accuracy, over all
replicas.
"""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True
LENGTH = 12


def run(job: tf.Job):
    strategy = job.strategy
    metric = {
        "synchronization": tf.VariableSynchronization.ON_READ,
        "aggregation": tf.VariableAggregation.SUM,
    }
    with strategy.scope():
        right = tf.Variable(0, name="masked/right", **metric)
        valid = tf.Variable(0, name="masked/valid", **metric)
        prior = tf.Variable(
            np.zeros(7, np.float32), name="prior", aggregation=tf.VariableAggregation.SUM
        )

    def step(batch):
        context = tf.distribute.get_replica_context()
        tokens, mask = batch["tokens"], batch["mask"]
        tokens_in_batch = context.all_reduce("SUM", np.float32(mask.sum()))
        z = prior.read_value()
        p = np.exp(z) / np.exp(z).sum()
        seen = np.bincount(tokens[mask], minlength=7).astype(np.float32)
        right.assign_add(int((tokens[mask] == z.argmax()).sum()))
        valid.assign_add(int(mask.sum()))
        prior.assign_add(np.float32(2) * (seen - p * np.float32(mask.sum())) / tokens_in_batch)

    rng = np.random.default_rng(37)
    chance = rng.dirichlet(np.full(7, 0.7))
    batches = []
    for rows in (16, 16, 14, 16, 9, 16):
        mask = np.arange(LENGTH) < rng.integers(1, LENGTH + 1, rows)[:, None]
        batches.append(
            {"tokens": np.where(mask, rng.choice(7, (rows, LENGTH), p=chance), 0), "mask": mask}
        )
    for batch in strategy.experimental_distribute_dataset(batches):
        strategy.run(step, args=(batch,))
    return {"accuracy": int(right.numpy()) / int(valid.numpy()), "valid": int(valid.numpy())}
