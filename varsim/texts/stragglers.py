"""Facts about replicas that still run the function of an ended call."""

from __future__ import annotations

from varsim.texts.facts import Fact
from varsim.value_class import value_class


@value_class
class RunningSince(Fact):
    """The function that a straggler runs, with its start time and location."""

    replica_id: int
    function: str
    since_s: float
    now_at: str  # the line that the replica runs now; "" if it is not known
    seen_at: str  # location of the replica's last message; "" if it has sent no message

    def __str__(self) -> str:
        if self.now_at:
            at = f"now at {self.now_at}"
        elif self.seen_at:
            at = f"last message at {self.seen_at}"
        else:
            at = "no message since the function began"
        return (
            f"  replica {self.replica_id}: has been running {self.function} for "
            f"{self.since_s:.1f} s; {at}"
        )


@value_class
class StillInCall(Fact):
    """An operation needs replicas that still run a call that the program has abandoned."""

    running: tuple[RunningSince, ...]
    given_up_s: float  # the time since the program abandoned the call
    because: str

    def __str__(self) -> str:
        several = len(self.running) > 1
        who = ", ".join(str(one.replica_id) for one in self.running)
        lines = [
            f"{'replicas' if several else 'replica'} {who} still {'run' if several else 'runs'} "
            f"the function of a call that ended {self.given_up_s:.1f} s ago ({self.because}):",
            *map(str, self.running),
            "  varsim cannot interrupt a replica's own code. The new operation was not started: "
            "try again when the replica's function has ended. Or call strategy.restart(), which "
            "ends the workers and starts new ones.",
        ]
        return "\n".join(lines)
