"""The I/O shell around `CoordinatorState`: the link, the deadline and the nested calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, assert_never

from varsim.errors import ContextError
from varsim.interrupts import MAX_WAIT_S, UNINTERRUPTED
from varsim.launch.link import Link, Lost
from varsim.protocol.messages import (
    Message,
    Raised,
    Returned,
)
from varsim.protocol.tracebacks import recorded
from varsim.shells.event_logs import open_event_log
from varsim.shells.host import Host
from varsim.shells.host_work import HostWork, Work
from varsim.spec import Array, VariableSpec
from varsim.sync.actions import (
    CallBegins,
    EndWorkers,
    Examine,
    Exchanged,
    Finish,
    Locate,
    Obtain,
    OtherAction,
    PerformHostCall,
    ProgramAnswer,
    ProgramDone,
    ProgramRefused,
    ProgramSynced,
    ProgramWrote,
    Reduce,
    RunMerge,
    Send,
    ShowOutput,
    WarnOfStall,
)
from varsim.sync.coordinator_events import (
    CoordinatorEvent,
    Examined,
    Located,
    LookForStalls,
    MessageArrives,
    MessagesSent,
    Obtained,
    OperandsLost,
    ProgramCall,
    ProgramCreate,
    ProgramForget,
    ProgramGivesUp,
    ProgramOperation,
    ProgramPush,
    ProgramReading,
    ProgramSync,
    ProgramWriting,
    ReductionDone,
    ReductionFailed,
    ReplicasLost,
    TimePasses,
)
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.one_sided import SharedValues
from varsim.sync.stalls import DEFAULT_LIMITS, MOST_STACKS, StallLimits
from varsim.sync.statistics import VariableStatistics
from varsim.texts.interrupted import InterruptedCall
from varsim.texts.losses import LostWorker
from varsim.tracing.program import ProgramNotes
from varsim.transport.one_thread import OneThread

_DRAIN_S = 0.2
_SILENCE_S = 0.02
"""After a long computation of the program, the coordinator reads messages until none arrives for
`_SILENCE_S`, but at most for `_DRAIN_S`. Then it looks for replicas without progress."""


class Coordinator:
    """One cluster, for the program that uses it.

    The program's process sends and receives messages only during a method call.
    """

    def __init__(
        self,
        link: Link,
        *,
        strict: bool = False,
        limits: StallLimits = DEFAULT_LIMITS,
        warn: Callable[[str, str], None] | None = None,
        calls_before: int = 0,
    ) -> None:
        self.link = link
        self._channel = link.channel
        self.num_replicas = link.channel.num_replicas
        settings: dict[str, Any] = {"num_replicas": self.num_replicas, "strict": strict}
        settings |= {"stall_limits": limits, "calls_before": calls_before}
        self.state = CoordinatorState(**settings)
        self._log = open_event_log("CoordinatorState", **settings)
        handle = self.state.handle
        self._decide = handle if self._log is None else self._log.recording(handle)
        self._next_token = 1
        self._answers: dict[int, ProgramAnswer] = {}  # token → answer
        self._work = HostWork(warn)
        self._outgoing: dict[int, list[Message]] = {}
        self._forgotten: list[int] = []
        self._closed = False
        self.in_use = OneThread()
        self._heard_s = 0.0  # when this process last had no unread messages
        self._process_id = os.getpid()
        self._notes = ProgramNotes(link.recorder)
        self.interrupted: InterruptedCall | None = None
        """What the replicas of the last call did that Ctrl-C has ended; None if there is none."""
        self.observed = True
        """Whether reads are recorded. varsim sets it to False for its own reads."""

    # ------------------------------------------------------------ variables

    def create(self, spec: VariableSpec, value: Array, shared: SharedValues | None = None) -> None:
        """Create a variable on all replicas. The caller must not change the array afterwards.

        Args:
            shared: What was shared of the variable in the last incarnation.
        """
        with self.in_use:
            self._check()
            self._await_room()
            self._handle(ProgramCreate(spec, value, self._channel.now_s(), shared))
            self._flush()
            if shared is not None:
                for owner, one in shared.by_owner():
                    self._notes.carried(spec.variable_id, owner, one.version, one.value)

    def forget(self, variable_id: int) -> None:
        """Record that the program dropped a variable. Finalizers may call this at any time."""
        self._forgotten.append(variable_id)

    def look(self, event: ProgramReading) -> ProgramDone:
        """Read a variable, its components, or what replicas share of it.

        After the loss of a worker, this works if the components are known or belong to other
        replicas. After `close`, it works if no message is needed.
        """
        with self.in_use:
            return self._operate(event)

    def write(self, event: ProgramWriting | ProgramPush | ProgramSync) -> ProgramDone:
        """Write or synchronise a variable, or push to its authoritative copy."""
        with self.in_use:
            self._check()
            self._await_room()
            done = self._operate(event)
            self._flush()
        return done

    def statistics(self) -> tuple[VariableStatistics, ...]:
        """Return the statistics of all variables."""
        return self.state.statistics()

    @property
    def now_s(self) -> float:
        """Return the time of the clock from which the state gets its times."""
        return self._channel.now_s()

    @property
    def calls(self) -> int:
        """Return the number of the program's calls that have begun."""
        return self.state.calls_begun

    def _operate(self, event: ProgramOperation) -> ProgramDone:
        answer = self._until_answered(event)
        assert isinstance(answer, ProgramDone)
        return answer

    def _until_answered(self, event: ProgramOperation | ProgramCall) -> ProgramAnswer:
        """Handle an event of the program, then other events until the state answers its token."""
        event.token = token = self._next_token
        event.now_s = now_s = self._channel.now_s()
        if not self._work.tokens:  # no call runs, so no replica has been silent
            self._heard_s = now_s
        self._next_token += 1
        try:
            self._handle(event)
            while token not in self._answers or self.state.is_reducing:
                self._turn()
        except BaseException as error:
            self._give_up(token, error)
            raise
        answer = self._answers.pop(token)
        if isinstance(answer, ProgramRefused):
            raise answer.error
        return answer

    def _give_up(self, token: int, error: BaseException) -> None:
        # `isinstance` would read an attribute of the exception, which can run code of the program.
        if issubclass(type(error), KeyboardInterrupt) and error is UNINTERRUPTED.raised:
            self._tell_who_waits(token, error)
        call_id = next((i for i, one in self._work.tokens.items() if one == token), None)
        if call_id is not None:
            self._notes.finished(call_id, recorded(error), self._outgoing)
        self._answers.pop(token, None)
        self._handle(ProgramGivesUp(token, type(error).__name__, self._channel.now_s()))
        # Messages of the next operation can change the answer to a request that is not sent yet.
        # In the record, an envelope is one event of its receiver. So send the request separately.
        self._check()
        self._flush()

    def _tell_who_waits(self, token: int, interrupt: BaseException) -> None:
        """Add to an interrupt what each replica of the call does now."""
        running = self.state.running_in(token)[:MOST_STACKS]
        fact = self.interrupted = self.state.interrupted(token, self._where(running))
        if fact is not None:
            interrupt.add_note("\n".join(filter(None, [str(fact), fact.remedy])))

    # ------------------------------------------------------------ calls

    def run(self, call: ProgramCall, host: Host, rows: Sequence[int] = ()) -> tuple[Returned, ...]:
        """Call a function on all replicas.

        Args:
            rows: The number of rows in each replica's arguments, for the trace; empty if all
                replicas have rows, or if no replica has rows.
        Returns:
            The result of every replica, in replica order.
        Raises:
            RaisedBy: A replica raised an exception. If several replicas raised exceptions, the
                exception is that of the replica with the lowest id.
            MismatchError: The replicas did different things where they must agree.
            WorkerLost: A worker died.
            CallTimeout: A replica made no progress for too long; its process was ended.
        """
        with self.in_use:
            self.in_use.begins(call.site)
            try:
                self._check()
                self._await_room()
                self._notes.rows = rows
                finish = self._run(call, host)
                if not finish.returned:
                    self._flush()  # inform waiting replicas that the call has failed
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
        if self._forgotten:
            self._forget_dropped()
        self._work.hosts[self._next_token] = host
        try:
            finish = self._until_answered(call)
            while self._work.outputs:
                self._show_output()
        finally:
            self._work.end(call.token)
        assert isinstance(finish, Finish)
        self._notes.finished(finish.call_id, finish.error_text, self._outgoing)
        return finish

    def _where(self, replica_ids: Iterable[int]) -> dict[int, str]:
        """Return a mapping: replica_id → the line that the replica runs now, if it is known."""
        found = {replica_id: self._channel.where(replica_id) for replica_id in replica_ids}
        return {replica_id: location for replica_id, location in found.items() if location}

    # ------------------------------------------------------------ the loop

    def _turn(self) -> None:
        """Do one step: perform work in the program's process, or else wait for messages.

        Nothing is sent while workers compute slices of a reduction, because a message could end a
        worker's wait, and only waiting workers compute slices.
        """
        if not self.state.is_reducing:
            self._flush()
            if self._work.outputs:
                self._show_output()
                return
            if self._work.pending:
                self._do(self._work.pending.popleft())
                return
        self._receive()

    def _show_output(self) -> None:
        self._work.show()
        self._check()

    def _do(self, work: Work) -> None:
        answer = self._work.perform(work, self._channel.now_s)
        self._check()
        if answer is not None:
            self._handle(answer)

    def _receive(self) -> None:
        """Wait for messages or a time of the state, and handle them."""
        state, now_s = self.state, self._channel.now_s()
        if state.is_reducing:
            self._hear(MAX_WAIT_S)
            return
        until_s, look_at_s = state.deadline_s, state.stalls.look_at_s
        if look_at_s <= now_s:
            self._look_for_stalls(now_s)
            return
        wait_s = (look_at_s if until_s is None else min(until_s, look_at_s)) - now_s
        if not self._hear(wait_s) and until_s is not None and self._heard_s >= until_s:
            self._handle(TimePasses(self._heard_s))

    def _look_for_stalls(self, now_s: float, behind: Mapping[int, float] | None = None) -> None:
        """Let the state look for stalls, after all messages that have been sent until now.

        Args:
            behind: See `LookForStalls`.
        """
        if now_s - self._heard_s > MAX_WAIT_S:  # the program has computed in the meantime
            until_s = now_s + _DRAIN_S
            while self._hear(_SILENCE_S) and self._heard_s < until_s:
                pass
            now_s = self._heard_s
        self._handle(LookForStalls(now_s, behind or {}))

    def _hear(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` for messages, and handle them; return whether there were any."""
        arrivals = self._channel.receive(_wait_s(timeout_s))
        now_s = self._heard_s = self._channel.now_s()
        lost: list[LostWorker] = []
        for replica_id, message in arrivals:
            if isinstance(message, Message):
                self._handle(MessageArrives(replica_id, message, now_s))
            elif isinstance(message, Lost):
                lost.append(message.of(replica_id))
            else:
                self._handle(message)
        if lost:
            self._handle(ReplicasLost(tuple(lost), now_s))
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
            case Obtain(token=token, values=values):
                found = self.link.exchange.obtain(values)
                answer = OperandsLost(token) if found is None else Obtained(token, found)
                return (answer,)
            case Locate(token=token, replica_ids=replica_ids):
                return (Located(token, self._where(replica_ids)),)
            case Examine(replica_ids=replica_ids, with_stacks=with_stacks):
                seen = self._channel.examine(replica_ids, with_stacks)
                return (Examined(seen, self._channel.now_s()),)
            case EndWorkers(reasons=reasons):
                ended = {i: self._channel.end(i, reason) for i, reason in reasons.items()}
                lost = tuple(one.of(i) for i, one in ended.items() if one is not None)
                return (ReplicasLost(lost, self._channel.now_s()),)
            case ProgramDone() | ProgramRefused() | Finish():
                self._answers[action.token] = action
            case RunMerge() | PerformHostCall() | WarnOfStall():
                self._work.pending.append(action)
            case ShowOutput():
                self._work.outputs.append(action)
            case CallBegins(token=token, call_id=call_id):
                self._work.tokens[call_id] = token
                self._notes.began(call_id)
            case Exchanged():
                self._notes.decided(self._outgoing)
            case ProgramWrote(variable_id=number, operation=operation, location=location):
                for replica_id, value in action.written:
                    self._notes.wrote(replica_id, number, operation, value, location)
            case ProgramSynced(variable_id=number, how=how, value=value, location=location):
                self._notes.synced(number, how, value, location)
            case _:
                assert_never(action)
        return ()

    def _flush(self) -> None:
        """Send all messages. Call `_check` first if code of the program has run."""
        if self._forgotten:
            self._forget_dropped()
        outgoing, self._outgoing = self._outgoing, {}
        for replica_id, messages in outgoing.items():
            self._channel.send(replica_id, messages)
        if self.state.is_behind:
            self._handle(MessagesSent())

    def _forget_dropped(self) -> None:
        while self._forgotten and not self._work.hosts:  # a running call may still use the variable
            self._handle(ProgramForget(self._forgotten.pop(), self._channel.now_s()))

    def _await_room(self) -> None:
        """Wait until all workers can take more messages. Call it before an operation begins.

        Otherwise the memory of messages to a stopped worker would grow without a limit.
        """
        if not self._channel.await_room(0.0):
            return
        since_s = now_s = self._channel.now_s()
        stalls = self.state.stalls
        while behind := self._channel.await_room(_wait_s(stalls.look_at_s - now_s)):
            now_s = self._channel.now_s()
            if stalls.look_at_s <= now_s:
                self._look_for_stalls(now_s, dict.fromkeys(behind, since_s))
                pending = self._work.pending
                while pending and isinstance(pending[-1], WarnOfStall):
                    self._do(pending.pop())
                self._check()

    def _check(self) -> None:
        if self._closed:
            raise ContextError("this strategy has been closed, and its workers have ended")
        if self.in_use.torn:
            raise ContextError(
                "this strategy is broken: an interrupt stopped it in the middle of an operation, "
                "so its replicas may not agree. strategy.restart() starts new workers"
            )
        if self._process_id != os.getpid():
            raise ContextError(
                "this strategy belongs to the process that made it, but this process is a fork: "
                "make a new strategy in this process"
            )

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


class RaisedBy(Exception):
    """Carries a replica's packed exception to the strategy, which unpacks and raises it."""

    def __init__(self, replica_id: int, raised: Raised) -> None:
        super().__init__(replica_id)
        self.replica_id = replica_id
        self.raised = raised


def _wait_s(timeout_s: float) -> float:
    """Return the duration of the next wait."""
    return max(0.0, min(MAX_WAIT_S, timeout_s))


def _raise_failure(finish: Finish) -> None:
    if finish.error is not None:
        raise finish.error
    if finish.raised is not None:
        raise RaisedBy(*finish.raised)
