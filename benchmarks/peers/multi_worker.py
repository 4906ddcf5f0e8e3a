"""Run a member of a group under TensorFlow's MultiWorkerMirroredStrategy.

TF_CONFIG names the member. A step is one `strategy.run` inside a `tf.function`, in which each
worker adds its own gradient to one ON_WRITE MEAN variable of float32. A case (see `member.py`) is
the variable's size in bytes.
"""

from __future__ import annotations

import json
import os

import tensorflow as tf

from benchmarks.peers.member import Step, check, serve

MEMBER = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()  # must be the first call of TensorFlow


def assign_add(size_bytes: str) -> Step:
    """Return the step, after a check."""
    values = int(size_bytes) // 4
    with STRATEGY.scope():
        variable = tf.Variable(
            tf.zeros(values),
            synchronization=tf.VariableSynchronization.ON_WRITE,
            aggregation=tf.VariableAggregation.MEAN,
        )
    gradient = tf.fill([values], MEMBER + 1.0)

    def write() -> None:
        variable.assign_add(gradient)

    step: Step = tf.function(lambda: STRATEGY.run(write))
    step()
    check(float(variable.read_value()[-1]), (STRATEGY.num_replicas_in_sync + 1) / 2)
    return step


if __name__ == "__main__":
    serve(MEMBER, f"tensorflow {tf.__version__}", assign_add)
