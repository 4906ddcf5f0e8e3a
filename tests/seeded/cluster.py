"""A cluster of states without shells and processes: one incarnation, with a random order of events.

Every link delivers messages in the order in which they were sent, and some of them twice. Between
links every order is possible. The cluster has the methods of `Coordinator` that `Incarnations`
uses, and they follow this shell.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Protocol

from tests.properties.operation_model import Array
from tests.seeded.faults import Faults, Interrupted
from tests.seeded.network import SeededNetwork, valid
from tests.seeded.operations import Operations
from tests.seeded.programs import Call, Host, Merge
from tests.seeded.replicas import NOTHING
from varsim.errors import (
    CallTimeout,
    ContextError,
    MismatchError,
    StartError,
    StillRunning,
    VariableError,
    VarsimError,
    WorkerLost,
)
from varsim.protocol.messages import (
    Payload,
    Returned,
)
from varsim.spec import NamedArrays, VariableSpec
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
    MergeFunctionReturns,
    ProgramCall,
    ProgramCreate,
    ProgramFetch,
    ProgramFetchStates,
    ProgramForget,
    ProgramGivesUp,
    ProgramOperation,
    ProgramRead,
    ProgramSetStates,
    ProgramWriting,
)
from varsim.sync.one_sided import SharedValues


class ProgramRaises(Exception):
    """The program's own function has raised."""


class ReplicaRaises(Exception):
    """A call has failed because a replica has raised."""


FAILURES = (
    ProgramRaises,
    ReplicaRaises,
    CallTimeout,
    ContextError,
    MismatchError,
    StartError,
    StillRunning,
    VariableError,
    WorkerLost,
)
"""What a program can catch."""


class ProgramOfCall(Protocol):
    """The functions of a running call that run in the program's process."""

    def merge(self, step: Merge) -> None:
        """Run the function of a merge_call."""

    def perform(self, replica_id: int, step: Host) -> bool:
        """Perform the request of a replica; return whether it fails."""


class InUse(nullcontext[None]):
    """The part of `OneThread` that `Incarnations` uses."""

    torn = False


class SeededCluster(SeededNetwork):
    """Performs the operations of a program, and checks them by the model.

    Args:
        specs: The specs of all variables of the program.
        former: The previous incarnation; its workers still run for a while.
    """

    recorder = None  # as in a `Link` without a trace

    def __init__(
        self,
        count: int,
        specs: Sequence[VariableSpec],
        faults: Faults,
        rng: random.Random,
        counts: Counter[str],
        former: SeededCluster | None,
    ) -> None:
        super().__init__(count, faults, rng, counts, former)
        self.in_use = InUse()
        self.states: dict[int, dict[int, int]] = {}  # index → replica → its fetched number
        self.calls_before = 0  # number of calls of the former incarnations
        self.operations = Operations(specs, self.model, counts)
        self._starting: Call | None = None
        self._hosts: dict[int, ProgramOfCall] = {}  # token of a running call → program
        self._answers: dict[int, Any] = {}
        self._effects: dict[int, Callable[[Any], None]] = {}  # token → effect on the model
        self._next_token = 1
        self._late: set[int] = set()  # replicas that did not leave an abandoned call in time
        self._lent: list[Array] = []  # values of the program's reads, in the memory of the cluster

    # ------------------------------------------------------------ the coordinator

    def _handle(self, event: Any) -> None:
        """Give the state an event, perform the actions, and give the state their answers."""
        events = [event]
        for one in events:  # the loop adds events that answer actions
            with valid():
                actions = self.state.handle(one)
            for action in actions:
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

    # ------------------------------------------------------------ the program

    @property
    def now_s(self) -> float:
        """Return the time of the state's clock."""
        return self._now_s

    def create(self, spec: VariableSpec, value: Array, shared: SharedValues | None = None) -> None:
        """Create a variable on all replicas, if no replica is lost."""
        if self._former is not None and self._rng.random() < 0.03:
            self._counts["loss during a start"] += 1
            self._die([self._rng.randrange(self.num_replicas)])
            self._report_deaths()
        event = ProgramCreate(spec, value, self._now_s, shared)
        if self.model.lost:
            self.state.handle(event)  # raises an error
            raise AssertionError("a variable is created after the loss of a replica")
        self._handle(event)
        self.model.create(spec.variable_id - 1, spec, value)

    def forget(self, variable_id: int) -> None:
        """Drop a variable."""
        if not self.is_closed:
            self.model.forget(variable_id - 1)
            for commits in self._commits:
                commits.clear()
            self._handle(ProgramForget(variable_id, self._now_s))

    def look(self, event: ProgramRead | ProgramFetch) -> ProgramDone:
        """Read a variable, or fetch components. `close` frees the memory of the values."""
        done = self._operate(event)
        values = tuple(value.copy() for value in done.values)
        self._lent += values
        return replace(done, values=values)

    def write(self, event: ProgramWriting) -> None:
        """Write a variable."""
        self._operate(event)

    @property
    def calls(self) -> int:
        """Return the number of calls that have begun, in all incarnations."""
        return self.calls_before + self.state.calls_begun

    def unreachable(self) -> set[int]:
        """Return the replicas of which a fetch has found that they do not answer."""
        if self.in_use.torn:
            return {*range(self.num_replicas)}
        return self._late | {i for i, replica in enumerate(self.replicas) if replica.is_dead}

    def close(self) -> None:
        """End the incarnation. Its workers may still run for a while."""
        self.is_closed = True
        self._former = None
        for array in self._lent:
            array.fill(77)

    def _operate(self, event: ProgramOperation) -> ProgramDone:
        if isinstance(event, ProgramFetchStates | ProgramSetStates):
            return self._operate_on_states(event)
        doing, reader = self.operations.origin(event)
        lost_before = bool(self.model.lost)
        self._effects[self._next_token] = lambda done: self.operations.done(doing, done, reader)
        answer = self._until_answered(event)
        if isinstance(answer, ProgramRefused):
            self.operations.refused(doing, answer.error, reader, lost_before=lost_before)
            self._check_still_running(answer.error)
            raise answer.error
        assert isinstance(answer, ProgramDone)
        return answer

    def _operate_on_states(self, event: ProgramFetchStates | ProgramSetStates) -> ProgramDone:
        """Fetch or set the numbers of writes since the last average, and check them."""
        self._effects[self._next_token] = lambda done: self._note_states(event, done)
        answer = self._until_answered(event)
        if isinstance(answer, ProgramRefused):
            self._check_still_running(answer.error)
            raise answer.error
        assert isinstance(answer, ProgramDone)
        return answer

    def _note_states(self, event: ProgramFetchStates | ProgramSetStates, done: ProgramDone) -> None:
        index = event.variable_id - 1
        variable = self.model.variables[index]
        assert variable.is_averaged
        if isinstance(event, ProgramSetStates):
            self._counts["state: set"] += 1
            variable.since = [_count_in(state) for state in event.states]
            return
        for replica_id, state in zip(event.replica_ids, done.states, strict=True):
            self._counts["state: fetched"] += 1
            assert variable.since[replica_id] == _count_in(state)
            self.states.setdefault(index, {})[replica_id] = _count_in(state)

    def run(self, call: ProgramCall, host: ProgramOfCall, _: Sequence[int]) -> tuple[Returned, ...]:
        """Call a function on all replicas."""
        self._starting = call.function.tree
        token = self._next_token
        self._hosts[token] = host
        try:
            answer = self._until_answered(replace(call, function=NOTHING))
        finally:
            del self._hosts[token]
            self._work = deque(work for work in self._work if work.call_id in self._tokens)
        if isinstance(answer, ProgramRefused):
            assert isinstance(answer.error, StillRunning | WorkerLost)
            self._check_still_running(answer.error)
            raise answer.error
        assert isinstance(answer, Finish)
        if answer.raised is not None:
            raise ReplicaRaises
        if answer.error is not None:
            raise answer.error
        return answer.returned

    def _check_still_running(self, error: VarsimError) -> None:
        """Check that the replicas that an error names have not left an abandoned call."""
        if isinstance(error, StillRunning):
            assert any(call.by_program for call in self._calls.values())
            late = [self.replicas[i] for i in error.replica_ids]
            assert all(one.frames or one.inbox or one.sent for one in late), error
            self._late.update(error.replica_ids)

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
            assert results == [(call.call_id, i) for i in range(self.num_replicas)]
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
            self.operations.failure_of_call = finish.error
            is_uneven = self.operations.is_uneven(call)
            assert is_uneven or not call.is_even, f"the replicas agree: {finish.error}"
            assert is_uneven or not (call.certain and raised), finish.error
        self.model.fail(call)

    # ------------------------------------------------------------ work for the replicas

    def _perform_work(self, work: RunMerge | PerformHostCall) -> None:
        call, host = self._calls[work.call_id], self._hosts[self._tokens[work.call_id]]
        if isinstance(work, RunMerge):
            self.model.advance(call, work.position + 1)
            self._counts["merge_call"] += 1
            host.merge(work.arrivals[0].arguments.tree)
            results = [Payload((work.position, i)) for i in range(self.num_replicas)]
            self._handle(MergeFunctionReturns(work.call_id, work.position, results, self._now_s))
            return
        step, replica_id = work.host_call.request.tree
        self._counts["host call"] += 1
        self.model.advance(call, len(call.entries[replica_id]))
        failed = host.perform(replica_id, step)
        self._handle(HostCallDone(work.call_id, replica_id, NOTHING, failed, self._now_s))


def _count_in(state: NamedArrays) -> int:
    """Return the number of writes since the last average, which a policy keeps."""
    return int(dict(state).get("writes", 0))
