"""Define varsim as a contender: clusters, and steps that write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import varsim as tf
from benchmarks.measure import Turn, turn_of

CAN_WRITE_IN_PLACE = hasattr(tf.Variable, "update_buffer")
FIRST_STEPS = 4  # number of steps that are checked, and that fill the send buffer


def cluster(workers: int, **options: Any) -> tf.distribute.MirroredStrategy:
    """Return a strategy with this number of workers."""
    return tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(workers)], **options)


def on_write_mean(
    strategy: tf.distribute.Strategy, count: int, shape: tuple[int, ...]
) -> list[tf.Variable]:
    """Create `count` ON_WRITE MEAN variables of float32 zeros."""
    with strategy.scope():
        return [
            tf.Variable(
                np.zeros(shape, np.float32),
                synchronization=tf.VariableSynchronization.ON_WRITE,
                aggregation=tf.VariableAggregation.MEAN,
            )
            for _ in range(count)
        ]


def step_of(written: list[tf.Variable]) -> Callable[[], None]:
    """Return a function in which a replica adds its own gradient to all variables."""
    shape = written[0].numpy().shape
    gradients: list[np.ndarray] = []  # each worker makes and keeps its own gradient

    def step() -> None:
        if not gradients:
            gradients.append(np.full(shape, replica_number(), np.float32))
        (gradient,) = gradients
        for variable in written:
            variable.assign_add(gradient)

    shipped: Callable[[], None] = tf.function(step)
    return shipped


def step_in_place(variable: tf.Variable) -> Callable[[], None]:
    """Return a function in which a replica writes its gradient directly into the send buffer.

    The first steps fill the buffer. Later steps set only one element of a buffer that was filled
    before, because the computation of the gradient is not a part of the step. The arrays of the
    other contenders, too, are filled before the measured steps.
    """
    filled: list[int] = []  # the addresses of buffers

    def step() -> None:
        buffer: np.ndarray = variable.update_buffer()  # type: ignore[attr-defined,unused-ignore]
        address = buffer.__array_interface__["data"][0]
        if len(filled) < FIRST_STEPS or address not in filled:
            filled.append(address)
            buffer.fill(replica_number())
        else:
            buffer[:1] = replica_number()
        variable.assign_add(buffer)

    shipped: Callable[[], None] = tf.function(step)
    return shipped


def replica_number() -> float:
    """Return 1 on the first replica, 2 on the second one, and so on."""
    context = tf.distribute.get_replica_context()
    assert context is not None
    return float(context.replica_id_in_sync_group) + 1.0


def checked_turn(
    strategy: tf.distribute.Strategy, written: list[tf.Variable], step: Callable[[], None]
) -> Turn:
    """Check that steps add the mean of all gradients; return a function that times a step."""
    mean = (strategy.num_replicas_in_sync + 1) / 2
    for steps_done in range(1, FIRST_STEPS + 1):
        strategy.run(step)
        for variable in (written[0], written[-1]):
            found = variable.numpy()
            if not np.allclose(found, steps_done * mean):
                raise AssertionError(f"{found} after {steps_done} steps that add {mean}")
    return turn_of(lambda: strategy.run(step))
