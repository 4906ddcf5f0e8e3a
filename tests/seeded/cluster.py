"""A cluster of states without shells, with a random program, random faults and a random order.

Every link delivers messages in the order in which they were sent, and some of them twice. Between
links every order is possible. The methods of the program do what the shell of the coordinator does.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from tests.seeded.model import Model, ModelCall
from tests.seeded.operations import Operations
from tests.seeded.programs import Call, Create, Doing, Forget, Merge, SeededProgram
from tests.seeded.replicas import NOTHING, SeededReplica
from varsim.errors import CallTimeout, StillRunning, VarsimError, WorkerLost
from varsim.protocol.messages import (
    Abort,
    Commit,
    Layout,
    Message,
    Payload,
    ScatterCommit,
)
from varsim.sync.actions import (
    CallBegins,
    EndWorkers,
    Examine,
    Exchanged,
    Finish,
    Locate,
    PerformHostCall,
    ProgramDone,
    ProgramRefused,
    ProgramWrote,
    Reduce,
    RunMerge,
    Send,
    WarnOfStall,
)
from varsim.sync.coordinator_events import (
    Examined,
    HostCallDone,
    Located,
    LookForStalls,
    MergeFunctionReturns,
    MessageArrives,
    MessagesSent,
    ProgramCall,
    ProgramCreate,
    ProgramForget,
    ProgramGivesUp,
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
MOST_TURNS = 20_000
"""Far more than any program needs."""


class Interrupted(Exception):
    """Ctrl-C has ended the program's wait."""


class ProgramRaises(Exception):
    """The program's own function has raised."""


class CallFailed(Exception):
    """A call has ended with an error."""


class OperationRefused(Exception):
    """The state has refused an operation of the program."""


FAILURES = (ProgramRaises, CallFailed, OperationRefused)


class SeededCluster:
    """Run a program with the faults and the order that `rng` draws, and compare it with a model."""

    def __init__(self, program: SeededProgram, rng: random.Random, counts: Counter[str]) -> None:
        count = program.num_replicas
        self._program = program
        self._rng = rng
        self._counts = counts
        self.state = CoordinatorState(count, stall_limits=rng.choice(LIMITS))
        self.model = Model(count)
        self._calls: dict[int, ModelCall] = {}
        self.replicas = [
            SeededReplica(i, self.model, self._calls, rng, counts) for i in range(count)
        ]
        self._operations = Operations(program.specs, self.model, counts)
        self._starting: Call | None = None
        self._tokens: dict[int, int] = {}  # call_id → token, of calls that run
        self._answers: dict[int, Any] = {}
        self._effects: dict[int, Callable[[Any], None]] = {}  # token → effect on the model
        self._next_token = 1
        self._work: deque[Any] = deque()
        self._reductions: list[Reduce] = []
        self._now_s = 0.0
        self._turns = 0
        self._commits: list[deque[Message]] = [deque(maxlen=4) for _ in range(count)]
        self._interrupts = {rng.randrange(1, 300) for _ in range(rng.choice((0, 0, 0, 1, 2)))}
        self._deaths = {rng.randrange(1, 300) for _ in range(rng.choice((0, 0, 0, 0, 1, 2)))}
        self._unreported: set[int] = set()  # dead replicas that the coordinator does not know of
        self._jumps = rng.choice((0.0, 0.0, 0.0, 0.002, 0.05))
        self._speeds = [rng.choice((1.0, 1.0, 0.2, 0.02)) for _ in range(2 * count + 1)]

    def run(self) -> None:
        """Run the program; then let all replicas finish, and compare everything."""
        for doing in self._program.doings:
            try:
                self._do(doing)
            except (Interrupted, *FAILURES) as failure:
                self._counts[f"program goes on after {type(failure).__name__}"] += 1
        self._interrupts.clear()
        self._deaths.clear()
        self._settle()
        for variable in [*self.model.variables]:
            for doing in self._operations.reads(variable):
                with suppress(OperationRefused):
                    self._operate(doing, None)
        self._settle()
        self._compare()

    def _settle(self) -> None:
        """Let all replicas finish, and deliver all messages."""
        while True:
            for replica in self.replicas:
                replica.is_stalled = False
            if not any(True for _ in self._events()) and not self._work:
                return
            self._turn()

    def _compare(self) -> None:
        """Compare both states with the model and with each other, after all messages."""
        registry = self.state.registry
        assert not self.state.stragglers
        assert not registry.exchanges.is_open
        assert not self.state.is_reducing
        for index, variable in self.model.variables.items():
            number = index + 1
            known = registry.known(number, range(self.model.count))
            for i, replica in enumerate(self.replicas):
                if replica.is_dead:
                    continue
                assert not replica.frames
                held = replica.state.components.find(number)
                self.model.fetched(variable, [i], [held.component()], None)
                assert registry.version(number, i) == held.version
                assert known[i] is None or known[i].tobytes() == held.component().tobytes()
        for replica in self.replicas:
            for value, before in replica.seen:
                assert before == value.tobytes(), "a value changed after it was read"

    # ------------------------------------------------------------ the order of events

    def _events(self) -> Iterator[tuple[float, Callable[[], None]]]:
        """Yield the events that are possible now, with their weights."""
        for i, replica in enumerate(self.replicas):
            if replica.sent:
                yield self._speeds[2 * i], lambda i=i: self._arrive(i)  # type: ignore[misc]
            for event in replica.events():
                yield self._speeds[2 * i + 1], lambda r=replica, e=event: self._at(r, e)  # type: ignore[misc]
        if self._reductions:
            yield self._speeds[-1], self._reduce
        if self._unreported and not any(self.replicas[i].sent for i in self._unreported):
            yield 0.2, self._report_deaths
        if self.state.is_behind:
            yield 0.5, lambda: self._handle(MessagesSent())

    def _turn(self) -> None:
        """Perform work in the program's process, or one event."""
        self._turns += 1
        assert self._turns < MOST_TURNS, "the program does not end"
        if self._turns in self._interrupts:
            self._counts["interrupt"] += 1
            raise Interrupted
        if self._turns in self._deaths:
            self._die([self._rng.randrange(self.model.count)])
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
        event()
        replica.state.validate()

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

    # ------------------------------------------------------------ the coordinator

    def _handle(self, event: Any) -> None:
        """Give the state an event, perform the actions, and give the state their answers."""
        events = [event]
        for one in events:  # the loop adds events that answer actions
            for action in self.state.handle(one):
                events += self._perform(action)
            self.state.validate()
            self.model.lose(self.state.registry.losses)

    def _perform(self, action: Any) -> Sequence[Any]:
        match action:
            case Send():
                self._send(action.to, action.message)
            case Reduce():
                self._reductions.append(action)
            case ProgramDone() | ProgramRefused():
                self._answers[action.token] = action
                if isinstance(action, ProgramDone):
                    self._effects[action.token](action)
            case Finish():
                self._answers[action.token] = action
                self._finished(action)
            case CallBegins(token=token, call_id=call_id):
                self._tokens[call_id] = token
                call = self._calls[call_id] = self.model.begin(call_id, self._starting)
                if self._unreported:
                    call.certain = call.must_succeed = False
            case RunMerge() | PerformHostCall():
                self._work.append(action)
            case Locate(token=token, replica_ids=replica_ids):
                self._counts["replicas are located"] += 1
                return [Located(token, dict.fromkeys(replica_ids, "a.py:1"))]
            case Examine(replica_ids=replica_ids):
                seen = {i: self._sighting() for i in replica_ids}
                return [Examined(seen, self._now_s)]
            case EndWorkers(reasons=reasons):
                self._counts["process of a stalled replica is ended"] += 1
                self._die(reasons, drops_messages=True)
                return [self._losses()]
            case WarnOfStall():
                self._counts["warning of a stall"] += 1
            case Exchanged() | ProgramWrote():
                pass
            case _:
                raise AssertionError(action)
        return ()

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

    # ------------------------------------------------------------ the program

    def _do(self, doing: Doing, reader: int | None = None) -> None:
        match doing:
            case Call():
                self._call(doing)
            case Create(variable=index, value=value):
                spec = self._program.specs[index]
                if self.model.lost:
                    return  # the shell refuses to create a variable after a loss
                self._handle(ProgramCreate(spec, value.copy(), self._now_s))
                self.model.create(index, spec, value)
            case Forget(variable=index) if index in self.model.variables:
                self.model.forget(index)
                for commits in self._commits:
                    commits.clear()
                self._handle(ProgramForget(index + 1, self._now_s))
            case _ if doing.variable in self.model.variables:
                self._operate(doing, reader)
            case _:
                assert self.model.lost, "only after a loss can a variable not be created"

    def _operate(self, doing: Any, reader: int | None) -> None:
        """Perform an operation on a variable."""
        event = self._operations.event(doing)
        lost_before = bool(self.model.lost)
        self._effects[self._next_token] = lambda done: self._operations.done(doing, done, reader)
        answer = self._until_answered(event)
        if isinstance(answer, ProgramRefused):
            self._operations.refused(doing, answer.error, reader, lost_before=lost_before)
            self._check_still_running(answer.error)
            raise OperationRefused(answer.error)

    def _call(self, call: Call) -> None:
        """Call a function on all replicas."""
        self._starting = call
        arguments = [NOTHING] * self.model.count
        try:
            answer = self._until_answered(ProgramCall("step", NOTHING, arguments))
        finally:
            self._work = deque(work for work in self._work if work.call_id in self._tokens)
        if isinstance(answer, ProgramRefused):
            assert isinstance(answer.error, StillRunning | WorkerLost)
            self._check_still_running(answer.error)
            raise OperationRefused(answer.error)
        if not answer.returned:
            raise CallFailed(answer.error)

    def _check_still_running(self, error: VarsimError) -> None:
        """Check that the replicas that an error names have not left an abandoned call."""
        if isinstance(error, StillRunning):
            assert any(call.by_program for call in self._calls.values())
            late = [self.replicas[i] for i in error.replica_ids]
            assert all(one.frames or one.inbox or one.sent for one in late), error

    def _until_answered(self, event: Any) -> Any:
        """Handle an event of the program, then other events until the state answers its token."""
        token = event.token = self._next_token
        event.now_s = self._now_s
        self._next_token += 1
        try:
            self._handle(event)
            while token not in self._answers or self.state.is_reducing:
                self._turn()
        except Exception as error:
            if not isinstance(error, (Interrupted, *FAILURES)):
                raise
            self._give_up(token, type(error).__name__)
            raise
        return self._answers.pop(token)

    def _give_up(self, token: int, why: str) -> None:
        self._answers.pop(token, None)
        self._handle(ProgramGivesUp(token, why, self._now_s))
        for call_id in [i for i, one in self._tokens.items() if one == token]:
            call = self._calls[call_id]
            del self._tokens[call_id]
            self._counts["call is abandoned"] += 1
            call.certain, call.by_program = False, True
            self.model.fail(call)

    def _finished(self, finish: Finish) -> None:
        """Check how a call ends."""
        call = self._calls[finish.call_id]
        del self._tokens[finish.call_id]
        if finish.returned:
            self._counts["call succeeds"] += 1
            results = [returned.result.tree for returned in finish.returned]
            assert results == [(call.call_id, i) for i in range(self.model.count)]
            self.model.succeed(call)
            return
        if isinstance(finish.error, WorkerLost | CallTimeout):
            self._counts[f"call fails: {type(finish.error).__name__}"] += 1
            assert any(replica.is_dead for replica in self.replicas)
            self.model.fail(call)
            return
        assert not call.must_succeed, f"a call without mistakes fails: {finish.error}"
        at = call.leading
        raised = [
            i
            for i, (end, own) in enumerate(zip(call.ends, call.entries, strict=True))
            if end == "raised" and len(own) == at
        ]
        if finish.raised is not None:
            self._counts["call fails because a replica raises"] += 1
            assert call.ends[finish.raised[0]] == "raised"
            assert not call.certain or finish.raised[0] == raised[0]
        else:
            self._counts[f"call fails: {type(finish.error).__name__}"] += 1
            self._operations.failure_of_call = finish.error
            is_uneven = self._operations.is_uneven(call)
            assert is_uneven or not call.is_even, f"the replicas agree: {finish.error}"
            assert is_uneven or not (call.certain and raised), finish.error
        self.model.fail(call)

    # ------------------------------------------------------------ work for the replicas

    def _perform_work(self, work: RunMerge | PerformHostCall) -> None:
        call = self._calls[work.call_id]
        if isinstance(work, RunMerge):
            self.model.advance(call, work.position + 1)
            self._merge(work.arrivals[0].arguments.tree)
            pairs = [(work.position, i) for i in range(self.model.count)]
            results = [Payload(pair) for pair in pairs]
            self._handle(MergeFunctionReturns(work.call_id, work.position, results, self._now_s))
            return
        step, replica_id = work.host_call.request.tree
        self._counts["host call"] += 1
        self.model.advance(call, len(call.entries[replica_id]))
        failed = False
        try:
            for doing in step.doings[replica_id]:
                self._do(doing, replica_id)
        except OperationRefused:
            failed = True
        done = HostCallDone(work.call_id, replica_id, NOTHING, failed, self._now_s)
        self._handle(done)

    def _merge(self, step: Merge) -> None:
        """Run the function of a merge_call."""
        self._counts["merge_call"] += 1
        try:
            for doing in step.doings:
                self._do(doing)
        except FAILURES:
            if not step.catches:
                raise
            self._counts["failure is caught in a merge_call"] += 1
        if step.raises:
            raise ProgramRaises
