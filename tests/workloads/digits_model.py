"""The digits workload in plain NumPy and one process: the expected results of every mode.

The model shares no code with varsim: the replicas are a list, and a merge is a loop. The model adds
in replica order and in float32, so the workload must agree with the model bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

DIGITS = Path(__file__).parents[2] / "varsim" / "workloads" / "data" / "digits.npz"
BATCH, TRAINED = 64, 1437


@dataclass
class DigitsModel:
    weights: np.ndarray
    bias: np.ndarray


@dataclass
class ReferenceResult:
    models: list[DigitsModel]  # one per replica
    train_loss: float
    train_accuracy: float
    test_accuracy: float
    replica_test_accuracy: list[float]


def train(mode: str, replicas: int, steps: int, learning_rate: float = 0.5) -> ReferenceResult:
    """Train with a mode (on_write, on_read or none) and a number of replicas."""
    with np.load(DIGITS) as file:
        images = (file["images"] / 16).astype(np.float32)
        labels = file["labels"].astype(np.int64)
    models = [
        DigitsModel(np.zeros((64, 10), np.float32), np.zeros(10, np.float32))
        for _ in range(replicas)
    ]
    batches = TRAINED // BATCH
    losses: list[float] = []
    correct = 0
    for step in range(steps):
        if step % batches == 0:
            losses, correct = [], 0
        first = step % batches * BATCH
        parts = np.array_split(np.arange(first, first + BATCH), replicas)
        results = [
            gradients(model, images[part], labels[part])
            for model, part in zip(models, parts, strict=True)
        ]
        losses.append(float(mean([np.asarray(result[2]) for result in results])))
        correct += sum(result[3] for result in results)
        by_weights = [np.float32(learning_rate) * result[0] for result in results]
        by_bias = [np.float32(learning_rate) * result[1] for result in results]
        if mode == "on_write":
            by_weights, by_bias = [mean(by_weights)] * replicas, [mean(by_bias)] * replicas
        for model, weights, bias in zip(models, by_weights, by_bias, strict=True):
            model.weights = model.weights - weights
            model.bias = model.bias - bias
        if mode == "on_read" and ((step + 1) % batches == 0 or step + 1 == steps):
            weights = mean([model.weights for model in models])
            bias = mean([model.bias for model in models])
            models = [DigitsModel(weights, bias) for _ in models]
    test_images, test_labels = images[TRAINED:], labels[TRAINED:]
    parts = np.array_split(np.arange(len(test_images)), replicas)
    return ReferenceResult(
        models,
        train_loss=float(np.mean(losses)),
        train_accuracy=correct / (len(losses) * BATCH),
        test_accuracy=sum(
            hits(model, test_images[part], test_labels[part])
            for model, part in zip(models, parts, strict=True)
        )
        / len(test_images),
        replica_test_accuracy=[
            hits(model, test_images, test_labels) / len(test_images) for model in models
        ],
    )


def gradients(
    model: DigitsModel, images: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.float32, int]:
    """Return the mean gradients, the mean loss and the number of right answers of one shard."""
    logits = images @ model.weights + model.bias
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    error = odds / odds.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.mean(np.log(error[rows, labels]))
    correct = int(np.sum(error.argmax(axis=1) == labels))
    error[rows, labels] -= 1
    error /= len(labels)
    return images.T @ error, error.sum(axis=0), loss, correct


def mean(values: list[np.ndarray]) -> np.ndarray:
    """Add the values in replica order, and divide the sum once: the definition of MEAN."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return np.asarray(total / np.float32(len(values)))


def hits(model: DigitsModel, images: np.ndarray, labels: np.ndarray) -> int:
    """Return how many images the model classifies correctly."""
    return int(np.sum((images @ model.weights + model.bias).argmax(axis=1) == labels))
