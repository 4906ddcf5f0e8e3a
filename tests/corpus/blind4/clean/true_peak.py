"""The loudest sample of each recording, over all cards, and the recordings normalised by it."""

import numpy as np

import varsim as tf

REPLICAS = 5
ORACLE = True


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        peak = tf.Variable(0.0, name="peak", trainable=False)
    rng = np.random.default_rng(29)

    def keep_peak(strategy, local):
        loudest = strategy.reduce("MAX", local, axis=None)
        peak.assign(loudest)

    def measure(signal):
        context = tf.distribute.get_replica_context()
        piece = np.array_split(signal, strategy.num_replicas_in_sync)[
            context.replica_id_in_sync_group
        ]
        context.merge_call(keep_peak, args=(np.abs(piece).max(),))
        scaled = piece / peak.numpy()
        return np.float32(np.abs(scaled).max())

    peaks, highest = [], []
    for k in range(8):
        signal = (rng.normal(0, 0.2 + 0.1 * k, 501) * np.hanning(501)).astype(np.float32)
        highest.append(
            float(strategy.reduce("MAX", strategy.run(measure, args=(signal,)), axis=None))
        )
        peaks.append(float(peak.numpy()))
    return {"peaks": peaks, "after": highest}
