"""A workload that reads its data from distributed datasets, in one of several ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

import varsim as tf


def batches(seed: int, rows: int) -> Iterator[Any]:
    """Yield batches in an order that is drawn anew in each epoch."""
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(4, rows)).astype(np.float32)
    while True:
        rng.shuffle(data)
        yield from data.copy()


SHARED = batches(9, 4)  # a second call of the workload does not create it again


def run(job: tf.Job, *, way: str, flag: str = "") -> dict[str, Any]:
    """Add the sums of the replicas' batches to a variable.

    Args:
        way: How the workload reads its datasets.
        flag: A file; if it exists, the workload fails at step 7.
    """
    strategy = job.strategy
    with strategy.scope():
        w = tf.Variable(np.float32(0), name="w", aggregation=tf.VariableAggregation.MEAN)
        seen = tf.Variable(
            np.float32(0),
            name="seen",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    order: list[float] = []

    def step(*parts: Any) -> None:
        total = np.float32(sum(part.sum() for part in parts))
        w.assign(w * np.float32(0.9) + total)
        seen.assign_add(total)

    def train(number: int, *parts: Any) -> None:
        if number == 7 and flag and Path(flag).exists():
            raise OSError("a failure at step 7")
        strategy.run(step, args=parts)
        order.append(float(w.numpy()))

    def split(*args: int) -> tf.distribute.DistributedDataset:
        return strategy.experimental_distribute_dataset(batches(*args))

    def evaluated() -> float:
        parts = next(iter(split(5, 4)))
        return float(strategy.reduce("SUM", parts, axis=0))

    order.append(evaluated())  # its pass has ended before the loop
    match way:
        case "zip":
            for number, x in zip(job.each_step(12), split(1, 4), strict=False):
                train(number, x)
                evaluated()
        case "iter" | "keep" | "peek":
            source = batches(1, 4)
            it = iter(strategy.experimental_distribute_dataset(source))
            if way == "peek":
                order.append(float(strategy.reduce("SUM", next(it), axis=0)))
            for number in job.each_step(12, keep={"it": it} if way == "keep" else {}):
                train(number, next(it))
        case "function":
            dataset = strategy.distribute_datasets_from_function(lambda _: batches(2, 2))
            for number, x in zip(job.each_step(12), dataset, strict=False):
                train(number, x)
        case "two":
            for number, x, y in zip(job.each_step(12), split(1, 4), split(2, 6), strict=False):
                train(number, x, y)
        case "nested":
            read_pairs(job, zip(split(1, 4), map(copy, split(2, 6)), strict=False), train)
        case "loops":
            it = iter(split(3, 4))
            for number, x in zip(job.each_step(50), split(1, 4), strict=False):
                train(number, x, next(it))
                if number == 4:
                    break
            for number, x in zip(job.each_step(12), split(2, 4), strict=False):
                train(number, x, next(it))
        case _:
            read_unusually(job, way, flag, train)
    values = [part.numpy().tolist() for v in (w, seen) for part in v.values]
    return {"values": values, "last": order[-1]}


def read_pairs(job: tf.Job, pairs: Iterator[Any], train: Callable[..., None]) -> None:
    for number, (x, y) in zip(job.each_step(12), pairs, strict=False):
        train(number, x, y)


class Reader:
    """Gives rows from an iterator, and has others that no step reads."""

    def __init__(self, rows: Any) -> None:
        self.rows = iter(rows)
        self.more = {"unread": (row for row in rows)}


def read_rows(job: tf.Job, reader: Reader, train: Callable[..., None]) -> None:
    parts = [lambda: next(reader.rows)]
    for number in job.each_step(12):
        train(number, np.full(2, parts[0](), np.float32))


def read_unusually(job: tf.Job, way: str, flag: str, train: Callable[..., None]) -> None:
    """Read a dataset in a way that varsim cannot restore, refuses or warns of."""
    distribute, fails = job.strategy.experimental_distribute_dataset, Path(flag).is_file()
    match way:
        case "second":
            for x, number in zip(distribute(batches(1, 4)), job.each_step(12), strict=False):
                train(number, x)
        case "undistributed":
            for number, row in zip(job.each_step(12), np.arange(12), strict=False):
                train(number, np.full(2, row, np.float32))
        case "attribute":
            read_rows(job, Reader(np.arange(12)), train)
        case "counted":
            counted = enumerate(distribute(batches(1, 4)))
            for number, (count, x) in zip(job.each_step(12), counted, strict=False):
                train(number, x, np.full(2, count, np.float32))
        case "primed":
            primed = (x for x in distribute(batches(1, 4)))
            next(primed)
            for number, x in zip(job.each_step(12), primed, strict=False):
                train(number, x)
        case "inside":
            it: Any = None
            for number in job.each_step(12):
                it = iter(distribute(batches(1, 4))) if it is None else it
                train(number, next(it))
        case "shared":
            dataset = distribute(SHARED)
            for number, x in zip(job.each_step(12), dataset, strict=False):
                train(number, x)
        case "more":
            if not fails:
                next(iter(distribute(batches(4, 4))))
            for number, x in zip(job.each_step(12), distribute(batches(1, 4)), strict=False):
                train(number, x)
        case "ends":
            ones = [np.ones(4, np.float32)] * (10 if fails else 3)
            dataset = distribute(ones)
            for number, x in zip(job.each_step(12), dataset, strict=False):
                train(number, x)
