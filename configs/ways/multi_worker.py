"""The digits job under MultiWorkerMirroredStrategy: every worker runs this whole script.

`multi_worker.yaml` runs it, as `varsim exec -n 4 --spmd multi_worker.py STEPS` does.
"""

import sys

import numpy as np

import varsim as tf
from varsim.workloads.data import load_digits
from varsim.workloads.softmax import classifier, count_hits, in_batches, learn, scores

RATE, BATCH_SIZE, EPOCHS = 0.5, 64, 10

strategy = tf.distribute.MultiWorkerMirroredStrategy()
train_set, test_set = load_digits()
batches = list(in_batches(*train_set, BATCH_SIZE))
steps = int(sys.argv[1]) if len(sys.argv) > 1 else EPOCHS * len(batches)
with strategy.scope():
    weights, bias = classifier()
    test_accuracy = tf.Variable(
        0.0,
        name="test_accuracy",
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.MEAN,
    )


def step(images: np.ndarray, labels: np.ndarray) -> None:
    """Do one step on this worker's rows of a batch."""
    _, _, by_weights, by_bias = learn(weights, bias, images, labels)
    weights.assign_sub(RATE * by_weights)
    bias.assign_sub(RATE * by_bias)


def test() -> None:
    """Test this worker's copy."""
    hits = count_hits(scores(weights, bias, test_set[0]), test_set[1])
    test_accuracy.assign(np.float32(hits / len(test_set[1])))


some = [batches[number % len(batches)] for number in range(steps)]
for images, labels in strategy.experimental_distribute_dataset(some):
    strategy.run(step, args=(images, labels))
strategy.run(test)
