"""The loss per frame, where the cards have utterances of very different lengths."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        bias = tf.Variable(0.0, name="bias", dtype=tf.float64)
        frame_loss = tf.Variable(0.0, name="frame_loss", dtype=tf.float64, trainable=False)
    rng = np.random.default_rng(19)

    def evaluate(utterances):
        context = tf.distribute.get_replica_context()
        mine = utterances[context.replica_id_in_sync_group :: strategy.num_replicas_in_sync]
        frames = np.concatenate(mine) if mine else np.zeros(0)
        squares = (frames - float(bias.read_value())) ** 2
        mean = squares.mean() if len(squares) else np.float64(0)
        shift = frames.mean() if len(frames) else np.float64(0)
        return context.all_reduce("MEAN", {"loss": mean, "shift": shift}, weight=len(frames))

    losses = []
    for step in range(7):
        count = 2 if step == 3 else 9  # the rest of a shard: one card gets no utterance
        utterances = [rng.gamma(2.0, 1.0, rng.integers(5, 60)) for _ in range(count)]
        result = strategy.run(evaluate, args=(utterances,))
        one = {
            key: float(strategy.experimental_local_results(value)[0])
            for key, value in result.items()
        }
        frame_loss.assign(one["loss"])
        bias.assign(0.5 * float(bias.numpy()) + 0.5 * one["shift"])
        losses.append(float(frame_loss.numpy()))
    return {"loss": losses, "bias": float(bias.numpy())}
