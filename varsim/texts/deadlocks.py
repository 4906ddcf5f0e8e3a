"""Facts about deadlocks: replicas that wait for each other, or for a replica that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from varsim.texts.facts import Fact
from varsim.texts.replicas import Group, group_lines
from varsim.value_class import value_class

_UNKNOWN: Final = "an unknown location"


# ---------------------------------------------------------------- why a replica waits for another


@value_class
class Holds(Fact):
    """The other replica holds the lock."""

    location: str
    is_shared: bool

    def __str__(self) -> str:
        reading = " for reading" if self.is_shared else ""
        return f"which has held it{reading} since {self.location or _UNKNOWN}"


@value_class
class AskedEarlier(Fact):
    """The other replica waits for the lock, too, and its request is the earlier one."""

    location: str

    def __str__(self) -> str:
        return f"which has waited for it longer, at {self.location or _UNKNOWN}"


@value_class
class NotArrived(Fact):
    """The other replica has not arrived at the barrier or at the collective."""

    def __str__(self) -> str:
        return "which has not arrived there"


@value_class
class NotJoined(Fact):
    """The other replica has not joined."""

    def __str__(self) -> str:
        return "which has not joined"


@value_class
class NotReceiving(Fact):
    """The other replica has not received the value."""

    def __str__(self) -> str:
        return "which has not received the value"


@value_class
class NotSending(Fact):
    """The other replica has not sent a value."""

    def __str__(self) -> str:
        return "which has not sent a value"


@value_class
class NotWritten(Fact):
    """The other replica has not made a write that is combined with the writes of all replicas."""

    def __str__(self) -> str:
        return "which has not made this write"


@value_class
class Behind(Fact):
    """The other replica has written a variable with bounded staleness too rarely."""

    writes: int
    clock: int  # the number of the write that waits

    def __str__(self) -> str:
        often = {0: "never", 1: "once"}.get(self.writes, f"{self.writes} times")
        return f"which has written it {often} (this is write {self.clock})"


@value_class
class Returned(Fact):
    """The function of the other replica has returned."""

    def __str__(self) -> str:
        return "whose function has returned"


# ---------------------------------------------------------------- the deadlock


class Kind(Enum):
    """A kind of wait, as far as the remedies of deadlocks distinguish them."""

    LOCK = "lock"
    POST = "send or recv"
    JOIN = "join"
    ALL = "barrier, collective or read"
    PACE = "write with bounded staleness"


@value_class
class WaitsFor(Fact):
    """A replica waits for another replica."""

    replica_id: int
    operation: Fact  # with its location
    kind: Kind
    other: int
    why: Fact

    def __str__(self) -> str:
        return (
            f"replica {self.replica_id} waits in {self.operation} for replica {self.other}, "
            f"{self.why}"
        )


@value_class
class Deadlock(Fact):
    """Replicas of one call wait, and can never continue."""

    waits: tuple[WaitsFor, ...]  # each of them waits for the next one, or for one that has ended
    others: tuple[Group, ...]  # what the other replicas do

    @property
    def replica_ids(self) -> tuple[int, ...]:
        """Return the replicas that can never continue."""
        return tuple(wait.replica_id for wait in self.waits)

    @property
    def is_cycle(self) -> bool:
        """Return whether the replicas wait for each other."""
        return self.waits[-1].other == self.waits[0].replica_id

    @property
    def remedy(self) -> str:
        """Return the remedy."""
        if not self.is_cycle:
            return _ENDED
        return _remedy([wait.kind for wait in self.waits])

    def __str__(self) -> str:
        headline = (
            "replicas wait for each other, and none of them can continue:"
            if self.is_cycle
            else "a replica waits for a replica whose function has ended:"
        )
        return "\n".join(
            [
                headline,
                *(f"  {wait}" for wait in self.waits),
                *group_lines(self.others),
                f"  {self.remedy}",
            ]
        )


def _remedy(kinds: Sequence[Kind]) -> str:
    if Kind.JOIN in kinds:
        return _JOIN
    if Kind.PACE in kinds:
        return _LOCK_AND_MORE if Kind.LOCK in kinds else _PACE
    if Kind.LOCK not in kinds:
        return _POSTS if Kind.POST in kinds else _ORDER
    return _LOCKS if set(kinds) == {Kind.LOCK} else _LOCK_AND_MORE


_ENDED: Final = (
    "Let every replica reach the operation that another replica waits for, before its function "
    "returns."
)
_LOCKS: Final = "Let every replica take these locks in the same order, or use one lock for both."
_LOCK_AND_MORE: Final = (
    "Release the lock before an operation that needs other replicas: end the `with` block first."
)
_POSTS: Final = (
    "A send ends when the other replica receives. Let one of the two replicas send first and the "
    "other one receive first, and let all replicas do the other operations in the same order."
)
_PACE: Final = (
    "Let every replica write the variable equally often between two operations that need other "
    "replicas, or allow a larger staleness."
)
_JOIN: Final = (
    "A replica that has joined waits until all replicas have joined. Only merged writes, barriers "
    "and all_reduce with SUM, MEAN or ANY go on without it. Let it join after the last other "
    "operation that needs it, or do this operation after all replicas have joined."
)
_ORDER: Final = "Let all replicas do these operations in the same order."
