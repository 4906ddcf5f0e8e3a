"""Keep track of one running call on a replica."""

from __future__ import annotations

from dataclasses import dataclass

from varsim.sync.components import ReplicaVariable


@dataclass(slots=True)
class ReplicaCall:
    """The progress of one call on this replica, and what the program waits for."""

    call_id: int
    next_index: int = 0  # position of the next collective
    left: int = 0  # number of collectives that were sent
    settled: int = 0  # number of collectives whose commits have arrived
    aborted: str | None = None  # why the call has failed; None if it has not failed
    awaits: ReplicaVariable | None = None  # the program waits for commits of this variable
    reads: bool = False  # whether the program reads the variable after this wait
    awaits_answer: bool = False  # whether the program waits for an answer

    def owe(self, variable: ReplicaVariable) -> None:
        """Record a contribution to a variable, whose commit must arrive."""
        variable.owed_to = self.call_id
        variable.owed_index = self.next_index
        self.next_index += 1
