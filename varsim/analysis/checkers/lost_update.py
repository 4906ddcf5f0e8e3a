"""Every write is committed, and every commit reaches its replicas: no update is lost."""

from __future__ import annotations

from varsim.analysis.checker import Checker
from varsim.analysis.replay import Replay
from varsim.tracing.history import Event


class LostUpdate(Checker):
    """Checks that writes are committed, and that commits reach every replica in time.

    A commit must arrive before the replica begins a later call, and before it answers a later
    request for its component. A failed call may drop writes that only some replicas have made.
    After the loss of a worker, the program's own write may fail.
    """

    name = "lost-update"
    promise = "no update is lost"

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        self._failed: set[int] = set()

    def on_abort(self, event: Event) -> None:
        """Record that the remaining writes of the call will not be committed."""
        if event.call is not None:
            self._failed.add(event.call)

    def on_finish(self, event: Event) -> None:
        """Check that all merges of a successful call are committed."""
        failed = event.note is not None or event.call in self._failed
        for merge in self.replay.left:
            writes = list(merge.writes.values())
            if not failed and writes and writes[0].variable is not None:
                variable = self.variable_of(writes[0])
                proof = (writes[0].event, event.event)
                self.wrong(variable, "a call has ended, and a write in it has no commit", proof)

    def on_commit(self, event: Event) -> None:
        """Check that writes by the program are committed in order."""
        change = self.replay.change
        if change is None or change.write is None:
            return
        variable = self.variable_of(event)
        waiting = self.replay.program_writes.waiting(variable.number)
        if waiting is None or event.replica is not None or variable.promise.deferred:
            return
        if waiting.event < change.write.event.event:
            proof = (waiting.event, event.event)
            self.wrong(variable, "a later write is committed before an earlier one", proof)

    def on_begin(self, event: Event) -> None:
        """Check that all commits that were made before the call have arrived."""
        oldest = self.replay.in_flight.oldest(event.process)
        if oldest is not None and event.cause is not None and oldest.event.event < event.cause:
            self.wrong(
                self.variable_of(oldest.event),
                f"version {oldest.event.version} has not reached replica {event.process} before a "
                "later call began there",
                (oldest.event.event, event.event),
            )

    def on_component(self, event: Event) -> None:
        """Check that the answer includes all commits that were made before the request."""
        variable = self.variable_of(event)
        coming = self.replay.in_flight.of(variable.number, event.process)
        if coming and event.cause is not None and coming[0].event.event < event.cause:
            self.wrong(
                variable,
                f"replica {event.process} answers without version {coming[0].event.version}",
                (coming[0].event.event, event.event),
            )

    def on_read_by_program(self, event: Event) -> None:
        """Check that the program's writes are committed before the program reads."""
        variable = self.variable_of(event)
        waiting = self.replay.program_writes.waiting(variable.number)
        if waiting is None or variable.promise.deferred or self.replay.some_lost:
            return
        if None in {event.replica, waiting.replica} or event.replica == waiting.replica:
            proof = (waiting.event, event.event)
            self.wrong(variable, "the program reads before its own write is committed", proof)

    def end(self) -> None:
        """Report writes of the program without a commit."""
        for written in self.replay.program_writes.left():
            variable = self.variable_of(written.event)
            if not variable.promise.deferred and not self.replay.some_lost:
                reason = "the record does not show whether a write by the program had an effect"
                self.undecided(variable, reason, written.event.event)
