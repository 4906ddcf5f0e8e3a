"""One running call, as a replica sees it."""

from __future__ import annotations

from dataclasses import dataclass

from varsim.sync.components import ReplicaVariable


@dataclass(slots=True)
class ReplicaCall:
    """The progress of one call on this replica, and what its program waits for."""

    call_id: int
    next_index: int = 0
    left: int = 0  # collectives that were sent
    settled: int = 0  # collectives whose commits have come
    aborted: str | None = None
    awaits: ReplicaVariable | None = None  # the program waits for commits of this variable
    reads: bool = False  # whether it then reads the variable
    awaits_answer: bool = False  # the program waits for a message

    def owe(self, variable: ReplicaVariable) -> None:
        """Give a contribution to a variable its number, and note that its commit must come."""
        variable.owed_to = self.call_id
        variable.owed_index = self.next_index
        self.next_index += 1
