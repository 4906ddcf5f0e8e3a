"""Locks that are not needed in the recorded run.

A lock is *not contended* if only one replica uses it, or if other operations, such as barriers,
already order all its critical sections. It *protects nothing* if its critical sections access
variables, but no value that another replica writes. Another replica writes a value of a variable if
it publishes or pushes, or if it writes a variable whose components all stand for one value. An
exclusive lock around reads alone is not reported: it probably protects a file, as for a line of a
log.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Certainty,
    Evidence,
    Finder,
    Finding,
    FindingKind,
    finding_of,
)
from varsim.analysis.locks import LOCKS, Grant, LockTracker
from varsim.analysis.observer import Take
from varsim.analysis.outcome import Note
from varsim.texts.facts import name_replicas, times
from varsim.tracing.history import Event

UNCONTENDED: Final = FindingKind(
    name="lock without contention", certainty=Certainty.PATTERN, costs_only=True
)
UNNEEDED: Final = FindingKind(name="lock that protects nothing", certainty=Certainty.PATTERN)

_ENOUGH: Final = 5
"""Least number of critical sections, or of changes of the holder, that a finding needs."""

_MOST_NAMES: Final = 3

_PLAIN: Final = frozenset({"begin", "install", "component", "wait", "ask"})
"""Kinds of events of replicas that do not show what a lock protects."""


@dataclass(slots=True)
class _Use:
    """The use of one lock in all calls."""

    sections: Evidence = field(default_factory=Evidence)
    by_replica: Counter[int] = field(default_factory=Counter)
    waits: int = 0  # requests that had to wait
    is_shared: bool = False  # whether a reader used it
    changes: int = 0  # grants to another replica than the last holder
    unordered: int = 0  # … whose request is not ordered after the last release
    accessed: dict[int, set[int]] = field(default_factory=dict)  # variable → replicas
    has_written: bool = False  # whether a critical section wrote one of them
    is_opaque: bool = False  # whether a critical section did something else than reads and writes


class LockUse(Finder):
    """Finds locks without contention, and locks that protect nothing."""

    kinds = (UNCONTENDED, UNNEEDED)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._tracker = LockTracker()
        self._uses: dict[str, _Use] = {}
        self._inside: dict[int, list[tuple[int | None, str]]] = {}  # replica → held locks
        # variable → replicas that write their components; that publish, or push to the copy
        self._writers: defaultdict[int, set[int]] = defaultdict(set)
        self._sharers: defaultdict[int, set[int]] = defaultdict(set)
        self._knew: dict[int, tuple[int, ...]] = {}  # replica → its clock at its last request

    def on_request(self, event: Event) -> None:
        """Take a request for a lock; other requests in a critical section hide what it protects."""
        self._tracker.request(event)
        self._knew[event.process] = tuple(self.context.clocks.clock(event.process))
        if event.operation not in LOCKS:
            self._hide(event)

    def on_release(self, event: Event) -> None:
        """End a critical section."""
        self._tracker.release(event)
        held = event.call, event.note or ""
        if held in self._inside.get(event.process, ()):
            self._inside[event.process].remove(held)

    def on_return(self, event: Event) -> None:
        """End all critical sections of a replica."""
        self._tracker.end_function(event)
        inside = self._inside.get(event.process, ())
        self._inside[event.process] = [one for one in inside if one[0] != event.call]

    on_raise = on_return

    def on_receive(self, event: Event) -> None:
        """Follow the requests that the program knows."""
        self._tracker.receive(event)

    def on_finish(self, event: Event) -> None:
        """Drop the locks of a call."""
        self._tracker.end_call(event.call)
        for inside in self._inside.values():
            inside[:] = [one for one in inside if one[0] != event.call]

    def on_answer(self, event: Event) -> None:
        """Begin a critical section."""
        grant = self._tracker.grant(event) if event.operation == "granted" else None
        if event.replica is not None:
            self._tracker.asked.pop(event.replica, None)
        if grant is not None:
            self._begin(grant)

    def _begin(self, grant: Grant) -> None:
        request, lock = grant.request, grant.request.note or ""
        replica_id, last = request.process, grant.previous
        use = self._uses.setdefault(lock, _Use())
        use.sections.add(request)
        use.by_replica[replica_id] += 1
        use.waits += grant.had_to_wait
        use.is_shared |= request.operation == "read_lock"
        self._inside.setdefault(replica_id, []).append((request.call, lock))
        if last is not None and last.request.process != replica_id:
            use.changes += 1
            use.unordered += self._knew[replica_id][last.request.process] < (last.released or 0)

    def on_read_by_replica(self, event: Event) -> None:
        """Record an access to a variable in a critical section."""
        if event.variable is not None:
            for _, lock in self._inside.get(event.process, ()):
                self._uses[lock].accessed.setdefault(event.variable, set()).add(event.process)

    on_obtain_by_replica = on_read_by_replica

    def on_write_by_replica(self, event: Event) -> None:
        """Record a write, inside or outside a critical section."""
        if event.variable is not None:
            self._writers[event.variable].add(event.process)
            self._write(event)

    def on_push_by_replica(self, event: Event) -> None:
        """Record a push or a publication, inside or outside a critical section."""
        if event.variable is not None:
            self._sharers[event.variable].add(event.process)
            self._write(event)

    on_publish_by_replica = on_push_by_replica

    def _write(self, event: Event) -> None:
        self.on_read_by_replica(event)
        for _, lock in self._inside.get(event.process, ()):
            self._uses[lock].has_written = True

    def taker(self, kind: str, *, by_program: bool) -> Take | None:
        """Return the method for events of a kind; unknown kinds may use what a lock protects."""
        found = super().taker(kind, by_program=by_program)
        return self._hide if found is None and not by_program and kind not in _PLAIN else found

    def _hide(self, event: Event) -> None:
        """Record that a critical section did something whose effects are not known."""
        for _, lock in self._inside.get(event.process, ()):
            self._uses[lock].is_opaque = True

    # ------------------------------------------------------------ findings

    def finish(self) -> list[Finding]:
        """Return the findings about each lock."""
        found = (self._findings(lock, use) for lock, use in sorted(self._uses.items()))
        return [finding for findings in found for finding in findings]

    def _findings(self, lock: str, use: _Use) -> Iterator[Finding]:
        sections = times(use.sections.count, "critical section")
        (only, *others) = sorted(use.by_replica)
        if use.sections.count < _ENOUGH:
            return
        if not others:
            yield finding_of(
                UNCONTENDED,
                None,
                use.sections,
                f"only replica {only} used lock {lock!r}, in {sections}. It never waited.",
                "Remove the lock; or take it on every replica that uses what the lock protects.",
            )
        elif not use.waits and not use.is_shared and use.changes >= _ENOUGH and not use.unordered:
            yield finding_of(
                UNCONTENDED,
                None,
                use.sections,
                f"{name_replicas(sorted(use.by_replica))} used lock {lock!r} in {sections}, and "
                "never waited for it. Other operations, such as barriers and collectives, already "
                "put these critical sections in order.",
                "Remove the lock if this order is intended.",
            )
        is_known = (use.has_written or use.is_shared) and not use.is_opaque
        if use.accessed and is_known and not self._protects(use):
            yield finding_of(
                UNNEEDED,
                None,
                use.sections,
                f"lock {lock!r} protects no value that another replica writes: in {sections}, the "
                f"replicas accessed values of {times(len(use.accessed), 'variable')} that no other "
                "replica writes.",
                "Remove the lock, unless it protects something outside variables, such as a file.",
            )

    def _protects(self, use: _Use) -> bool:
        """Return whether another replica writes a value of the critical sections."""
        return any(
            self._writers_of(variable) - {replica_id}
            for variable, replicas in use.accessed.items()
            for replica_id in replicas
        )

    def _writers_of(self, variable: int) -> set[int]:
        """Return the replicas whose writes other replicas' values of a variable depend on.

        If the promise of the variable is not known, they may depend on the writes of all replicas.
        """
        facts = self.context.variables.get(variable)
        is_one = facts is None or facts.mirrored or variable in self.context.taken_as_one
        return self._sharers[variable] | (self._writers[variable] if is_one else set())

    def notes(self) -> list[Note]:
        """Return a note about the locks whose critical sections access no variable."""
        bare = [lock for lock, use in sorted(self._uses.items()) if not use.accessed]
        if not bare:
            return []
        more = len(bare) - _MOST_NAMES
        names = ", ".join(map(repr, bare[:_MOST_NAMES])) + (f" and {more} more" if more > 0 else "")
        return [
            Note(
                text=f"what {'this lock protects' if len(bare) == 1 else 'these locks protect'}: "
                f"{names}. The critical sections access no variable; files and other resources "
                "are not recorded"
            )
        ]
