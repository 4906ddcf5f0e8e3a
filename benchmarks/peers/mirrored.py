"""Run TensorFlow's MirroredStrategy on logical CPU devices of one process.

The argument is the number of devices. A step is one `strategy.run` inside a `tf.function`, in which
each replica adds its own gradient to each ON_WRITE MEAN scalar. The number of scalars is the
benchmark's case (see `member.py`).
"""

from __future__ import annotations

import sys
from functools import partial

import tensorflow as tf

from benchmarks.peers.member import Step, check, serve


def mirrored(replicas: int) -> tf.distribute.Strategy:
    """Return a strategy with one logical device for each replica."""
    (cpu, *_) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * replicas
    )
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])


def assign_adds(strategy: tf.distribute.Strategy, count: str) -> Step:
    """Return the step, after a check."""
    with strategy.scope():
        scalars = [
            tf.Variable(
                0.0,
                synchronization=tf.VariableSynchronization.ON_WRITE,
                aggregation=tf.VariableAggregation.MEAN,
            )
            for _ in range(int(count))
        ]
    # TensorFlow does not average a number that is the same object on all replicas.
    gradients = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(context.replica_id_in_sync_group + 1.0)
    )

    def write(gradient: tf.Tensor) -> None:
        for scalar in scalars:
            scalar.assign_add(gradient)

    step: Step = tf.function(lambda: strategy.run(write, args=(gradients,)))
    step()
    check(float(scalars[-1].read_value()), (strategy.num_replicas_in_sync + 1) / 2)
    return step


if __name__ == "__main__":
    serve(0, f"tensorflow {tf.__version__}", partial(assign_adds, mirrored(int(sys.argv[1]))))
