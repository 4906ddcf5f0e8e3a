"""Functions that replicas run in these tests. Workers import this module, but not pytest."""

from __future__ import annotations

import select
import time
from typing import Any

import varsim as tf

LONG_S = 60.0
"""A duration in seconds that exceeds the time limit of every test."""

SHORT_S = 0.02
"""The longest delay of a signal in `take_long`, in seconds."""


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
    """Work without waiting for messages, so that no message can interrupt it.

    A signal that arrives just before a wait is handled only after the wait. So a single long wait
    would sometimes delay a Ctrl-C until the end of the wait.
    """
    end_s = time.monotonic() + LONG_S
    while time.monotonic() < end_s:
        select.select([], [], [], SHORT_S)


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
