"""Record small models with TensorFlow, and what the reader of models answers for each model.

`PYTHON tests/experiments/models/record.py`, with an interpreter that has TensorFlow, writes the
files beside this one. Tests compare varsim with `answers.json`, so they do not need TensorFlow.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

HERE = Path(__file__).resolve().parent
READER = HERE.parents[2] / "varsim/experiments/model_reader.py"


class Settings(tf.Module):  # type: ignore[misc]  # without TensorFlow it is Any
    """Variables with settings, with equal names, or with dtypes that varsim does not have."""

    def __init__(self) -> None:
        super().__init__()
        mode, way = tf.VariableSynchronization.ON_READ, tf.VariableAggregation.SUM
        self.seen = tf.Variable(
            np.zeros(2, np.float32),
            name="a",
            synchronization=mode,
            aggregation=way,
            trainable=False,
        )
        self.again = self.seen
        self.steps = tf.Variable(np.int64(0), name="a")
        self.text = tf.Variable("text", name="text")
        self.half = tf.Variable(tf.zeros([3], tf.bfloat16), name="half")
        self.open = tf.Variable(np.zeros(2, np.float32), name="open", shape=tf.TensorShape([None]))
        self.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)


def perceptron() -> Any:
    """Return a model with statistics that are not trainable, and with an integer state."""
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(3, name="dense"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, name="dropout"),
        ],
        name="perceptron",
    )
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 4)), np.zeros((4, 3)), verbose=0)
    return model


def digits() -> Any:
    """Return the model of configs/inventory.yaml, for images of 8 x 8 pixels."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(16, 3, name="convolution"),
            layers.BatchNormalization(name="normalization"),
            layers.Flatten(name="flatten"),
            layers.Dense(64, activation="relu", name="hidden"),
            layers.Dropout(0.5, name="dropout"),
            layers.Dense(10, name="logits"),
        ],
        name="digits",
    )


def answer(kind: str, path: Path) -> Any:
    """Return the reader's answer for a file."""
    said = subprocess.run(
        [sys.executable, str(READER), kind, str(path)], check=True, capture_output=True
    )
    return json.loads(said.stdout)["variables"]


def main() -> None:
    """Write the small models, and the answers for these models and for some larger models."""
    for old in ("checkpoint", "settings"):
        shutil.rmtree(HERE / old, ignore_errors=True)
    model = perceptron()
    keras.Sequential(model.layers[:2]).save(HERE / "dense.keras")
    saver = tf.train.Checkpoint(model=model, optimizer=model.optimizer, settings=Settings())
    saver.save(HERE / "checkpoint" / "model")
    tf.saved_model.save(Settings(), HERE / "settings")
    (HERE / "settings" / "fingerprint.pb").unlink()
    answers = {
        "dense": answer("keras", HERE / "dense.keras"),
        "checkpoint": answer("checkpoint", HERE / "checkpoint"),
        "settings": answer("saved_model", HERE / "settings"),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        digits().save(path / "digits.keras")
        answers["digits"] = answer("keras", path / "digits.keras")
        model.export(path / "exported", verbose=False)
        answers["exported"] = answer("saved_model", path / "exported")
        session_of_tensorflow_1(path / "session")
        answers["session"] = answer("checkpoint", path / "session")
    lines = [
        f"{json.dumps(name)}: [\n" + ",\n".join(f" {json.dumps(one)}" for one in entries) + "\n]"
        for name, entries in answers.items()
    ]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (HERE / "answers.json").write_text(text, "utf-8")


def session_of_tensorflow_1(path: Path) -> None:
    """Save a checkpoint that stores variables by name, without a graph of objects."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        weights = v1.get_variable("weights", [3])
        v1.train.AdamOptimizer().minimize(tf.reduce_sum(weights))
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(path))


if __name__ == "__main__":
    main()
