"""Functions that replicas run in these tests. Workers import this module, but not pytest."""

from __future__ import annotations

import select
from typing import Any

import varsim as tf

LONG_S = 60.0
"""A duration in seconds that exceeds the time limit of every test."""


def all_reduce(op: str, value: Any) -> Any:
    """Call `all_reduce` on the current replica."""
    return tf.distribute.get_replica_context().all_reduce(op, value)


def all_gather(value: Any, axis: int = 0) -> Any:
    """Call `all_gather` on the current replica."""
    return tf.distribute.get_replica_context().all_gather(value, axis=axis)


def merge_call(merge_fn: Any, *args: Any) -> Any:
    """Call `merge_call` on the current replica."""
    return tf.distribute.get_replica_context().merge_call(merge_fn, args=args)


def take_long() -> None:
    """Work without waiting for messages, so that no message can interrupt it."""
    select.select([], [], [], LONG_S)


def importable(value: Any) -> Any:
    """Do nothing: this function is pickled by reference."""
    return value


def ask_forever(variable: Any) -> None:
    """Send requests to the program, and never end."""
    while True:
        str(variable)


def compute_slowly(seconds: float) -> None:
    """Take some time, as a slow step of a program does."""
    select.select([], [], [], seconds)
