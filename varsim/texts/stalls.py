"""Facts about replicas that make no progress although their processes run."""

from __future__ import annotations

from enum import Enum
from typing import Final

from varsim.texts.facts import Fact, name_replicas
from varsim.texts.replicas import Group, group_lines
from varsim.value_class import value_class


class Activity(Enum):
    """What the process of a stalled replica does."""

    BLOCKED = "blocked"
    COMPUTING = "computing"
    STOPPED = "stopped by a signal"
    UNKNOWN = "running"

    @property
    def evidence(self) -> str:
        """Return the evidence for the activity, as text."""
        return _EVIDENCE[self]


_EVIDENCE: Final = {
    Activity.BLOCKED: "its processor time does not grow",
    Activity.COMPUTING: "its processor time grows",
    Activity.STOPPED: "SIGSTOP, or Ctrl-Z",
    Activity.UNKNOWN: "it is unknown whether its processor time grows",
}


@value_class
class HeldLock(Fact):
    """A lock that a stalled replica holds."""

    name: str
    waiting: tuple[int, ...]  # the replicas that wait for the lock

    def __str__(self) -> str:
        wait = "waits" if len(self.waiting) == 1 else "wait"
        return f"it holds lock {self.name!r}, for which {name_replicas(self.waiting)} {wait}"


@value_class
class StalledReplica(Fact):
    """A replica that makes no progress, with the activity and the location of its process."""

    replica_id: int
    activity: Activity
    quiet_s: float  # the time since the replica's last progress
    process_id: int | None  # None if the replica has no separate process
    last: Fact | str  # the last operation that was sent, with its location; "" for no operation
    stack: tuple[str, ...]  # file:line and function, innermost first; empty if unknown
    earlier: str = ""  # the function of an earlier call that the replica still runs; "" for none
    locks: tuple[HeldLock, ...] = ()  # the locks that it holds and other replicas wait for

    @property
    def at(self) -> str:
        """Return the innermost line of the stack; "" if the stack is unknown."""
        return self.stack[0] if self.stack else ""

    @property
    def ending(self) -> str:
        """Return the reason for ending the process, as the end of a sentence about "worker 2"."""
        at = f" at {self.at}" if self.at else ""
        return (
            f"was ended by varsim, because it made no progress for {self.quiet_s:.1f} s: "
            f"it was {self.activity.value}{at}"
        )

    def __str__(self) -> str:
        process = "" if self.process_id is None else f" (process {self.process_id})"
        last = f"its last message: {self.last}" if self.last else "no message in this call"
        is_so = f"is {self.activity.value} ({self.activity.evidence})"
        lines = [f"  replica {self.replica_id}{process} {is_so}; {last}"]
        if self.earlier:
            lines.append(f"    it still runs {self.earlier} of an earlier call")
        lines += [f"    {lock}" for lock in self.locks]
        if self.stack:
            lines.append("    its Python stack, innermost first:")
            lines += [f"      {frame}" for frame in self.stack]
        return "\n".join(lines)


@value_class
class Stall(Fact):
    """Replicas that make no progress in one call, or while the program reads a variable."""

    stalled: tuple[StalledReplica, ...]
    call: str  # the number and the function of the call; "" if the program reads a variable
    others: tuple[Group, ...] = ()  # what the other replicas do

    @property
    def is_slow(self) -> bool:
        """Return whether all stalled replicas compute. The call may then only be slow."""
        return all(one.activity is Activity.COMPUTING for one in self.stalled)

    def __str__(self) -> str:
        who = name_replicas([one.replica_id for one in self.stalled])
        have = "has" if len(self.stalled) == 1 else "have"
        longest_s = max(one.quiet_s for one in self.stalled)
        where = f" in {self.call}" if self.call else ", and the program waits for an answer"
        return "\n".join(
            [
                f"{who} {have} made no progress for {longest_s:.1f} s{where}:",
                *map(str, self.stalled),
                *group_lines(self.others),
            ]
        )


def _limit(limit_s: float) -> str:
    return f"after {limit_s:g} s" if limit_s else "never"


@value_class
class StallWarning(Fact):
    """The warning about a stall: the stalled replicas, and when varsim will end the call."""

    stall: Stall
    blocked_s: float
    computing_s: float

    def __str__(self) -> str:
        fail_s = "stall_fail_s changes this limit."
        if not self.blocked_s and not self.computing_s:
            then = "The call waits without a limit (stall_fail_s is 0)."
        elif self.blocked_s == self.computing_s:
            then = f"The call fails {_limit(self.blocked_s)} without progress."
        else:
            then = (
                f"The call fails {_limit(self.blocked_s)} without progress if the replica's "
                f"processor time does not grow, and {_limit(self.computing_s)} if it grows or is "
                "unknown."
            )
            fail_s = "stall_fail_s sets one limit for both cases."
        return f"{self.stall}\n  {then} {fail_s} stall_warn_s changes the time of this warning."


@value_class
class StallFailure(Fact):
    """The error about a stall that has lasted too long."""

    stall: Stall

    @property
    def replica_ids(self) -> tuple[int, ...]:
        """Return the replicas whose processes were ended."""
        return tuple(one.replica_id for one in self.stall.stalled)

    @property
    def event(self) -> str:
        """Return the stall, and what varsim has done."""
        which = "these processes" if len(self.stall.stalled) > 1 else "this process"
        return (
            f"{self.stall}\n  varsim has ended {which}. stall_fail_s or VARSIM_CALL_TIMEOUT_S "
            "changes the limit; 0 means no limit."
        )

    @property
    def recorded(self) -> str:
        """Return the text for a record: what is true whether or not the strategy goes on."""
        return self.event

    def __str__(self) -> str:
        return (
            f"{self.event}\n"
            "  This strategy cannot run or write any more: strategy.restart() starts new workers."
        )
