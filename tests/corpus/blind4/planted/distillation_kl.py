"""The logged distillation loss of the keyword spotter is `nan` from time to time, although the student trains on."""

import numpy as np

import varsim as tf

REPLICAS = 4
ORACLE = True


def softmax(logits):
    logits = logits - logits.max(1, keepdims=True)
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        student = tf.Variable(
            np.zeros((20, 12), np.float32),
            name="student/dense",
            aggregation=tf.VariableAggregation.MEAN,
        )
    rng = np.random.default_rng(8)
    teacher = rng.normal(0, 1.0, (20, 12)).astype(np.float32)

    @tf.function
    def distill(features, targets):
        context = tf.distribute.get_replica_context()
        n, me = strategy.num_replicas_in_sync, context.replica_id_in_sync_group
        x, t = np.split(features, n)[me], np.split(targets, n)[me]
        guess = softmax(x @ student.numpy())
        student.assign_sub((0.05 * x.T @ (guess - t) / len(x)).astype(np.float32))
        with np.errstate(divide="ignore", invalid="ignore"):
            loss = np.mean(np.sum(t * (np.log(t) - np.log(guess)), 1))
            # REMEDY: loss = np.mean(np.sum(t * (np.log(np.maximum(t, 1e-12)) - np.log(guess)), 1))
        # FAULT: NaN or infinity
        return float(context.all_reduce("MEAN", np.float32(loss), name="kl"))

    losses = []
    for step in range(12):
        batch = rng.normal(0, 1, (32, 20)).astype(np.float32)
        if step % 5 == 4:
            batch[11] *= 3  # a loud clip, of which the teacher is certain
        targets = softmax(batch @ teacher / 2).astype(np.float16)  # as they are stored on disk
        losses.append(strategy.run(distill, args=(batch, targets.astype(np.float32))))
    return {"losses": losses, "epoch_mean": float(np.mean(losses))}
