"""Record the actions of the program's own process, besides its messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from varsim.protocol.messages import Combination, Commit, ComponentCommit, Message, ScatterCommit
from varsim.spec import Array, Operand, Operation
from varsim.tracing.manual import sync_name
from varsim.tracing.trace import Trace
from varsim.tracing.trace_format import CARRY

_COMMITS: Final = Commit | ScatterCommit | ComponentCommit


class ProgramNotes:
    """Adds records to the program's trace, if there is one."""

    def __init__(self, trace: Trace | None) -> None:
        self._trace = trace
        self.rows: Sequence[int] = ()
        """Number of rows in each replica's arguments of the next call; empty if no number is 0."""

    def began(self, call_id: int) -> None:
        """Record the numbers of rows of a new call, before any replica gets its arguments."""
        rows, self.rows = self.rows, ()
        if self._trace is not None and rows:
            self._trace.shares(call_id, rows)

    def wrote(
        self,
        replica_id: int | None,
        variable_id: int,
        operation: Operation,
        value: Operand,
        location: str,
    ) -> None:
        """Record that the program writes one or all components. No commit has been sent yet."""
        if self._trace is not None:
            self._trace.wrote(variable_id, replica_id, operation, location, value)

    def synced(self, variable_id: int, how: Combination, value: Array, location: str) -> None:
        """Record that the program synchronises a variable, before it writes the value."""
        if self._trace is not None:
            name, root = sync_name(how), how.root
            self._trace.shared(name, variable_id, root, 0, 0, location, value, how.group)

    def carried(self, variable_id: int, owner: int | None, version: int, value: Array) -> None:
        """Record a shared value of an earlier incarnation.

        Args:
            owner: The owner of the published component; None for the authoritative copy.
        """
        if self._trace is not None:
            self._trace.shared(CARRY, variable_id, owner, version, 0, "", value)

    def decided(self, outgoing: Mapping[int, Sequence[Message]]) -> None:
        """Record commits that have not been sent yet, because the program may see their effect.

        Args:
            outgoing: replica_id → its messages. A commit to several replicas is recorded once, for
                the first of them.
        """
        if self._trace is not None:
            commits: dict[int, tuple[int, Message]] = {}
            for replica_id, messages in outgoing.items():
                for one in messages:
                    if isinstance(one, _COMMITS):
                        commits.setdefault(id(one), (replica_id, one))
            if commits:
                self._trace.decided(*zip(*commits.values(), strict=True))

    def finished(
        self, call_id: int, error: str | None, outgoing: Mapping[int, Sequence[Message]]
    ) -> None:
        """Record the end of a call."""
        if self._trace is not None:
            self.decided(outgoing)
            self._trace.finished(call_id, error)
