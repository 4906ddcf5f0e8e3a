"""The replicas of one simulated incarnation, with their links, deaths and a random order of events.

Every link delivers messages in the order in which they were sent, and some of them twice. Between
links every order is possible.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.seeded.faults import Faults
from tests.seeded.model import Model, ModelCall
from tests.seeded.replicas import SeededReplica
from varsim.errors import VarsimError
from varsim.protocol.messages import (
    Abort,
    Commit,
    Layout,
    Message,
    ScatterCommit,
)
from varsim.sync.actions import Reduce
from varsim.sync.coordinator_events import (
    LookForStalls,
    MessageArrives,
    MessagesSent,
    ReductionDone,
    ReplicasLost,
    TimePasses,
)
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.stalls import Sighting, StallLimits
from varsim.texts.losses import LostWorker

TURN_S = 1e-6
"""The simulated time of one turn: a call takes much less than the shortest deadline."""

LIMITS = (
    StallLimits(warn_s=5.0, blocked_s=0.0, computing_s=0.0),  # a stall never ends a process
    StallLimits(warn_s=3.0, blocked_s=6.0, computing_s=12.0),
)


class BrokenPromise(Exception):
    """A state has raised an error, although its event was valid."""


@contextmanager
def valid() -> Iterator[None]:
    """Report an error of a state as a broken promise, which no program catches."""
    try:
        yield
    except VarsimError as error:
        raise BrokenPromise from error


class SeededNetwork:
    """Draws the next event of a coordinator's state and its replicas.

    Args:
        former: The network of the previous incarnation; its workers still run for a while.
    """

    def __init__(
        self,
        count: int,
        faults: Faults,
        rng: random.Random,
        counts: Counter[str],
        former: SeededNetwork | None,
    ) -> None:
        self.num_replicas = count
        self.state = CoordinatorState(count, stall_limits=rng.choice(LIMITS))
        self.model = Model(count)
        self.is_closed = False
        self._faults = faults
        self._rng = rng
        self._counts = counts
        self._former = former
        self._calls: dict[int, ModelCall] = {}
        self._tokens: dict[int, int] = {}  # call_id → token, of calls that run
        self.replicas = [
            SeededReplica(i, self.model, self._calls, rng, counts) for i in range(count)
        ]
        self._work: deque[Any] = deque()
        self._reductions: list[Reduce] = []
        self._now_s = 0.0
        self._commits: list[deque[Message]] = [deque(maxlen=4) for _ in range(count)]
        self._unreported: set[int] = set()  # dead replicas that the coordinator does not know of
        self._jumps = rng.choice((0.0, 0.0, 0.0, 0.002, 0.05))
        self._speeds = [rng.choice((1.0, 1.0, 0.2, 0.02)) for _ in range(2 * count + 1)]

    def _handle(self, event: Any) -> None:
        raise NotImplementedError

    def _perform_work(self, work: Any) -> None:
        raise NotImplementedError

    def settle(self) -> None:
        """Let all replicas finish, and deliver all messages."""
        while True:
            for replica in self.replicas:
                replica.is_stalled = False
            if not any(True for _ in self._events()) and not self._work:
                return
            self._turn()

    def compare(self) -> None:
        """Compare both states with the model and with each other, after all messages."""
        registry = self.state.registry
        assert not self.state.stragglers
        assert not registry.exchanges.is_open
        assert not self.state.is_reducing
        for index, variable in self.model.variables.items():
            number = index + 1
            known = registry.known(number, range(self.num_replicas))
            for i, replica in enumerate(self.replicas):
                if replica.is_dead:
                    continue
                assert not replica.frames
                held = replica.state.components.find(number)
                self.model.fetched(variable, [i], [held.component()], None)
                assert registry.version(number, i) == held.version
                assert known[i] is None or known[i].tobytes() == held.component().tobytes()
        self.compare_seen()

    def compare_seen(self) -> None:
        """Check that no value has changed after it was read."""
        for replica in self.replicas:
            for value, before in replica.seen:
                assert before == value.tobytes(), "a value changed after it was read"

    # ------------------------------------------------------------ the order of events

    def _events(self) -> Iterator[tuple[float, Callable[[], None]]]:
        """Yield the events that are possible now, with their weights."""
        for i, replica in enumerate(self.replicas):
            if replica.sent:
                yield self._speeds[2 * i], lambda i=i: self._arrive(i)  # type: ignore[misc]
            yield from self._of_replica(replica, self._speeds[2 * i + 1])
        if self._former is not None:
            for replica in self._former.replicas:
                for weight, event in self._of_replica(replica, 0.1):
                    yield weight, lambda e=event: self._at_former(e)  # type: ignore[misc]
        if self._reductions:
            yield self._speeds[-1], self._reduce
        if self._unreported and not any(self.replicas[i].sent for i in self._unreported):
            yield 0.2, self._report_deaths
        if self.state.is_behind:
            yield 0.5, lambda: self._handle(MessagesSent())

    def _of_replica(
        self, replica: SeededReplica, weight: float
    ) -> Iterator[tuple[float, Callable[[], None]]]:
        for event in replica.events():
            yield weight, lambda e=event: self._at(replica, e)  # type: ignore[misc]

    def _turn(self) -> None:
        """Perform work in the program's process, or one event."""
        if self._faults.turn():
            self._die([self._rng.randrange(self.num_replicas)])
        if self._work and not self.state.is_reducing:
            self._perform_work(self._work.popleft())
            return
        self._now_s += TURN_S
        events = [*self._events()]
        if not events or self._rng.random() < self._jumps:
            self._pass_time(is_needed=not events)
            return
        weights = [weight for weight, _ in events]
        ((_, event),) = self._rng.choices(events, weights)
        event()

    def _at(self, replica: SeededReplica, event: Callable[[], None]) -> None:
        with valid():
            event()
        replica.state.validate()

    def _at_former(self, event: Callable[[], None]) -> None:
        self._counts["event of a former worker"] += 1
        event()

    def _arrive(self, replica_id: int) -> None:
        message = self.replicas[replica_id].sent.popleft()
        self._handle(MessageArrives(replica_id, message, self._now_s))
        if isinstance(message, Layout) and self._rng.random() < 0.1:
            self._counts["duplicate Layout"] += 1
            self._handle(MessageArrives(replica_id, message, self._now_s))

    def _reduce(self) -> None:
        reduction = self._reductions.pop(self._rng.randrange(len(self._reductions)))
        self._handle(ReductionDone(reduction.token, reduction.computed()))

    def _pass_time(self, *, is_needed: bool) -> None:
        """Let the next deadline pass; or look for stalls, and let a stalled replica go on."""
        deadline_s, look_at_s = self.state.deadline_s, self.state.stalls.look_at_s
        stalled = [replica for replica in self.replicas if replica.is_stalled]
        if is_needed:
            assert stalled or deadline_s is not None, "nothing can go on"
        for call_id in self._tokens:
            self._calls[call_id].certain = False
        if deadline_s is not None and self._rng.random() < 0.5:
            self._counts["deadline passes"] += 1
            self._now_s = max(self._now_s, deadline_s)
            self._handle(TimePasses(self._now_s))
        elif not self.state.is_reducing:
            self._counts["look for stalls"] += 1
            self._now_s = max(self._now_s, look_at_s)
            self._handle(LookForStalls(self._now_s))
        if stalled and self._rng.random() < 0.15:
            self._rng.choice(stalled).is_stalled = False

    def _die(self, replica_ids: Iterable[int], *, drops_messages: bool = False) -> None:
        """Let replicas die. Some of the messages that they have sent never arrive."""
        for replica_id in replica_ids:
            replica = self.replicas[replica_id]
            if not replica.is_dead:
                self._counts["death"] += 1
                self._unreported.add(replica_id)
                kept = 0 if drops_messages else self._rng.randint(0, len(replica.sent))
                replica.die(kept)
        for call_id in self._tokens:
            call = self._calls[call_id]
            call.certain = call.must_succeed = False

    def _report_deaths(self) -> None:
        self._handle(self._losses())

    def _losses(self) -> ReplicasLost:
        """Return the event of all deaths that the coordinator does not know of."""
        dead, self._unreported = self._unreported, set()
        workers = tuple(LostWorker(i, "was killed by SIGKILL") for i in sorted(dead))
        return ReplicasLost(workers, self._now_s)

    def _sighting(self) -> Sighting:
        if self._rng.random() < 0.2:
            return Sighting()
        return Sighting(7, processor_s=self._rng.choice((0.0, self._now_s)))

    # ------------------------------------------------------------ links

    def _send(self, to: int, message: Message) -> None:
        inbox = self.replicas[to].inbox
        self._counts[f"sends {message.name}"] += 1
        if self.replicas[to].is_dead:
            assert to not in self.model.lost, "a message to a replica that is lost"
            return
        inbox.append(message)
        if isinstance(message, Commit | ScatterCommit):
            self._commits[to].append(message)
        if self._rng.random() > 0.03:
            return
        if isinstance(message, Abort):
            self._counts["duplicate Abort"] += 1
            inbox.append(message)
        elif self._commits[to]:
            late = self._rng.choice(self._commits[to])
            if self._is_alive(late):
                self._counts["duplicate commit"] += 1
                inbox.append(late)

    def _is_alive(self, commit: Any) -> bool:
        """Return whether the variables of a commit still exist."""
        single = isinstance(commit, ScatterCommit)
        numbers = [commit.variable_id] if single else commit.variable_ids.tolist()
        return all(number in self.state.registry.specs for number in numbers)
