"""The I/O shell around `CoordinatorState`: it owns the link, the deadline and the recursion."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from varsim import environment
from varsim.errors import CallTimeout, ContextError, VarsimError, WorkerLost
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
from varsim.spec import Array, Operation, VariableSpec
from varsim.sync.actions import (
    CoordinatorAction,
    Exchanged,
    Fetched,
    Finish,
    PerformHostCall,
    Reduce,
    RunMerge,
    Send,
)
from varsim.sync.call_site import CallSite
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.events import ReductionDone
from varsim.sync.statistics import VariableStatistics
from varsim.sync.stragglers import PATIENCE_S, REMINDER_S, still_running
from varsim.tracing.program import ProgramNotes
from varsim.transport.one_thread import OneThread

CALL_TIMEOUT_S = 600.0
"""How long a running call may go without a message from any replica.

Long, because one step of a user's program may rightly take minutes; finite, because nothing may
hang for ever. VARSIM_CALL_TIMEOUT_S may say otherwise. Mismatches between replicas do not wait for
it: they are found when they happen.
"""

POLL_S = 1.0
"""The longest single wait for messages, so that a deadline is never overslept by more."""


class Host(Protocol):
    """What a running call needs of the program's side."""

    def merge(self, meetings: Sequence[MergeCall]) -> Sequence[Payload]:
        """Runs a merge_call's function in cross-replica context; returns each replica's slice."""

    def perform(self, replica_id: int, host_call: HostCall) -> tuple[Payload, bool]:
        """Does what a replica asks; the flag says that the payload is an exception."""

    def report(self, replica_id: int, report: Report) -> None:
        """Takes what a replica saw, at the end of the call, however it ends."""

    def warn(self, text: str, place: str) -> None:
        """Takes what the coordinator warns of, at the end of the call."""


class Coordinator:
    """One cluster, for the program that uses it. Touches the network only inside its methods."""

    def __init__(
        self, link: Link, call_timeout_s: float = CALL_TIMEOUT_S, *, strict: bool = False
    ) -> None:
        self.link = link
        self._channel = link.channel
        self.num_replicas = link.channel.num_replicas
        self.state = CoordinatorState(self.num_replicas, strict=strict)
        self.ledger = self.state.ledger
        self._hosts: dict[int, Host] = {}
        self._work: deque[RunMerge | PerformHostCall] = deque()
        self._fetched: dict[int, tuple[Array, ...]] = {}
        self._exchanged: dict[int, VarsimError | None] = {}
        self._finished: dict[int, Finish] = {}
        self._outgoing: dict[int, list[Message]] = {}
        self._reducing = False  # whether a reduction is computed elsewhere
        self._forgotten: list[int] = []
        self._lost: tuple[int, Lost] | None = None
        self._closed = False
        self.in_use = OneThread()
        self.call_timeout_s = call_timeout_s
        self._process_id = os.getpid()
        self._notes = ProgramNotes(link.recorder)
        self.observed = True
        """Whether what the program reads is recorded; what varsim itself looks at is not."""

    # ------------------------------------------------------------ variables

    def create(self, spec: VariableSpec, value: Array) -> None:
        """Creates a variable on all replicas. The array belongs to the cluster from now on."""
        with self.in_use:
            self._check()
            self._perform(self.ledger.create(spec, value))
            self._flush()

    def forget(self, variable_id: int) -> None:
        """Notes that the program dropped a variable; safe to call from a finalizer."""
        self._forgotten.append(variable_id)

    def write(
        self,
        variable_id: int,
        operation: Operation,
        values: Sequence[Array],
        place: str = "",
        *,
        same: bool,
    ) -> None:
        """Writes all components; see `Ledger.write`.

        Args:
            place: file:line in the program, for the record.
        """
        with self.in_use:
            self._check()
            if self.state.overwrites(variable_id, operation, same=same):
                self._perform(self.ledger.overwrite(variable_id, values[0]))
            else:
                self._exchange(variable_id)
                self._perform(self.ledger.write(variable_id, operation, values, same=same))
            self._notes.wrote(variable_id, operation, values, place, same=same)
            self._flush()

    def write_component(
        self,
        variable_id: int,
        replica_id: int,
        operation: Operation,
        value: Array,
        place: str = "",
    ) -> None:
        """Writes one component; see `Ledger.write_component`."""
        with self.in_use:
            self._check()
            self._exchange(variable_id)
            self._perform(self.ledger.write_component(variable_id, replica_id, operation, value))
            self._notes.wrote_to(replica_id, variable_id, operation, value, place)
            self._flush()

    def mirror(self, variable_id: int) -> Array | None:
        """What all components of a variable hold, if that is known without asking."""
        return self.ledger.mirror(variable_id)

    def components(self, variable_id: int, replica_ids: Sequence[int]) -> tuple[Array, ...]:
        """The components of a variable on some replicas, read-only.

        Raises:
            WorkerLost: One of the workers has died.
        """
        if self.ledger.exchanges.defers(variable_id):
            with self.in_use:
                self._exchange(variable_id)
        known = self.ledger.known(variable_id, replica_ids)
        missing = [i for i, value in zip(replica_ids, known, strict=True) if value is None]
        fetched = iter(self._fetch(variable_id, missing) if missing else ())
        return tuple(next(fetched) if value is None else value for value in known)

    def _exchange(self, variable_id: int) -> None:
        """Has deferred writes exchanged, so that the variable's value is what it should be."""
        self._await_departures(range(self.num_replicas))
        request_id, actions = self.state.exchange(variable_id, self._channel.now_s())
        if request_id is None:
            return
        self._perform(actions)
        while request_id not in self._exchanged or self._reducing:
            self._turn(None)
        error = self._exchanged.pop(request_id)
        if error is not None:
            raise error
        self._notes.decided(self._outgoing.values())

    def _fetch(self, variable_id: int, replica_ids: Sequence[int]) -> tuple[Array, ...]:
        with self.in_use:
            self._await_departures(replica_ids)
            request_id, actions = self.ledger.fetch(variable_id, replica_ids)
            self._perform(actions)
            while request_id not in self._fetched or self._reducing:
                self._turn(None)
            return self._fetched.pop(request_id)

    def statistics(self) -> tuple[VariableStatistics, ...]:
        """The accounts of all variables."""
        return self.ledger.statistics()

    # ------------------------------------------------------------ calls

    def run(
        self,
        function_id: str,
        function: Payload,
        arguments: Sequence[Payload],
        host: Host,
        site: CallSite,
    ) -> tuple[Returned, ...]:
        """Calls a function on all replicas.

        Args:
            site: What it is called and where, for errors.
        Returns:
            What every replica returned, in replica order.
        Raises:
            RaisedBy: A replica raised; the lowest that did.
            MismatchError: The replicas did different things where they must agree.
            WorkerLost: A worker died.
            CallTimeout: No replica said anything for `call_timeout_s`.
        """
        with self.in_use:
            self.in_use.begins(site)
            try:
                finish = self._run(function_id, function, arguments, host, site)
                if not finish.returned:
                    self._flush()  # the replicas that wait are to know that it has failed
            finally:
                self.in_use.ends()
        try:
            for replica_id, report in finish.reports:
                host.report(replica_id, report)
            for text, place in finish.warnings:
                host.warn(text, place)
        finally:  # a warning that is an error must not hide the failure
            _raise_failure(finish)
        return finish.returned

    def _run(
        self,
        function_id: str,
        function: Payload,
        arguments: Sequence[Payload],
        host: Host,
        site: CallSite,
    ) -> Finish:
        self._await_departures(range(self.num_replicas))
        now_s = self._channel.now_s()
        call_id, actions = self.state.start(function_id, function, arguments, site, now_s)
        self._hosts[call_id] = host
        try:
            self._perform(actions)
            while call_id not in self._finished or self._reducing:
                self._turn(call_id)
        except BaseException as error:
            said = f"{type(error).__name__}: {error}".removesuffix(": ")
            self._notes.finished(call_id, said, self._outgoing.values())
            self._give_up(call_id, error)
            raise
        finally:
            del self._hosts[call_id]
            self._work = deque(work for work in self._work if work.call_id != call_id)
        finish = self._finished.pop(call_id)
        self._notes.finished(call_id, finish.story, self._outgoing.values())
        return finish

    def _give_up(self, call_id: int, error: BaseException) -> None:
        self._reducing = False
        now_s = self._channel.now_s()
        self._perform(self.state.give_up(call_id, type(error).__name__, now_s))
        if self._lost is None:
            self._flush()

    def _await_departures(self, replica_ids: Collection[int]) -> None:
        """Waits a little for replicas to leave calls that the program gave up.

        Raises:
            StillRunning: Some have not, and nobody can say when they will.
        """
        self._check()  # before a state changes: a fork would wait for answers to what was not sent
        asked_s = self._channel.now_s()
        stages_s = [REMINDER_S, PATIENCE_S]
        while late := self.state.stragglers.given_up(replica_ids):
            left_s = asked_s + stages_s[0] - self._channel.now_s()
            if left_s > 0:
                self._hear(left_s)
            elif len(stages_s) > 1:
                stages_s.pop(0)
                self._perform(self.state.stragglers.reminders(replica_ids))
                self._flush()
            else:
                now_at = self._where([one.replica_id for one in late])
                raise still_running(late, now_at, self._channel.now_s())

    def _where(self, replica_ids: Iterable[int]) -> dict[int, str]:
        """The lines at which replicas are now, as far as they can be seen."""
        found = {replica_id: self._channel.where(replica_id) for replica_id in replica_ids}
        return {replica_id: place for replica_id, place in found.items() if place}

    # ------------------------------------------------------------ the loop

    def _turn(self, call_id: int | None) -> None:
        """Do one step: what the program must do itself, else take the next messages.

        While workers compute slices of a reduction, nothing leaves that could let them run on.
        """
        if not self._reducing:
            self._flush()
            if self._work:
                self._do(self._work.popleft())
                return
        self._receive(call_id)

    def _do(self, work: RunMerge | PerformHostCall) -> None:
        host = self._hosts[work.call_id]
        if isinstance(work, RunMerge):
            with Interruptible():  # the user's code does
                results = host.merge(work.meetings)
            self._perform(self.state.merged(work.call_id, work.index, results))
        else:
            with Interruptible():
                result, failed = host.perform(work.replica_id, work.host_call)
            self._perform(
                self.state.answered(work.host_call.call_id, work.replica_id, result, failed=failed)
            )

    def _receive(self, call_id: int | None) -> None:
        channel = self._channel
        started_s = channel.now_s()
        while True:
            now_s = channel.now_s()
            until_s = started_s + self.call_timeout_s
            if self.state.deadline_s is not None:
                until_s = min(until_s, self.state.deadline_s)
            if self._hear(until_s - now_s):
                return
            now_s = channel.now_s()
            if self.state.deadline_s is not None and now_s >= self.state.deadline_s:
                self._perform(self.state.tick(now_s))
                return
            if now_s - started_s >= self.call_timeout_s:
                now_at = self._where(self.state.busy(call_id))
                story = self.state.stuck(call_id, now_at, now_s)
                raise CallTimeout(
                    f"no replica said anything for {self.call_timeout_s:g} s{story}\n"
                    "  VARSIM_CALL_TIMEOUT_S changes how long to wait."
                )

    def _hear(self, timeout_s: float) -> bool:
        """Takes the messages that come within a time; whether there were any."""
        arrivals = self._channel.receive(max(0.0, min(POLL_S, timeout_s)))
        now_s = self._channel.now_s()
        for replica_id, message in arrivals:
            if isinstance(message, Lost):
                self._lost = replica_id, message
                continue
            if isinstance(message, ReductionDone):
                self._reducing = False
                self._perform(self.state.reduced(message))
            else:
                self._perform(self.state.handle(replica_id, message, now_s))
            if self.link.observer is not None:
                self.link.observer.handled(self.state)
        self._check()
        return bool(arrivals)

    def _perform(self, actions: Sequence[CoordinatorAction]) -> None:
        reduction = self._do_all(actions)
        while reduction is not None:
            value = self.link.exchange.reduce(reduction, self._channel.now_s())
            if value is None:
                self._reducing = True
                return
            reduction = self._do_all(self.state.reduced(ReductionDone(reduction.token, value)))

    def _do_all(self, actions: Sequence[CoordinatorAction]) -> Reduce | None:
        """Do what actions say; a reduction, always the last of them, is returned."""
        for action in actions:
            match action:
                case Send(to=to, message=message):
                    self._outgoing.setdefault(to, []).append(message)
                case RunMerge() | PerformHostCall():
                    self._work.append(action)
                case Fetched():
                    self._fetched[action.request_id] = action.values
                case Exchanged():
                    self._exchanged[action.request_id] = action.error
                case Finish():
                    self._finished[action.call_id] = action
                case Reduce():
                    return action
        return None

    def _flush(self) -> None:
        self._check()
        while self._forgotten and not self._hosts:  # a running call may still name it
            self._perform(self.ledger.forget(self._forgotten.pop()))
        outgoing, self._outgoing = self._outgoing, {}
        for replica_id, messages in outgoing.items():
            self._channel.send(replica_id, messages)

    def _check(self) -> None:
        if self._closed:
            raise ContextError("this strategy has been closed, and its workers have ended")
        if self._process_id != os.getpid():
            raise ContextError(
                "this strategy belongs to the process that made it, and this one is a fork: "
                "make a strategy of its own here"
            )
        if self._lost is not None:
            replica_id, lost = self._lost
            raise WorkerLost(replica_id, lost.reason, lost.stderr_tail, lost.log_path)

    def close(self) -> None:
        """Ends all workers. Does nothing the second time."""
        if not self._closed:
            self._closed = True
            # Of a call that failed by itself they are about to leave, and have a record to close.
            late = self.state.stragglers.given_up(range(self.num_replicas))
            self._channel.close({one.replica_id for one in late})


def call_timeout_s() -> float:
    """How long a running call may go without a message.

    Raises:
        ConfigError: The environment says something else than a time.
    """
    return environment.seconds(environment.CALL_TIMEOUT) or CALL_TIMEOUT_S


class RaisedBy(Exception):
    """Carries what a replica raised to the strategy, which unpacks it. Never reaches a program."""

    def __init__(self, replica_id: int, raised: Raised) -> None:
        super().__init__(replica_id)
        self.replica_id = replica_id
        self.raised = raised


def _raise_failure(finish: Finish) -> None:
    if finish.error is not None:
        raise finish.error
    if finish.raised is not None:
        raise RaisedBy(*finish.raised)
