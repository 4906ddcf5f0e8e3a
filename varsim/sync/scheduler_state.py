"""Decide which worker runs which closure: the queue of a cluster coordinator.

A closure is a function that one worker runs once. If its worker is lost, another worker runs it
again, so it runs *at least once*. The first closure that fails cancels all closures that no worker
has got yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from varsim.value_class import value_class

AHEAD: Final = 2
"""How many closures a worker has at a time: one that it runs, and one that it begins at once. With
more, a failure could cancel fewer closures, and the loss of a worker would repeat more of them."""

QUEUE_LIMIT: Final = 2**18
"""The largest number of closures that wait for a worker, as in TensorFlow."""


SLOW_S: Final = 60.0
"""After so many seconds, a closure is reported, once: it may never end. Nothing ends it, because a
closure can train for long."""


class Ending(Enum):
    """How a closure has ended."""

    RETURNED = "returned"
    RAISED = "raised"

    __hash__ = object.__hash__


@value_class
class Schedule:
    """The program schedules a closure."""

    closure_id: int
    now_s: float = 0.0


@value_class
class ClosureEnds:
    """A worker has run a closure."""

    worker: int
    closure_id: int
    ending: Ending
    now_s: float = 0.0


@value_class
class WorkerEnds:
    """The process of a worker has ended."""

    worker: int
    now_s: float = 0.0


@value_class
class CancelAll:
    """A parameter server is lost, so no closure can continue."""


@value_class
class LookForSlow:
    """The program waits, and has handled all messages that have arrived."""

    now_s: float


SchedulerEvent = Schedule | ClosureEnds | WorkerEnds | CancelAll | LookForSlow


@value_class
class Assign:
    """Send a closure to a worker."""

    worker: int
    closure_id: int


@value_class
class Settle:
    """A closure has ended, and its result is final."""

    closure_id: int
    ending: Ending


@value_class
class Cancel:
    """These closures are not run any more; a worker may have begun the last run of some."""

    closure_ids: tuple[int, ...]


@value_class
class RunAgain:
    """The worker of these closures was lost; they wait for another worker."""

    worker: int
    closure_ids: tuple[int, ...]


@value_class
class WarnOfSlow:
    """Report a closure that a worker has been running for long."""

    worker: int
    closure_id: int
    for_s: float


SchedulerAction = Assign | Settle | Cancel | RunAgain | WarnOfSlow


@dataclass(slots=True)
class SchedulerState:
    """The queue of closures, and the workers that run them."""

    num_workers: int
    _queue: deque[int] = field(default_factory=deque)
    _running: dict[int, list[int]] = field(default_factory=dict)  # worker → its closures, in order
    _failed: bool = False
    _begun: dict[int, float] = field(default_factory=dict)  # worker → begin of its first closure
    _reported: set[int] = field(default_factory=set)  # closures that run, and were reported

    def __post_init__(self) -> None:
        self._running = {worker: [] for worker in range(self.num_workers)}

    @property
    def workers(self) -> frozenset[int]:
        """Return the workers that are not lost."""
        return frozenset(self._running)

    @property
    def has_room(self) -> bool:
        """Return whether another closure can be scheduled now."""
        return len(self._queue) < QUEUE_LIMIT and not self.is_failing

    @property
    def is_idle(self) -> bool:
        """Return whether every closure has ended."""
        return not self._queue and not any(self._running.values())

    @property
    def busy(self) -> frozenset[int]:
        """Return the workers that run a closure."""
        return frozenset(worker for worker, closures in self._running.items() if closures)

    @property
    def queued(self) -> int:
        """Return the number of closures that wait for a worker."""
        return len(self._queue)

    def running(self, worker: int) -> tuple[int, float] | None:
        """Return the closure that a worker runs, and when it began; None if the worker is idle."""
        closures = self._running.get(worker)
        return (closures[0], self._begun.get(worker, 0.0)) if closures else None

    @property
    def is_failing(self) -> bool:
        """Return whether a closure has failed, and others still run."""
        return self._failed and not self.is_idle

    def handle(self, event: SchedulerEvent) -> list[SchedulerAction]:
        """Return what happens after an event."""
        actions: list[SchedulerAction] = []
        match event:
            case Schedule(closure_id=closure_id):
                assert self.has_room, "the shell waits for room"
                self._failed = False
                self._queue.append(closure_id)
            case ClosureEnds(worker=worker, closure_id=closure_id, ending=ending):
                if closure_id not in self._running.get(worker, ()):
                    return []  # the worker was lost; its closure runs elsewhere
                self._running[worker].remove(closure_id)
                self._begun[worker] = event.now_s
                self._reported.discard(closure_id)
                actions.append(Settle(closure_id, ending))
                if ending is Ending.RAISED:
                    actions += self._fail()
            case WorkerEnds(worker=worker):
                actions += self._lose(worker)
            case CancelAll():
                return self._fail(also_running=True)
            case LookForSlow(now_s=now_s):
                return list(self._slow(now_s))
        actions += self._assignments(event.now_s)
        return actions

    def _slow(self, now_s: float) -> Iterator[SchedulerAction]:
        for worker, closures in sorted(self._running.items()):
            for_s = now_s - self._begun.get(worker, now_s)
            if closures and for_s >= SLOW_S and closures[0] not in self._reported:
                self._reported.add(closures[0])
                yield WarnOfSlow(worker, closures[0], for_s)

    def _fail(self, *, also_running: bool = False) -> list[SchedulerAction]:
        self._failed = True
        cancelled = list(self._queue)
        self._queue.clear()
        if also_running:
            for closures in self._running.values():
                cancelled += closures
                closures.clear()
        return [Cancel(tuple(cancelled))] if cancelled else []

    def _lose(self, worker: int) -> list[SchedulerAction]:
        closures = self._running.pop(worker, [])
        if not self._running:
            self._queue.extendleft(reversed(closures))
            return self._fail()
        if not closures:
            return []
        if self._failed:
            return [Cancel(tuple(closures))]
        self._queue.extendleft(reversed(closures))
        return [RunAgain(worker, tuple(closures))]

    def _assignments(self, now_s: float) -> list[SchedulerAction]:
        """Give waiting closures to the workers with the fewest closures."""
        assigned: list[SchedulerAction] = []
        while self._queue and self._running:
            worker = min(self._running, key=lambda one: (len(self._running[one]), one))
            if len(self._running[worker]) >= AHEAD:
                break
            closure_id = self._queue.popleft()
            if not self._running[worker]:
                self._begun[worker] = now_s
            self._running[worker].append(closure_id)
            assigned.append(Assign(worker, closure_id))
        return assigned

    def validate(self) -> None:
        """Check that no closure is in two places, and that no worker is idle without need."""
        held = [*self._queue, *(one for closures in self._running.values() for one in closures)]
        assert len(held) == len(set(held)), "a closure is queued or runs twice"
        if self._queue and self._running:
            assert all(len(closures) == AHEAD for closures in self._running.values())
