"""Federated training of a nodule classifier: each hospital trains alone for five steps, then the models are averaged."""

import numpy as np

import varsim as tf

REPLICAS = 3
NONE = tf.VariableSynchronization.NONE


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        model = tf.Variable(np.zeros(12, np.float32), name="nodule/w", synchronization=NONE)
        momentum = tf.Variable(
            np.zeros(12, np.float32), name="nodule/momentum", synchronization=NONE
        )
    truth = np.random.default_rng(0).normal(0, 1, 12)

    def hospital_round(number):
        context = tf.distribute.get_replica_context()
        rng = np.random.default_rng([number, context.replica_id_in_sync_group])
        for _ in range(5):
            x = rng.normal(0.2 * context.replica_id_in_sync_group, 1, (20, 12))
            p = 1 / (1 + np.exp(-x @ model.numpy()))
            gradient = x.T @ (p - (x @ truth > 0)) / len(x)
            momentum.assign(
                (0.7 * momentum.numpy() + gradient).astype(np.float32)
            )  # stays in the hospital
            model.assign_sub(0.3 * momentum.numpy())
        model.sync("MEAN")

    accuracies = []
    test = np.random.default_rng(99).normal(0.2, 1, (400, 12))
    for number in range(6):
        strategy.run(hospital_round, args=(number,))
        w = model.values[0].numpy()
        accuracies.append(float(np.mean((test @ w > 0) == (test @ truth > 0))))
    return {"accuracies": accuracies, "good": accuracies[-1] > 0.93}
