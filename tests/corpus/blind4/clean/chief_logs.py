"""Only the first card writes the log of a training epoch; the numbers in it are those of all cards."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    rng = np.random.default_rng(64)
    with strategy.scope():
        # 40,000 bytes per colour: a small decoder
        decoder = tf.Variable(
            rng.normal(0, 0.1, (3, 100, 100)).astype(np.float32),
            name="decoder",
            aggregation=tf.VariableAggregation.MEAN,
        )

    def step(codes, images, number):
        context = tf.distribute.get_replica_context()
        n, me = strategy.num_replicas_in_sync, context.replica_id_in_sync_group
        codes, images = np.split(codes, n)[me], np.split(images, n)[me]
        error = np.einsum("bi,cij->bcj", codes, decoder.numpy()) - images
        decoder.assign_sub(
            (0.002 * np.einsum("bi,bcj->cij", codes, error) / len(codes)).astype(np.float32)
        )
        squared = context.all_reduce("MEAN", np.float32((error**2).mean()))
        if me == 0:
            return f"step {number}: mse {squared:.3f}"
        return None

    lines = []
    for number in range(5):
        codes = rng.normal(0, 1, (6, 100)).astype(np.float32)
        images = rng.random((6, 3, 100)).astype(np.float32)
        chief, *_ = strategy.experimental_local_results(
            strategy.run(step, args=(codes, images, number))
        )
        lines.append(chief)
    return {"log": lines, "norm": round(float(np.sqrt((decoder.numpy() ** 2).sum())), 3)}
