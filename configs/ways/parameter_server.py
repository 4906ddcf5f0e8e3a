"""The digits job under ParameterServerStrategy: a closure for each worker's part of each batch.

`parameter_server.yaml` runs it, as `varsim exec -n 4 parameter_server.py STEPS` does.
"""

import sys

import numpy as np

import varsim as tf
from varsim.workloads.data import load_digits
from varsim.workloads.softmax import classifier, count_hits, in_batches, learn, scores

RATE, BATCH_SIZE, EPOCHS = 0.5, 64, 10

strategy = tf.distribute.ParameterServerStrategy()
coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
workers = strategy.num_workers
train_set, test_set = load_digits()
batches = list(in_batches(*train_set, BATCH_SIZE))
steps = int(sys.argv[1]) if len(sys.argv) > 1 else EPOCHS * len(batches)
with strategy.scope():
    weights, bias = classifier()
    test_accuracy = tf.Variable(0.0, name="test_accuracy")


def step(images: np.ndarray, labels: np.ndarray) -> None:
    """Do one step on one worker's rows of a batch."""
    _, _, by_weights, by_bias = learn(weights, bias, images, labels)
    weights.assign_sub(RATE / workers * by_weights)
    bias.assign_sub(RATE / workers * by_bias)


for number in range(steps):
    images, labels = batches[number % len(batches)]
    parts = np.array_split(images, workers), np.array_split(labels, workers)
    for part in zip(*parts, strict=True):
        coordinator.schedule(step, args=part)
coordinator.join()
hits = count_hits(scores(weights.numpy(), bias.numpy(), test_set[0]), test_set[1])
test_accuracy.assign(np.float32(hits / len(test_set[1])))
