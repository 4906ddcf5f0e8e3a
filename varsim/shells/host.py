"""Define what a running call needs in the program's process, besides the coordinator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from varsim.protocol.messages import HostCall, MergeCall, Payload, Report


class Host(Protocol):
    """The operations that a running call needs in the program's process."""

    def merge(self, merge_calls: Sequence[MergeCall]) -> Sequence[Payload]:
        """Run a merge_call's function in cross-replica context; return a result per replica."""

    def perform(self, replica_id: int, host_call: HostCall) -> tuple[Payload, bool]:
        """Perform a replica's request; return the result, and True if it is an exception."""

    def show(self, replica_id: int, text: str, *, is_error: bool) -> None:
        """Print text that a replica's function has printed, while the function runs."""

    def report(self, replica_id: int, report: Report) -> None:
        """Process a replica's report at the end of the call, even if the call has failed."""

    def warn(self, text: str, location: str) -> None:
        """Show a warning of the coordinator at the end of the call."""
