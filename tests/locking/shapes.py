"""Deadlocks of two to five replicas, in locks, sends, barriers and collectives.

The programs of each shape end in a deadlock, in whatever order the messages arrive. Workers also
import this module, so it must not import pytest.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Programs that end in a deadlock."""

    programs: tuple[str, ...]  # one per replica
    replica_ids: tuple[int, ...]  # each waits for the next one
    text: str  # a part of the error's text

    def __str__(self) -> str:
        return " | ".join(self.programs)


def _shape(programs: str, replica_ids: str, text: str) -> Shape:
    own = tuple(one.strip() for one in programs.split("|"))
    return Shape(own, tuple(map(int, replica_ids)), text)


SHAPES = (
    # locks alone
    _shape(
        "lock a, barrier, lock b | lock b, barrier, lock a",
        "01",
        "Let every replica take these locks in the same order",
    ),
    _shape(
        "lock a, barrier, lock b | lock b, barrier, lock c | lock c, barrier, lock a",
        "012",
        "replica 2 waits in lock('a') at",
    ),
    _shape(
        "lock a, barrier, lock b | lock b, barrier, lock c | lock c, barrier, lock d | "
        "lock d, barrier, lock e | lock e, barrier, lock a",
        "01234",
        "for replica 0, which has held it since",
    ),
    _shape(
        "barrier, reduce | lock a, barrier, lock b | barrier, reduce | lock b, barrier, lock a",
        "13",
        "replica 3 waits in lock('a') at",
    ),
    _shape(
        "read_lock a, barrier, lock b | read_lock b, barrier, lock a",
        "01",
        "which has held it for reading since",
    ),
    _shape(
        "lock a, barrier, read_lock b | lock b, barrier, read_lock a",
        "01",
        "replica 0 waits in read_lock('b') at",
    ),
    # sends and receives
    _shape("recv 1 | recv 0", "01", "replica 1 waits in recv(0) at"),
    _shape("send 1 | send 0", "01", "which has not received the value"),
    _shape("send 1 | send 2 | send 0", "012", "A send ends when the other replica receives"),
    _shape("recv 3 | recv 0 | recv 1 | recv 2", "0321", "which has not sent a value"),
    _shape("recv 1 | recv 0 | send 3 | recv 2", "01", "replica 0 waits in recv(1) at"),
    # barriers and collectives
    _shape("barrier x | barrier y", "01", "replica 1 waits in barrier('y') at"),
    _shape("barrier | reduce", "01", "Let all replicas do these operations in the same order"),
    _shape("recv 1 | gather | gather", "01", "replica 1 waits in all_gather("),
    _shape("merge | merge | barrier m", "02", "replica 0 waits in merge_call at"),
    # locks, and an operation that needs other replicas
    _shape("lock a, send 1, reduce | recv 0, lock a", "01", "Release the lock before an operation"),
    _shape("lock a, send 1, barrier | recv 0, lock a, barrier", "01", "replica 1 waits in lock"),
    _shape("lock a, send 1, recv 1 | recv 0, lock a, send 0", "01", "replica 0 waits in recv(1)"),
    _shape(
        "lock a, send 1, write w, read w | recv 0, lock a, write w, read w",
        "01",
        "replica 0 waits in a read of w, after its own write to it at",
    ),
    _shape(
        "lock a, send 1, barrier | recv 0, lock b, send 2, lock a | recv 1, lock b",
        "01",
        "which has not arrived there",
    ),
    _shape(
        "lock a, send 1, recv 2 | recv 0, lock b, send 2, lock a | recv 1, lock b, send 0",
        "021",
        "replica 2 waits in lock('b') at",
    ),
    # a replica that has ended
    _shape("recv 1 | write n", "0", "for replica 1, whose function has returned"),
    _shape("send 1 | ", "0", "replica 0 waits in send(to=1) at"),
    _shape("barrier end | | barrier end", "0", "Let every replica reach the operation"),
    # collectives of groups
    _shape("sum 01, sum 02 | sum 12, sum 01 | sum 02, sum 12", "012", "group=[0, 2]) at"),
    _shape(
        "sum 01, reduce | reduce, sum 01 | reduce", "01", "Let all replicas do these operations"
    ),
    _shape("lock a, sum 01 | lock a, sum 01 | ", "01", "Release the lock before an operation"),
    _shape("sum 02, recv 2 | recv 0 | recv 1, sum 02", "021", "which has not arrived there"),
    _shape("meet 01, meet 02 | meet 12, meet 01 | meet 02, meet 12", "012", "group=[0, 1]) at"),
    _shape(
        "sum 01, write w, read w | write w, read w, sum 01 | write w",
        "01",
        "replica 1 waits in a read of w, after its own write to it at",
    ),
)
"""The deadlocks. If a replica has ended, any replica that waits for it can be named."""
