"""The I/O shell around `CoordinatorState`: the link, the deadline and the nested calls."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol, assert_never

from varsim import environment
from varsim.errors import CallTimeout, ContextError, WorkerLost
from varsim.interrupts import Interruptible
from varsim.launch.link import Link, Lost
from varsim.protocol.messages import (
    HostCall,
    MergeCall,
    Message,
    Payload,
    Raised,
    Report,
    Returned,
)
from varsim.shells.event_logs import open_event_log
from varsim.spec import Array, VariableSpec
from varsim.sync.actions import (
    CallBegins,
    Exchanged,
    Finish,
    Locate,
    PerformHostCall,
    ProgramAnswer,
    ProgramDone,
    ProgramRefused,
    ProgramWrote,
    Reduce,
    RunMerge,
    Send,
)
from varsim.sync.call_site import CallSite
from varsim.sync.coordinator_events import (
    CoordinatorEvent,
    HostCallDone,
    Located,
    MergeFunctionReturns,
    MessageArrives,
    MessagesSent,
    ProgramCall,
    ProgramCreate,
    ProgramFetch,
    ProgramForget,
    ProgramGivesUp,
    ProgramOperation,
    ProgramRead,
    ProgramWriting,
    ReductionDone,
    ReductionFailed,
    TimePasses,
)
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.statistics import VariableStatistics
from varsim.tracing.program import ProgramNotes
from varsim.transport.one_thread import OneThread

OtherAction = (
    RunMerge
    | PerformHostCall
    | Reduce
    | Locate
    | CallBegins
    | Exchanged
    | ProgramWrote
    | ProgramAnswer
)
"""All actions except `Send`."""

CALL_TIMEOUT_S = 600.0
"""A call fails after this time without a message from any replica.

The time is long, because one step of a user's program can take minutes. VARSIM_CALL_TIMEOUT_S
changes it. Mismatches between replicas are found when they happen, not after this time.
"""

POLL_S = 1.0
"""The longest single wait for messages."""


class Host(Protocol):
    """The operations that a running call needs in the program's process."""

    def merge(self, merge_calls: Sequence[MergeCall]) -> Sequence[Payload]:
        """Run a merge_call's function in cross-replica context; return a result per replica."""

    def perform(self, replica_id: int, host_call: HostCall) -> tuple[Payload, bool]:
        """Perform a replica's request; return the result, and True if it is an exception."""

    def report(self, replica_id: int, report: Report) -> None:
        """Process a replica's report at the end of the call, even if the call has failed."""

    def warn(self, text: str, location: str) -> None:
        """Show a warning of the coordinator at the end of the call."""


class Coordinator:
    """One cluster, for the program that uses it.

    The program's process sends and receives messages only during a method call.
    """

    def __init__(
        self, link: Link, call_timeout_s: float = CALL_TIMEOUT_S, *, strict: bool = False
    ) -> None:
        self.link = link
        self._channel = link.channel
        self.num_replicas = link.channel.num_replicas
        self.state = CoordinatorState(self.num_replicas, strict=strict)
        self._log = open_event_log(
            "CoordinatorState", num_replicas=self.num_replicas, strict=strict
        )
        handle = self.state.handle
        self._decide = handle if self._log is None else self._log.recording(handle)
        self._next_token = 1
        self._answers: dict[int, ProgramAnswer] = {}  # token → answer
        self._hosts: dict[int, Host] = {}  # token of a running call → host
        self._tokens: dict[int, int] = {}  # call_id → token, of calls that run
        self._work: deque[RunMerge | PerformHostCall] = deque()
        self._outgoing: dict[int, list[Message]] = {}
        self._forgotten: list[int] = []
        self._lost: tuple[int, Lost] | None = None
        self._closed = False
        self.in_use = OneThread()
        self.call_timeout_s = call_timeout_s
        self._process_id = os.getpid()
        self._notes = ProgramNotes(link.recorder)
        self.observed = True
        """Whether reads are recorded. varsim sets it to False for its own reads."""

    # ------------------------------------------------------------ variables

    def create(self, spec: VariableSpec, value: Array) -> None:
        """Create a variable on all replicas. The caller must not change the array afterwards."""
        with self.in_use:
            self._check()
            self._await_room()
            self._handle(ProgramCreate(spec, value, self._channel.now_s()))
            self._flush()

    def forget(self, variable_id: int) -> None:
        """Record that the program dropped a variable. Finalizers may call this at any time."""
        self._forgotten.append(variable_id)

    def look(self, event: ProgramRead | ProgramFetch) -> ProgramDone:
        """Read a variable, or fetch components.

        If no message is needed, the method also works after the workers have ended.
        """
        with self.in_use:
            return self._operate(event)

    def write(self, event: ProgramWriting) -> None:
        """Write a variable."""
        with self.in_use:
            self._check()
            self._await_room()
            self._operate(event)
            self._flush()

    def statistics(self) -> tuple[VariableStatistics, ...]:
        """Return the statistics of all variables."""
        return self.state.statistics()

    @property
    def calls(self) -> int:
        """Return the number of calls that have begun."""
        return self.state.calls_begun

    def _operate(self, event: ProgramOperation) -> ProgramDone:
        answer = self._until_answered(event)
        assert isinstance(answer, ProgramDone)
        return answer

    def _until_answered(self, event: ProgramOperation | ProgramCall) -> ProgramAnswer:
        """Handle an event of the program, then other events until the state answers its token."""
        event.token = token = self._next_token
        event.now_s = self._channel.now_s()
        self._next_token += 1
        try:
            self._handle(event)
            while token not in self._answers or self.state.is_reducing:
                self._turn(token)
        except BaseException as error:
            self._give_up(token, error)
            raise
        answer = self._answers.pop(token)
        if isinstance(answer, ProgramRefused):
            raise answer.error
        return answer

    def _give_up(self, token: int, error: BaseException) -> None:
        call_id = next((i for i, one in self._tokens.items() if one == token), None)
        if call_id is not None:
            said = f"{type(error).__name__}: {error}".removesuffix(": ")
            self._notes.finished(call_id, said, self._outgoing.values())
        self._answers.pop(token, None)
        self._handle(ProgramGivesUp(token, type(error).__name__, self._channel.now_s()))
        if self._lost is None:
            # In the record, an envelope is one event of its receiver. So a remaining request must
            # not be in one envelope with messages of the next operation, which change the answer.
            self._check()
            self._flush()

    # ------------------------------------------------------------ calls

    def run(
        self,
        function_id: str,
        function: Payload,
        arguments: Sequence[Payload],
        host: Host,
        site: CallSite,
        rows: Sequence[int] = (),
    ) -> tuple[Returned, ...]:
        """Call a function on all replicas.

        Args:
            site: The name of the function and the location of the call, for errors.
            rows: The number of rows in each replica's arguments, for the trace; empty unless a
                replica has no rows and another one has.
        Returns:
            The result of every replica, in replica order.
        Raises:
            RaisedBy: A replica raised an exception. If several replicas did, the exception is that
                of the replica with the lowest id.
            MismatchError: The replicas did different things where they must agree.
            WorkerLost: A worker died.
            CallTimeout: No replica sent a message for `call_timeout_s`, or a worker has not
                received its messages for this time.
        """
        with self.in_use:
            self.in_use.begins(site)
            try:
                self._check()
                self._await_room()
                call = ProgramCall(function_id, function, arguments, site)
                self._notes.rows = rows
                finish = self._run(call, host)
                if not finish.returned:
                    self._flush()  # tell waiting replicas that the call has failed
            finally:
                self.in_use.ends()
        try:
            for replica_id, report in finish.reports:
                host.report(replica_id, report)
            for text, location in finish.warnings:
                host.warn(text, location)
        finally:  # if warnings are raised as errors, they must not hide the call's failure
            _raise_failure(finish)
        return finish.returned

    def _run(self, call: ProgramCall, host: Host) -> Finish:
        self._hosts[self._next_token] = host
        try:
            finish = self._until_answered(call)
        finally:
            del self._hosts[call.token]
            self._tokens = {i: one for i, one in self._tokens.items() if one != call.token}
            if self._work:
                self._work = deque(work for work in self._work if work.call_id in self._tokens)
        assert isinstance(finish, Finish)
        self._notes.finished(finish.call_id, finish.error_text, self._outgoing.values())
        return finish

    def _where(self, replica_ids: Iterable[int]) -> dict[int, str]:
        """Return a mapping: replica_id → the line that the replica runs now, if it is known."""
        found = {replica_id: self._channel.where(replica_id) for replica_id in replica_ids}
        return {replica_id: location for replica_id, location in found.items() if location}

    # ------------------------------------------------------------ the loop

    def _turn(self, token: int) -> None:
        """Do one step: perform work in the program's process, or else wait for messages.

        Nothing is sent while workers compute slices of a reduction, because a message could end a
        worker's wait, and only waiting workers compute slices.
        """
        if not self.state.is_reducing:
            self._flush()
            if self._work:
                self._do(self._work.popleft())
                return
        self._receive(token)

    def _do(self, work: RunMerge | PerformHostCall) -> None:
        host = self._hosts[self._tokens[work.call_id]]
        if isinstance(work, RunMerge):
            with Interruptible():  # Ctrl-C is allowed to end the user's code
                results = host.merge(work.arrivals)
            self._check()
            now_s = self._channel.now_s()
            self._handle(MergeFunctionReturns(work.call_id, work.position, results, now_s))
        else:
            with Interruptible():
                result, failed = host.perform(work.replica_id, work.host_call)
            self._check()
            now_s = self._channel.now_s()
            self._handle(HostCallDone(work.call_id, work.replica_id, result, failed, now_s))

    def _receive(self, token: int) -> None:
        channel = self._channel
        started_s = now_s = channel.now_s()
        while True:
            until_s, deadline_s = started_s + self.call_timeout_s, self.state.deadline_s
            if deadline_s is not None:
                until_s = min(until_s, deadline_s)
            if self._hear(until_s - now_s):
                return
            now_s = channel.now_s()
            if deadline_s is not None and now_s >= deadline_s:
                self._handle(TimePasses(now_s))
                return
            if now_s - started_s >= self.call_timeout_s:
                now_at = self._where(self.state.busy(token))
                doings = self.state.stuck(token, now_at, now_s)
                raise CallTimeout(
                    f"no replica sent a message for {self.call_timeout_s:g} s{doings}\n"
                    "  VARSIM_CALL_TIMEOUT_S changes how long to wait."
                )

    def _hear(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` for messages, and handle them; return whether any arrived."""
        arrivals = self._channel.receive(max(0.0, min(POLL_S, timeout_s)))
        now_s = self._channel.now_s()
        for replica_id, message in arrivals:
            if isinstance(message, Message):
                self._handle(MessageArrives(replica_id, message, now_s))
            elif isinstance(message, Lost):
                self._lost = replica_id, message
            else:
                self._handle(message)
        self._check()
        return bool(arrivals)

    def _handle(self, event: CoordinatorEvent) -> None:
        """Give the state an event, perform the actions, and give the state their answers."""
        events = [event]
        for one in events:  # the loop adds events that answer actions
            for action in self._decide(one):
                if isinstance(action, Send):  # most actions are messages
                    self._outgoing.setdefault(action.to, []).append(action.message)
                else:
                    events += self._perform(action)
            if self.link.observer is not None:
                self.link.observer.handled(self.state)

    def _reduce(self, action: Reduce) -> Sequence[CoordinatorEvent]:
        try:
            value = self.link.exchange.reduce(action, self._channel.now_s())
        except BaseException:
            self._decide(ReductionFailed(action.token))
            raise
        return () if value is None else (ReductionDone(action.token, value),)

    def _perform(self, action: OtherAction) -> Sequence[CoordinatorEvent]:
        """Perform an action; return the events that answer it."""
        match action:
            case Reduce():
                return self._reduce(action)
            case Locate(token=token, replica_ids=replica_ids):
                return (Located(token, self._where(replica_ids)),)
            case ProgramDone() | ProgramRefused() | Finish():
                self._answers[action.token] = action
            case RunMerge() | PerformHostCall():
                self._work.append(action)
            case CallBegins(token=token, call_id=call_id):
                self._tokens[call_id] = token
                self._notes.began(call_id)
            case Exchanged():
                self._notes.decided(self._outgoing.values())
            case ProgramWrote(variable_id=number, operation=operation, location=location):
                for replica_id, value in action.written:
                    self._notes.wrote(replica_id, number, operation, value, location)
            case _:
                assert_never(action)
        return ()

    def _flush(self) -> None:
        """Send all messages. Call `_check` first if code of the program has run."""
        while self._forgotten and not self._hosts:  # a running call may still use the variable
            self._handle(ProgramForget(self._forgotten.pop(), self._channel.now_s()))
        outgoing, self._outgoing = self._outgoing, {}
        for replica_id, messages in outgoing.items():
            self._channel.send(replica_id, messages)
        if self.state.is_behind:
            self._handle(MessagesSent())

    def _await_room(self) -> None:
        """Wait until all workers can take more messages. Call it before the state decides.

        Otherwise the memory of messages to a stopped worker would grow without a limit.
        """
        behind = self._channel.await_room(self.call_timeout_s)
        if behind:
            raise CallTimeout(
                f"{behind} for {self.call_timeout_s:g} s, so the program has not done this "
                "operation: the process may be stopped. VARSIM_CALL_TIMEOUT_S changes how long to "
                "wait."
            )

    def _check(self) -> None:
        if self._closed:
            raise ContextError("this strategy has been closed, and its workers have ended")
        if self.in_use.torn:
            raise ContextError(
                "this strategy is broken: an interrupt stopped it in the middle of an operation, "
                "so its replicas may not agree. Close it, and make a new strategy"
            )
        if self._process_id != os.getpid():
            raise ContextError(
                "this strategy belongs to the process that made it, but this process is a fork: "
                "make a new strategy in this process"
            )
        if self._lost is not None:
            replica_id, lost = self._lost
            raise WorkerLost(replica_id, lost.reason, lost.stderr_tail, lost.log_path)

    def close(self) -> None:
        """End all workers. Further calls do nothing."""
        if not self._closed:
            self._closed = True
            # Do not wait for replicas of a call that the program has abandoned. After any other
            # failure, replicas leave the call soon, and then close their traces.
            late = self.state.stragglers.given_up(range(self.num_replicas))
            self._channel.close({one.replica_id for one in late})
            if self._log is not None:
                self._log.close()


def call_timeout_s() -> float:
    """Return the time in seconds after which a call without messages fails.

    Raises:
        ConfigError: VARSIM_CALL_TIMEOUT_S is not a time.
    """
    return environment.seconds(environment.CALL_TIMEOUT) or CALL_TIMEOUT_S


class RaisedBy(Exception):
    """Carries a replica's pickled exception to the strategy, which unpickles and raises it."""

    def __init__(self, replica_id: int, raised: Raised) -> None:
        super().__init__(replica_id)
        self.replica_id = replica_id
        self.raised = raised


def _raise_failure(finish: Finish) -> None:
    if finish.error is not None:
        raise finish.error
    if finish.raised is not None:
        raise RaisedBy(*finish.raised)
