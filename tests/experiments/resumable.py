"""A workload with every kind of state that a checkpoint of a run contains."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

import varsim as tf

SYNC, AGGREGATION = tf.VariableSynchronization, tf.VariableAggregation


def run(job: tf.Job, *, flag: str = "", nest: bool = False, create: bool = False) -> dict[str, Any]:
    """Use components, random generators in the program and on replicas, and a list given as `keep`.

    Args:
        flag: A file; if it exists, the workload fails at step 5.
        nest: Whether to start a second loop over steps inside the first one.
        create: Whether to create a variable inside the loop over steps.
    """
    strategy = job.strategy
    with strategy.scope():
        w = tf.Variable(np.zeros(3, np.float32), name="w", aggregation=AGGREGATION.MEAN)
        seen = tf.Variable(
            0, name="seen", synchronization=SYNC.ON_READ, aggregation=AGGREGATION.SUM
        )
        state = tf.Variable(np.zeros(2), name="state", synchronization=SYNC.ON_READ)
        averaged = tf.Variable(np.zeros(2), name="averaged", synchronization=tf.LocalSGD(4))
    plain = tf.Variable(0.0, name="plain")
    rng, last = np.random.default_rng(job.seed), 0.0
    history: list[Any] = []
    held: list[Any] = []

    def drawn(*size: int) -> Any:
        return np.random.normal(size=size)  # noqa: NPY002  # the global generator

    def step(x: np.float32) -> None:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        w.assign_add(drawn(3).astype(np.float32) * x)
        seen.assign_add(replica + 1)
        noise = drawn(2) + random.random() + replica
        state.assign(state.read_value() * 0.9 + noise)
        averaged.assign_add(noise)

    job.log(last=-1)
    for i in job.each_step(9, keep={"history": history}):
        if i == 5 and flag and Path(flag).exists():
            raise OSError("a failure at step 5")
        if nest:
            list(job.each_step(2))
        if create:
            held.append(tf.Variable(1.0, name="late"))
        x = rng.normal() + float(drawn()) + random.random()
        strategy.run(step, args=(np.float32(x),))
        plain.assign_add(np.float32(x))
        last = float(w.numpy()[0])
        history.append((i, last, x))
        job.log(last=last)
    parts = {v.name: [c.numpy().tolist() for c in v.values] for v in (w, seen, state, averaged)}
    return {"history": history, "parts": parts, "plain": float(plain.numpy()), "last": last}
