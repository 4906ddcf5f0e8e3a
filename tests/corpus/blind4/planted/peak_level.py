"""Normalised recordings still clip: their peaks are above 1 although each is divided by the loudest sample."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True
RATE = 800


def recording(rng, seconds):
    t = np.arange(RATE * seconds) / RATE
    envelope = np.interp(t, np.sort(rng.random(6)) * seconds, rng.random(6) + 0.1)
    return (envelope * np.sin(2 * np.pi * rng.uniform(60, 200) * t)).astype(np.float32)


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        peak = tf.Variable(
            0.0, name="normaliser/peak", trainable=False, aggregation=tf.VariableAggregation.MEAN
        )

    def measure(signal):
        context = tf.distribute.get_replica_context()
        piece = np.array_split(signal, strategy.num_replicas_in_sync)[
            context.replica_id_in_sync_group
        ]
        # FAULT: mean of means: normaliser/peak
        peak.assign(np.abs(piece).max())
        # REMEDY: value = context.all_reduce("MAX", np.asarray(np.abs(piece).max(), "float32"))
        # REMEDY: peak.assign(value)

    rng = np.random.default_rng(18)
    clipped, peaks = 0, []
    for _ in range(7):
        signal = recording(rng, 3)
        strategy.run(measure, args=(signal,))
        normalised = signal / float(peak.numpy())
        clipped += int((np.abs(normalised) > 1.0001).sum())
        peaks.append(float(np.abs(normalised).max()))
    return {"clipped": clipped, "peaks": peaks}
