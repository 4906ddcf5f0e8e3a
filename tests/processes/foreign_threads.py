"""Functions for replicas. They use varsim in threads that are started in several ways."""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import varsim as tf

Operation = Callable[[], Any]


def thread(operation: Operation) -> Any:
    """Run an operation in a plain thread, and return its result or raise its error."""
    box: list[Any] = []

    def run() -> None:
        try:
            box.append(operation())
        except Exception as error:  # any error is given to the caller
            box.append(error)

    started = threading.Thread(target=run, name="mine")
    started.start()
    started.join()
    if isinstance(box[0], Exception):
        raise box[0]
    return box[0]


def with_context(operation: Operation) -> Any:
    context = contextvars.copy_context()
    return thread(lambda: context.run(operation))


def pool(operation: Operation) -> Any:
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        return executor.submit(operation).result()


def loop(operation: Operation) -> Any:
    """Run an operation in asyncio.to_thread, which copies the context."""
    return asyncio.run(asyncio.to_thread(operation))


WAYS = (thread, with_context, pool, loop)


def operations(v: Any) -> dict[str, Operation]:
    """Return name -> operation for all operations that need a context or a component."""
    context = tf.distribute.get_replica_context()

    def merge(strategy: Any, value: Any) -> Any:
        return value

    return {
        "get_replica_context": tf.distribute.get_replica_context,
        "get_strategy": tf.distribute.get_strategy,
        "has_strategy": tf.distribute.has_strategy,
        "in_cross_replica_context": tf.distribute.in_cross_replica_context,
        "read": v.read_value,
        "numpy": v.numpy,
        "float": lambda: float(v),
        "assign": lambda: v.assign_add(1.0),
        "component": lambda: float(v.values[0]),
        "repr": lambda: repr(v),
        "buffer": v.update_buffer,
        "create": lambda: tf.Variable(1.0),
        "all_reduce": lambda: context.all_reduce("SUM", 1.0),
        "all_gather": lambda: context.all_gather([1.0], 0),
        "merge_call": lambda: context.merge_call(merge, (1.0,)),
        "reduce": lambda: context.strategy.reduce("SUM", 1.0, axis=None),
        "run": lambda: context.strategy.run(merge),
    }


def outcomes(v: Any, way: Callable[[Operation], Any]) -> dict[str, str]:
    """Return the outcome of each operation in another thread."""
    found = {}
    for name, operation in operations(v).items():
        try:
            found[name] = repr(way(operation))
        except tf.VarsimError as error:
            found[name] = str(error)
    return found


def reported(operation: Operation) -> Any:
    """Start a thread that ends with an error, and continue."""
    box: list[Any] = []
    background = threading.Thread(target=lambda: box.append(operation()), name="mine")
    background.start()
    background.join()
    return box[0] if box else None


def asks_and_returns() -> None:
    reported(tf.distribute.get_replica_context)


@dataclass(frozen=True)
class FrozenIndexError(IndexError):
    """An error that refuses every attribute, even `__notes__`."""

    index: int


def asks_and_raises(error: type[IndexError]) -> None:
    reported(tf.distribute.get_replica_context)
    raise error(7)


def computes() -> float:
    """Reduce the thread's result in the replica's function, as the error suggests."""
    mine = thread(lambda: 1.0 + 1.0)
    return float(tf.distribute.get_replica_context().all_reduce("SUM", mine))


def reduce_one(value: float) -> float:
    return float(tf.distribute.get_replica_context().all_reduce("SUM", value))


def in_forked_pool(operation: Callable[[float], float]) -> float:
    """Run an operation in a forked process, and reduce its result in the replica's process."""
    with multiprocessing.get_context("fork").Pool(1) as forked:
        (value,) = forked.map(operation, [-1.0])
    return reduce_one(value)


def returns_twice() -> str:
    """Fork a process that also returns from the function."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return "parent" if child else "child"
