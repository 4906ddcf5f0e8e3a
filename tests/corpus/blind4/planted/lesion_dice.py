"""The Dice score of the lesion segmentation is NaN in some epochs; on the workstation with one card it never was."""

import numpy as np

import varsim as tf

REPLICAS = 3
ORACLE = True


def soft_dice(mask, probability):
    overlap = (mask * probability).sum((1, 2))
    return 2 * overlap / (mask.sum((1, 2)) + probability.sum((1, 2)) + 1e-6)


class LesionDice:
    """Mean Dice over the slices in which the radiologist has marked a lesion."""

    def __init__(self):
        settings = {
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.SUM,
        }
        self.total = tf.Variable(0.0, name="dice_total", dtype=tf.float64, **settings)
        self.slices = tf.Variable(0.0, name="dice_slices", dtype=tf.float64, **settings)

    def update(self, mask, probability):
        marked = mask.any((1, 2))
        dice = soft_dice(mask[marked], probability[marked])
        with np.errstate(invalid="ignore"):
            mean = dice.sum() / marked.sum()
            # REMEDY: mean = dice.sum() / max(marked.sum(), 1)
        # FAULT: NaN or infinity: dice_total
        self.total.assign_add(float(mean) * int(marked.sum()))
        self.slices.assign_add(float(marked.sum()))

    def reset(self):
        self.total.assign(0.0)
        self.slices.assign(0.0)

    def result(self):
        return float(self.total.numpy()) / float(self.slices.numpy())


def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        dice = LesionDice()
    rng = np.random.default_rng(31)

    def validate(masks, guesses):
        n = strategy.num_replicas_in_sync
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        dice.update(np.array_split(masks, n)[me], np.array_split(guesses, n)[me])

    scores = []
    for volume in range(5):
        masks = np.zeros((18, 12, 12), np.float32)
        first = 2 + volume
        masks[first : first + 9, 3:8, 4:9] = (
            rng.random((9, 5, 5)) < 0.7
        )  # lesions lie in neighbouring slices
        guesses = np.clip(masks * 0.8 + rng.normal(0.1, 0.05, masks.shape), 0, 1)
        strategy.run(validate, args=(masks, guesses))
        scores.append(dice.result())
        strategy.run(dice.reset)
    return {"dice": [round(score, 5) for score in scores]}
