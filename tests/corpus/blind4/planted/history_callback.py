"""After the training `history.history` is empty, so the plot of the word error rate has no points."""

import numpy as np

import varsim as tf

REPLICAS = 2
ORACLE = True
PROCESSES = True


class History:
    def __init__(self):
        self.history: dict[str, list[float]] = {"loss": [], "wer": []}

    def on_batch_end(self, logs):
        for key, value in logs.items():
            # FAULT: object changed on a replica
            self.history[key].append(value)


def run(job: tf.Job):
    strategy = job.strategy
    callback = History()
    with strategy.scope():
        weights = tf.Variable(
            np.zeros(10, np.float32),
            name="decoder/weights",
            aggregation=tf.VariableAggregation.MEAN,
        )
    rng = np.random.default_rng(4)
    truth = rng.normal(0, 1, 10).astype(np.float32)

    def train_step(x, y):
        context = tf.distribute.get_replica_context()
        n, me = strategy.num_replicas_in_sync, context.replica_id_in_sync_group
        x, y = np.split(x, n)[me], np.split(y, n)[me]
        error = x @ weights.numpy() - y
        weights.assign_sub((0.1 * x.T @ error / len(x)).astype(np.float32))
        logs = context.all_reduce(
            "MEAN", {"loss": np.mean(error**2), "wer": np.mean(np.abs(error) > 0.5)}
        )
        callback.on_batch_end({key: float(value) for key, value in logs.items()})
        # REMEDY: return {key: float(value) for key, value in logs.items()}

    for _ in range(6):
        x = rng.normal(0, 1, (16, 10)).astype(np.float32)
        strategy.run(train_step, args=(x, x @ truth))
        # REMEDY: results = strategy.run(train_step, args=(x, x @ truth))
        # REMEDY: callback.on_batch_end(strategy.experimental_local_results(results)[0])
    return {"points": len(callback.history["wer"]), "last": callback.history["loss"][-1:]}
