"""Programs of locks, barriers, sends and collectives, written in one line per replica.

A program is a list of operations that are separated by commas, such as
`lock a, send 1, reduce, unlock a`. Workers also import this module, so it must not import pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import varsim as tf
from varsim.distribute.meetings import CriticalSection

Variables = Mapping[str, Any]


@dataclass
class Holders:
    """Checks that locks exclude replicas. Useful only if all replicas are in one process."""

    writers: dict[str, int] = field(default_factory=dict)
    readers: dict[str, list[int]] = field(default_factory=dict)

    def enter(self, lock: str, replica_id: int, *, is_shared: bool) -> None:
        assert lock not in self.writers, f"{lock} has a writer"
        if is_shared:
            self.readers.setdefault(lock, []).append(replica_id)
        else:
            assert not self.readers.get(lock), f"{lock} has readers"
            self.writers[lock] = replica_id

    def leave(self, lock: str, replica_id: int) -> None:
        if self.writers.get(lock) == replica_id:
            del self.writers[lock]
        else:
            self.readers[lock].remove(replica_id)


def variables() -> Variables:
    """Create the variables of programs: writes of `w` are merged, and others are local."""
    on_read = tf.VariableSynchronization.ON_READ
    sums = tf.VariableAggregation.SUM
    return {
        "w": tf.Variable(0.0, aggregation=sums, name="w"),
        "n": tf.Variable(0.0, synchronization=on_read, aggregation=sums, name="n"),
        "p": tf.Variable(0.0, synchronization=tf.VariableSynchronization.ON_WRITE, name="p"),
    }


def run(programs: Sequence[str], variables: Variables, holders: Holders | None = None) -> str:
    """Run the program of this replica, and return what it received."""
    context = tf.distribute.get_replica_context()
    me = int(context.replica_id_in_sync_group)
    held: dict[str, CriticalSection] = {}
    received: list[str] = []

    def take(lock: str, make: Callable[[str], CriticalSection]) -> None:
        held[lock] = make(lock)
        held[lock].__enter__()
        if holders is not None:
            holders.enter(lock, me, is_shared=make == context.read_lock)

    for step in filter(None, map(str.strip, programs[me].split(","))):
        verb, _, name = step.partition(" ")
        match verb:
            case "lock":
                take(name, context.lock)
            case "read_lock":
                take(name, context.read_lock)
            case "unlock":
                if holders is not None:
                    holders.leave(name, me)
                held.pop(name).__exit__(None, None, None)
            case "barrier":
                context.barrier(name or None)
            case "meet":  # a barrier of a group, such as `meet 02`
                context.barrier(group=context.strategy.group(map(int, name)))
            case "send":
                context.send(f"from {me}", to=int(name))
            case "recv":
                received.append(context.recv(int(name)))
            case "reduce":
                context.all_reduce("sum", 1.0, name=name or None)
            case "sum":  # of a group, such as `sum 02`
                context.all_reduce("sum", 1.0, group=context.strategy.group(map(int, name)))
            case "gather":
                context.all_gather(np.ones(1), 0)
            case "merge":
                context.merge_call(lambda _: None)
            case "write":
                variables[name].assign_add(1.0 + me * (name == "p"))
            case "read":
                variables[name].read_value()
            case "raise":
                raise ValueError(name)
            case _:
                raise AssertionError(f"there is no operation {verb!r}")
    return " ".join(received)
