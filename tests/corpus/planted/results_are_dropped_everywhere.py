"""The author of this evaluation takes every collective for one that changes its argument."""

import numpy as np

import varsim as tf
import varsim.horovod as hvd

REPLICAS = 3


def mean(value):
    return tf.distribute.get_replica_context().all_reduce("MEAN", value)


def run(job: tf.Job):
    strategy = job.strategy

    def test(rows):
        hvd.init()
        context = tf.distribute.get_replica_context()
        mine = rows[hvd.rank() :: hvd.size()]
        wrong = np.array([(mine > 0.6).sum()], np.int32)
        # FAULT: discarded result
        context.all_reduce("SUM", wrong)
        # REMEDY: wrong = context.all_reduce("SUM", wrong)
        loss = float((mine**2).mean())
        # FAULT: discarded result
        mean(loss)
        # REMEDY: loss = mean(loss)
        spread = mine.std()
        # FAULT: discarded result
        hvd.allreduce(spread)
        # REMEDY: spread = hvd.allreduce(spread)
        # FAULT: discarded result
        context.merge_call(lambda strategy, x: strategy.reduce("SUM", x, axis=None), args=(mine,))
        # REMEDY:
        return float(wrong[0] + loss + spread)

    rng = np.random.default_rng(5)
    scores = []
    for _ in range(3):
        score = strategy.run(test, args=(rng.random(12),))
        # FAULT: discarded result
        strategy.reduce("MEAN", score, axis=None)
        # REMEDY: score = strategy.reduce("MEAN", score, axis=None)
        scores.append(float(strategy.experimental_local_results(score)[0]))
    return {"scores": scores}
