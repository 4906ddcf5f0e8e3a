"""One replica has one batch less. Its later gather is paired with the other replica's last step."""

import numpy as np

import varsim as tf

REPLICAS = 2


def run(job: tf.Job):
    strategy = job.strategy

    def epoch():
        context = tf.distribute.get_replica_context()
        mine = context.replica_id_in_sync_group
        batches = np.arange(4.0, dtype=np.float32)[mine:]
        # REMEDY: batches = np.arange(4.0, dtype=np.float32)
        total = np.float32(0)
        for batch in batches:
            # FAULT: collectives of different lines
            total += context.all_gather(batch[None], axis=0).sum()
        if mine == 1:
            context.all_gather(total[None], axis=0)
        # REMEDY:
        return float(total)

    return {"total": strategy.experimental_local_results(strategy.run(epoch))}
