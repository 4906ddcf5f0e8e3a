"""What the replicas of these tests do. It imports no pytest, for workers import it too."""

from __future__ import annotations

import select
from typing import Any

import varsim as tf

LONG_S = 60.0
"""What a user would call for ever: no test waits so long."""


def replica_id() -> int:
    """Which replica this is."""
    return int(tf.distribute.get_replica_context().replica_id_in_sync_group)


def all_reduce(op: str, value: Any) -> Any:
    """`all_reduce` of the current replica."""
    return tf.distribute.get_replica_context().all_reduce(op, value)


def all_gather(value: Any, axis: int = 0) -> Any:
    """`all_gather` of the current replica."""
    return tf.distribute.get_replica_context().all_gather(value, axis=axis)


def merge_call(merge_fn: Any, *args: Any) -> Any:
    """`merge_call` of the current replica."""
    return tf.distribute.get_replica_context().merge_call(merge_fn, args=args)


def take_long() -> None:
    """Is busy with something that no message interrupts."""
    select.select([], [], [], LONG_S)


def importable(value: Any) -> Any:
    """A function that travels by reference."""
    return value
