"""Replicas that still run the function of an ended call."""

from __future__ import annotations

from dataclasses import dataclass

from varsim.texts.facts import Fact


@dataclass(frozen=True, slots=True)
class RunningSince(Fact):
    """The function that one of them runs, with its start time and location."""

    replica_id: int
    function: str
    since_s: float
    now_at: str  # "" if it is not known
    seen_at: str  # location of its last message; "" if there was none

    def __str__(self) -> str:
        if self.now_at:
            at = f"now at {self.now_at}"
        elif self.seen_at:
            at = f"last message at {self.seen_at}"
        else:
            at = "no message since it began"
        return (
            f"  replica {self.replica_id}: has been running {self.function} for "
            f"{self.since_s:.1f} s; {at}"
        )


@dataclass(frozen=True, slots=True)
class StillInCall(Fact):
    """An operation needs replicas that have not left a call that the program gave up."""

    running: tuple[RunningSince, ...]
    given_up_s: float  # the time since then
    because: str

    def __str__(self) -> str:
        several = len(self.running) > 1
        who = ", ".join(str(one.replica_id) for one in self.running)
        lines = [
            f"{'replicas' if several else 'replica'} {who} {'are' if several else 'is'} still in a "
            f"call that was given up {self.given_up_s:.1f} s ago ({self.because}):",
            *map(str, self.running),
            "  varsim cannot interrupt a replica's own code. The new operation was not started: "
            "try again when the replica's function has ended; or call strategy.close(), which ends "
            "the workers and their variables, and make a new strategy.",
        ]
        return "\n".join(lines)
