"""Reads are monotonic: a process never reads an older version after a newer one."""

from __future__ import annotations

from varsim.analysis import arithmetic
from varsim.analysis.checker import Checker, seen_by
from varsim.analysis.replay import Replay
from varsim.tracing.history import PROGRAM, Event

_Read = tuple[int, int, int | None, int | None]
"""A read: its event, its version, its component's lineage, and its digest.

Components with the same writes have the same lineage. A program's read has no lineage (None).
"""


class MonotonicReads(Checker):
    """Checks that no process reads an older version after a newer one.

    If nothing was written between two reads, a process must read the same value in both.
    """

    name = "monotonic-reads"
    promise = "no read goes back to an older version"

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        # (variable, process, replica) → the last read of this component by this process
        self._last: dict[tuple[int, int, int | None], _Read] = {}

    def on_forget(self, event: Event) -> None:
        """Drop the reads of the variable."""
        assert event.variable is not None
        self._last.pop((event.variable, PROGRAM, None), None)
        for replica in self.replay.replicas:
            for process in (PROGRAM, replica):
                self._last.pop((event.variable, process, replica), None)

    def on_read_by_program(self, event: Event) -> None:
        """Compare a read with the previous read."""
        self._compare(event, event.replica, None)

    def on_read_by_replica(self, event: Event) -> None:
        """Compare a read with the previous read."""
        self._compare(event, event.process, self.own(event).lineage)

    def _compare(self, event: Event, replica: int | None, lineage: int | None) -> None:
        assert event.variable is not None
        assert event.version is not None
        digest = event.digest if event.digest is not None else arithmetic.digest_of(event)
        mine = event.variable, event.process, replica
        last = self._last.get(mine)
        self._last[mine] = event.event, event.version, lineage, digest
        if last is None:
            return
        before, version, old_lineage, old_digest = last
        proof = (before, event.event)
        if event.version < version:
            reason = f"{seen_by(event)} reads version {event.version} after {version}"
            self.wrong(self.variable_of(event), reason, proof)
            return
        unwritten = lineage is not None and lineage == old_lineage
        if unwritten and digest != old_digest and None not in {digest, old_digest}:
            reason = f"{seen_by(event)} reads two different values without a write in between"
            self.wrong(self.variable_of(event), reason, proof)
