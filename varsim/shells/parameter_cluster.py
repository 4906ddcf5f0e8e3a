"""The I/O shell around `SchedulerState`: the program's end of a cluster with parameter servers."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from itertools import count
from typing import Final, Protocol

from varsim.errors import ClosureCancelled, ContextError, ProtocolError, ServerLost
from varsim.interrupts import MAX_WAIT_S, Interruptible
from varsim.launch.link import Link, Lost
from varsim.protocol.messages import (
    Create,
    Define,
    Forget,
    HostCall,
    HostResult,
    Message,
    Payload,
    Raised,
    Report,
    Returned,
    Start,
)
from varsim.protocol.parameter_servers import (
    MakeResource,
    ServedAnswer,
    ServedCosts,
    ServedCreated,
    ServedRefusal,
    ServedRequest,
    ServedValue,
    ServedVersion,
)
from varsim.shells.closures import Closure, Outcome
from varsim.shells.event_logs import open_event_log
from varsim.shells.server_client import ServerClient
from varsim.spec import Array, VariableSpec
from varsim.sync.scheduler_state import (
    Assign,
    Cancel,
    CancelAll,
    ClosureEnds,
    Ending,
    LookForSlow,
    RunAgain,
    Schedule,
    SchedulerEvent,
    SchedulerState,
    Settle,
    WarnOfSlow,
    WorkerEnds,
)
from varsim.texts.facts import times
from varsim.tracing.trace_format import PROGRAM
from varsim.transport.one_thread import OneThread
from varsim.value_class import value_class

FAILED: Final = "another closure has failed, which cancels all closures that no worker has"
CLOSED: Final = "the strategy was closed"
NO_WORKER: Final = "no worker is left"

MOST_FUNCTIONS: Final = 1000
"""The largest number of functions that a worker keeps, because programs can create functions."""


@value_class(eq=False)
class ServedStatistics:
    """The statistics of one variable on a parameter server."""

    spec: VariableSpec
    server: int
    costs: ServedCosts


class ClosureHost(Protocol):
    """What running closures need in the program's process."""

    def perform(self, worker: int, host_call: HostCall) -> tuple[Payload, bool]:
        """Perform a worker's request; return the result, and True if it is an exception."""

    def report(self, worker: int, report: Report) -> None:
        """Show the output and the warnings of a closure."""

    def warn(self, text: str) -> None:
        """Show a warning about the cluster."""


class ParameterCluster:
    """The workers and the servers of one strategy, for the program that uses them.

    Processes 0 … num_workers − 1 are the workers; the servers follow. The program's process sends
    and receives only during a method call, so closures end unnoticed until then.
    """

    def __init__(self, link: Link, num_workers: int, host: ClosureHost) -> None:
        self.link = link
        self.num_servers = link.channel.num_replicas - num_workers
        self.state = SchedulerState(num_workers)
        self._log = open_event_log("SchedulerState", num_workers=num_workers)
        handle = self.state.handle
        self._decide = handle if self._log is None else self._log.recording(handle)
        self.client = ServerClient(self._ask, link.codec, PROGRAM)
        self.in_use = OneThread()
        self._host = host
        self._now_s = link.channel.now_s
        self._num_workers = num_workers
        self._next_closure = count(1).__next__
        self.num_scheduled = 0
        """The number of closures that the program has scheduled."""
        self.num_ended = 0
        """The number of closures that a worker has run to the end, as far as the program knows."""
        self._created: list[tuple[int, VariableSpec]] = []  # server, variable
        self._closures: dict[int, Closure] = {}  # those that have not ended
        self._defined: dict[int, set[str]] = {worker: set() for worker in range(num_workers)}
        self._answers: deque[ServedAnswer] = deque()
        self._reports: deque[tuple[int, Report]] = deque()
        self._warnings: deque[str] = deque()
        self._requests: deque[tuple[int, HostCall]] = deque()
        self._forgotten: list[tuple[int, int]] = []  # server, variable
        self._being_created: set[int] = set()
        """The variables whose servers have not reported that they exist."""
        self._failure: Outcome | None = None  # the first that failed since the last `take_failure`
        self._loss: str | None = None  # the text of the lost server
        self._last_lost: str = ""  # how the last worker ended
        self._process_id = os.getpid()
        self._closed = False

    # ------------------------------------------------------------ variables

    def create(self, server: int, spec: VariableSpec, value: Array) -> None:
        """Create a variable on a server. The caller must not change the array afterwards."""
        with self.in_use:
            self._check()
            self._forget_dropped()
            self._being_created.add(spec.variable_id)
            self._created.append((server, spec))
            self._send(self._num_workers + server, [Create(spec=spec, value=value)])

    def forget(self, server: int, variable_id: int) -> None:
        """Record that the program dropped a variable. Finalizers may call this at any time."""
        self._forgotten.append((server, variable_id))

    def _forget_dropped(self) -> None:
        while self._forgotten and not self._closures:  # a closure may still use the variable
            server, variable_id = self._forgotten.pop()
            for process in (*self.state.workers, self._num_workers + server):
                self._send(process, [Forget(variable_ids=(variable_id,))])

    def _ask(self, server: int, request: ServedRequest) -> ServedAnswer:
        """Send a request of the program to a server, and wait for the answer."""
        with self.in_use:
            self._check()
            self._answers.clear()  # an interrupt may have ended the wait for an earlier answer
            self._send(self._num_workers + server, [request])
            while True:
                while self._answers:
                    answer = self._answers.popleft()
                    if answer.request_id == request.request_id:
                        return answer
                self._turn()

    def statistics(self) -> tuple[ServedStatistics, ...]:
        """Return what happened to each variable until now, in the order of creation.

        Raises:
            ServerLost: A server's process has ended.
        """
        return tuple(
            ServedStatistics(spec, server, self.client.costs(server, spec.variable_id))
            for server, spec in self._created
        )

    # ------------------------------------------------------------ closures

    @property
    def is_idle(self) -> bool:
        """Return whether all closures have ended, as far as the program has heard."""
        return self.state.is_idle

    def new_id(self) -> int:
        """Return the number of the next closure, from 1."""
        return self._next_closure()

    def schedule(self, closure: Closure) -> None:
        """Let a worker run a closure; wait as long as the queue is full."""
        with self.in_use:
            self.client.begin(0)
            self._check()
            self._require_workers()
            while self._being_created or not self.state.has_room:
                self._turn()
                self._require_workers()
            self._closures[closure.closure_id] = closure
            self.num_scheduled += 1
            self._handle(Schedule(closure.closure_id, self._now_s()))
            self._hear(0.0)

    def join(self) -> None:
        """Wait until all closures have ended."""
        with self.in_use:
            self.client.begin(0)
            self._check()
            while not self.state.is_idle or self._reports or self._warnings:
                self._turn()
            self._forget_dropped()

    def look(self) -> None:
        """Handle the messages that have arrived, without waiting."""
        with self.in_use:
            self._check()
            self._hear(0.0)
            while self._reports or self._warnings or self._requests:
                self._turn()

    def await_end(self, outcome: Outcome) -> None:
        """Wait until a closure has ended."""
        with self.in_use:
            self.client.begin(0)
            while not outcome.is_known or self._reports:
                self._check()
                self._turn()

    def take_failure(self) -> Outcome | None:
        """Return the outcome that failed first since the last call; None if there is none.

        Wait until the closures that still run have ended.
        """
        if self._failure is not None:
            self.join()
        failure, self._failure = self._failure, None
        return failure

    def make(self, resource: MakeResource) -> None:
        """Have every worker call a function, before the closures that are scheduled later."""
        with self.in_use:
            self._check()
            while self._being_created:
                self._turn()
            for worker in sorted(self.state.workers):
                self._send(worker, [resource])

    def _require_workers(self) -> None:
        if not self.state.workers:
            raise ClosureCancelled(
                f"no worker is left to run closures ({self._last_lost}). The variables still have "
                "their values: read them, and make a new strategy with new workers"
            )

    # ------------------------------------------------------------ the loop

    def _turn(self) -> None:
        """Do one step: work in the program's process, or else wait for messages."""
        if self._warnings:
            with Interruptible():
                self._host.warn(self._warnings.popleft())
        elif self._reports:
            with Interruptible():
                self._host.report(*self._reports.popleft())
        elif self._requests:
            worker, request = self._requests.popleft()
            with Interruptible():
                result, failed = self._host.perform(worker, request)
            answer = HostResult(call_id=request.call_id, result=result, failed=failed)
            self._send(worker, [answer])
        else:
            self._hear(MAX_WAIT_S)
        self._check()

    def _hear(self, timeout_s: float) -> None:
        arrived = self.link.channel.receive(timeout_s)
        if not arrived and timeout_s:
            self._handle(LookForSlow(self._now_s()))
        for process, message in arrived:
            match message:
                case Lost():
                    self._lose(process, message)
                case Returned() | Raised():
                    self._end(process, message)
                case HostCall():
                    self._requests.append((process, message))
                case ServedCreated(variable_id=variable_id):
                    self._being_created.discard(variable_id)
                case ServedValue() | ServedVersion() | ServedRefusal() | ServedCosts():
                    self._answers.append(message)
                case _:
                    raise ProtocolError(f"process {process} sent a {type(message).__name__}")
        self._check()

    def _end(self, worker: int, message: Returned | Raised) -> None:
        raised = isinstance(message, Raised)
        closure = self._closures.get(message.call_id)
        self._reports.append((worker, message.report))
        if closure is not None and not closure.outcome.is_known:
            if isinstance(message, Raised):
                closure.outcome.raised = worker, message
            else:
                closure.outcome.result = message.result
        self._handle(
            ClosureEnds(
                worker,
                message.call_id,
                Ending.RAISED if raised else Ending.RETURNED,
                self._now_s(),
            )
        )

    def _lose(self, process: int, lost: Lost) -> None:
        said = _said(lost)
        if process >= self._num_workers:
            server = process - self._num_workers
            self._loss = (
                f"parameter server {server} {lost.reason}. The values of its variables are lost, "
                "and no closure can go on.\n  Make a new strategy, and restore the variables from "
                f"a checkpoint.{said}"
            )
            self._handle(CancelAll())
            return
        self._last_lost = f"worker {process} {lost.reason}"
        had = self.state.busy
        self._handle(WorkerEnds(process, self._now_s()), said)
        left = len(self.state.workers)
        if process not in had or not left:
            self._warnings.append(
                f"{self._last_lost}; {left} of {self._num_workers} workers are left{said}"
            )

    def _handle(self, event: SchedulerEvent, said: str = "") -> None:
        for action in self._decide(event):
            match action:
                case Assign(worker=worker, closure_id=closure_id):
                    self._assign(worker, self._closures[closure_id])
                case Settle(closure_id=closure_id, ending=ending):
                    closure = self._closures.pop(closure_id)
                    self.num_ended += 1
                    if ending is Ending.RAISED and self._failure is None:
                        self._failure = closure.outcome
                case Cancel(closure_ids=closure_ids):
                    self._cancel(closure_ids)
                case WarnOfSlow(worker=worker, closure_id=closure_id, for_s=for_s):
                    self._warnings.append(self._slow(worker, closure_id, for_s))
                case RunAgain(worker=worker, closure_ids=closure_ids):
                    self._warnings.append(self._again(worker, closure_ids) + said)

    def _assign(self, worker: int, closure: Closure) -> None:
        messages: list[Message] = []
        defined = self._defined[worker]
        if closure.function_id not in defined:
            if len(defined) >= MOST_FUNCTIONS:
                messages.append(Forget(function_ids=tuple(defined)))
                defined.clear()
            defined.add(closure.function_id)
            messages.append(Define(function_id=closure.function_id, function=closure.function))
        start = Start(
            call_id=closure.closure_id,
            function_id=closure.function_id,
            arguments=closure.arguments,
            present=1,
        )
        closure.outcome.was_sent = True
        self._send(worker, [*messages, start])

    def _cancel(self, closure_ids: Sequence[int]) -> None:
        why = self._loss or (FAILED if self.state.workers else NO_WORKER)
        if self._closed:
            why = CLOSED
        outcomes = [self._closures.pop(closure_id).outcome for closure_id in closure_ids]
        for outcome in outcomes:
            outcome.cancelled = why
        if why is NO_WORKER and self._failure is None:
            outcomes[
                0
            ].cancelled = (
                f"{self._last_lost}, and {why}, so {times(len(outcomes), 'closure')} did not end"
            )
            self._failure = outcomes[0]  # else a join would look like the end of all closures

    def _slow(self, worker: int, closure_id: int, for_s: float) -> str:
        line = self.link.channel.where(worker)
        at = f"; it is now at {line}" if line else ""
        return (
            f"worker {worker} has been running {self._closures[closure_id].outcome.what} for "
            f"{for_s:.0f} s{at}. Ctrl-C ends the wait, and strategy.close() ends the worker"
        )

    def _again(self, worker: int, closure_ids: tuple[int, ...]) -> str:
        sites = dict.fromkeys(self._closures[one].site.described for one in closure_ids)
        return (
            f"{self._last_lost}; {len(self.state.workers)} of {self._num_workers} workers are "
            f"left. They run again what worker {worker} had not finished: {', '.join(sites)}. Its "
            "writes before the loss are kept, so they can happen twice"
        )

    def _send(self, process: int, messages: list[Message]) -> None:
        self.link.channel.send(process, messages)

    # ------------------------------------------------------------ the end

    def _check(self) -> None:
        if self._closed:
            raise ContextError("this strategy has been closed, and its workers have ended")
        if self._process_id != os.getpid():
            raise ContextError(
                "this strategy belongs to the process that made it, but this process is a fork: "
                "make a new strategy in this process"
            )
        if self.in_use.torn:
            raise ContextError(
                "this strategy is broken: an interrupt stopped it in the middle of an operation. "
                "Make a new strategy"
            )
        self.require_servers()

    def require_servers(self) -> None:
        """Raise an error if a parameter server is lost.

        Raises:
            ServerLost: The values of its variables are lost.
        """
        if self._loss is not None:
            raise ServerLost(self._loss)

    def close(self) -> None:
        """End all processes. Further calls do nothing."""
        if not self._closed:
            self._closed = True
            busy = self.state.busy
            self._handle(CancelAll())
            self.link.channel.close(busy)
            if self._log is not None:
                self._log.close()


def _said(lost: Lost) -> str:
    """Return what a lost process said last, for the end of a text."""
    said = f"\n  It said last:\n{lost.stderr_tail}" if lost.stderr_tail else ""
    where = f"\n  full log: {lost.log_path}" if lost.log_path else ""
    return f"{said}{where}"
