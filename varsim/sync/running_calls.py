"""Start, continue and end the calls of the coordinator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from varsim.errors import (
    ContextError,
    MismatchError,
    ProtocolError,
    SynchronizationError,
    VarsimError,
    WorkerLost,
)
from varsim.protocol.messages import (
    OWN_CALLS,
    Abort,
    BoundedWrite,
    Combine,
    CompressedContribution,
    Contribution,
    CopyRequest,
    Join,
    Joined,
    MergeCall,
    Message,
    Raised,
    Reduced,
    Returned,
    Scatter,
    Start,
    Write,
    is_own_call,
)
from varsim.spec import VariableAggregation
from varsim.sync import combining, loss_report, mismatch, policies
from varsim.sync.actions import (
    CallBegins,
    CoordinatorAction,
    Finish,
    PerformHostCall,
    ProgramRefused,
    RunMerge,
    Send,
    Steps,
)
from varsim.sync.call_site import CallSite
from varsim.sync.call_state import CallState
from varsim.sync.coordinator_events import ProgramCall
from varsim.sync.crossings import Crossings
from varsim.sync.functions import Functions
from varsim.sync.lock_account import LockAccount
from varsim.sync.participant import Collectives
from varsim.sync.stragglers import Stragglers
from varsim.sync.variable_registry import VariableRegistry
from varsim.texts.losses import AllNeeded, LossReport

_FIRST: Final = VariableAggregation.ONLY_FIRST_REPLICA


class RunningCalls:
    """The running calls. There are several if the function of a `merge_call` starts a call.

    Args:
        begun: The number of the program's calls before the start of the cluster.
        strict: See `CallState`.
    """

    def __init__(
        self, registry: VariableRegistry, stragglers: Stragglers, begun: int = 0, *, strict: bool
    ) -> None:
        self.begun = begun  # number of the program's calls
        self._begun_own = 0  # number of varsim's own calls since the start of the cluster
        self._registry = registry
        self._stragglers = stragglers
        self._strict = strict
        self._calls: dict[int, CallState] = {}  # innermost last
        self.find = self._calls.get
        self.lock_account = LockAccount()
        self._functions = Functions()
        self._crossings = Crossings()

    def __iter__(self) -> Iterator[CallState]:
        return iter(self._calls.values())

    def of(self, token: int) -> CallState | None:
        """Return the call that the program started with this token; None if it has ended."""
        return next((call for call in self if call.token == token), None)

    @property
    def innermost(self) -> CallState | None:
        """Return the running call that started last; None if no call runs."""
        return next(reversed(self._calls.values()), None)

    def _all(self, message: Message) -> list[CoordinatorAction]:
        return [Send(i, message) for i in self._registry.losses.survivors]

    # ------------------------------------------------------------ the start

    def start(self, event: ProgramCall) -> list[CoordinatorAction]:
        """Call a function on the present replicas; the call ends with a `Finish`.

        If replicas have joined, and a variable needs all replicas in each call, the call is
        refused.
        """
        present = len(event.arguments)
        if present < self._registry.num_replicas:
            try:
                policies.check_joining(self._registry.kept_specs)
            except SynchronizationError as error:
                return [ProgramRefused(event.token, error)]
        call_id = self._next_id(event.site)
        self._calls[call_id] = CallState(
            call_id,
            present,
            self._registry.specs,
            event.site,
            event.now_s,
            strict=self._strict,
            token=event.token,
            limits=event.limits,
            account=self.lock_account,
        )
        self._registry.call_begins()
        self._registry.exchanges.begin(call_id)
        actions: list[CoordinatorAction] = [CallBegins(event.token, call_id)]
        for message in self._functions.use(event.function_id, event.function):
            actions += self._all(message)
        start: Start | None = None
        for i, own in enumerate(event.arguments):
            # Replicas that have the same arguments object get the same message.
            if start is None or start.arguments is not own:
                start = Start(
                    call_id=call_id,
                    function_id=event.function_id,
                    arguments=own,
                    present=present,
                )
            actions.append(Send(i, start))
        return actions

    def _next_id(self, site: CallSite) -> int:
        if site.is_own:
            self._begun_own += 1
            return OWN_CALLS + self._begun_own - 1
        self.begun += 1
        return self.begun

    # ------------------------------------------------------------ collectives

    def happen(
        self,
        call: CallState,
        complete: Iterable[Collectives],
        now_s: float,
        *,
        goes_on: bool,
    ) -> Steps:
        """Perform the collectives at which all present replicas have arrived.

        Args:
            goes_on: Whether to call `go_on` afterwards. If the call is doomed, `go_on` is
                always called.
        """
        try:
            for collectives in complete:
                if collectives.joined:
                    self._check_joined(call, collectives)
                first, merging = collectives.arrivals[0].message, self._registry.merging
                if isinstance(first, Contribution):
                    yield from merging.merge(call.call_id, collectives, now_s, call.idle())
                    call.release(collectives)
                elif isinstance(first, Scatter):
                    yield merging.scatter(call.call_id, collectives, first, now_s)
                    call.release(collectives)
                elif isinstance(first, CompressedContribution):
                    yield from merging.compressed(call.call_id, collectives, first, now_s)
                    call.release(collectives)
                else:
                    yield self._reduced(call, collectives)
        except ProtocolError:
            raise
        except VarsimError as error:
            yield self.fail(call, error, now_s)
            return
        if goes_on or call.doomed:
            yield from self.go_on(call, now_s)

    def go_on(self, call: CallState | None, now_s: float) -> Steps:
        """Perform all further steps that are possible now."""
        exchanges = self._registry.exchanges
        if exchanges.is_open:
            idle = range(self._registry.num_replicas) if call is None else call.idle()
            try:
                yield from exchanges.advance(call, now_s, idle)
            except MismatchError as error:
                assert call is not None, "without a call, all replicas have made the same writes"
                yield self.fail(call, error, now_s)
                return
        if call is not None:
            yield self.proceed(call, now_s)

    def proceed(self, call: CallState, now_s: float) -> list[CoordinatorAction]:
        """Answer replicas, perform the next host call, and end the call, if this is possible."""
        actions: list[CoordinatorAction] = []
        if call.meetings is not None:
            actions += self.answer_meetings(call, now_s)
        if call.host_calls.waiting:
            actions += self.next_host_call(call)
        actions += self._conclude(call, now_s)
        return actions

    def answer_meetings(self, call: CallState, now_s: float) -> list[CoordinatorAction]:
        """Answer the replicas that continue after a lock, a barrier, a bounded write, and so on."""
        actions = [*self._admit(call, now_s)]
        return [*actions, *(Send(i, answer) for i, answer in call.take_answers(now_s))]

    def _admit(self, call: CallState, now_s: float) -> Iterator[CoordinatorAction]:
        """Let writes with bounded staleness take effect, and answer those that have waited."""
        admitted, bounded = call.take_admitted(now_s), self._registry.bounded
        for one in admitted:
            bounded.admit(one)
        for one in admitted:
            if one.write.waits:
                yield self.fresh_copy(call, one.replica_id, one.write)

    def fresh_copy(
        self, call: CallState, replica_id: int, message: BoundedWrite | CopyRequest
    ) -> Send:
        """Return the answer to a write that has waited, or to a request for a copy."""
        number = message.variable_id
        slowest = 0 if call.meetings is None else call.meetings.bounded.slowest(number, replica_id)
        requested = isinstance(message, CopyRequest)
        copies = self._registry.bounded
        copy = copies.fresh(call.call_id, replica_id, number, slowest, requested=requested)
        return Send(replica_id, copy)

    def next_host_call(self, call: CallState) -> list[CoordinatorAction]:
        """Return the action for the host call that can be performed now, if there is one."""
        if not call.host_calls.waiting:
            return []
        host_call = call.host_calls.next(self._registry.exchanges.ahead())
        return [] if host_call is None else [PerformHostCall(*host_call)]

    def _reduced(
        self, call: CallState, collectives: Collectives
    ) -> CoordinatorAction | list[CoordinatorAction]:
        first = collectives.arrivals[0].message
        if isinstance(first, Join):
            return self._rejoin(call, collectives)
        if isinstance(first, MergeCall):  # the replicas wait until the program has run the function
            messages = tuple(arrival.message for arrival in collectives.arrivals)
            return RunMerge(call.call_id, first.position, messages)  # type: ignore[arg-type]
        assert isinstance(first, Combine)
        arrivals = [one.message for one in collectives.arrivals if isinstance(one.message, Combine)]
        values, weights = [one.leaves for one in arrivals], [one.weight for one in arrivals]
        if collectives.joined:
            values, weights = combining.with_zeros(
                collectives.replica_ids, values, weights, collectives.joined
            )
        results = combining.combined(first.how, values, weights, self._registry.num_replicas)
        call.release(collectives)
        if first.how.variable_id is not None:
            size_bytes = first.leaves[0].nbytes
            self._registry.synced(first.how.variable_id, len(arrivals), size_bytes)
        answers: dict[int, Reduced] = {}  # id of a result → its message: equal results are shared
        for leaves in results:
            if id(leaves) not in answers:
                answers[id(leaves)] = Reduced(
                    call_id=call.call_id,
                    position=first.position,
                    group=first.how.group,
                    leaves=leaves,
                )
        return [
            Send(i, answers[id(leaves)])
            for i, leaves in zip(collectives.replica_ids, results[: len(arrivals)], strict=True)
        ]

    def _check_joined(self, call: CallState, collectives: Collectives) -> None:
        """Check that a collective can happen without the replicas that have joined.

        Raises:
            MismatchError: It needs their values.
        """
        arrival, joined = collectives.arrivals[0], collectives.joined
        assert joined is not None, "the caller has asked"
        for index in range(collectives.start, collectives.stop):
            one = arrival.at(index)
            if isinstance(one, Write):
                first_only = self._registry.specs[one.variable_id].aggregation is _FIRST
                fits = not first_only or 0 not in joined
            else:
                fits = (
                    isinstance(one, Combine)
                    and combining.accepts_joined(one.how)
                    and not one.performs  # such an operation needs all workers
                )
            if not fits:
                did = dict(zip(collectives.replica_ids, collectives.arrivals, strict=True))
                came = {i: own.at(index) for i, own in did.items()}
                specs, in_script = self._registry.specs, call.site.is_script
                raise mismatch.needs_joined(index, came, joined, specs, in_script=in_script)

    def _rejoin(self, call: CallState, collectives: Collectives) -> list[CoordinatorAction]:
        """Answer all replicas: they have joined.

        `last` depends only on the program, and not on the order in which messages arrive.
        """
        call.release(collectives)
        ids = collectives.replica_ids
        starts = [arrival.start for arrival in collectives.arrivals]
        _, last = max(zip(starts, ids, strict=True))
        answer = Joined(call_id=call.call_id, position=collectives.start, last=last)
        return [Send(i, answer) for i in ids]

    # ------------------------------------------------------------ the end

    def conclude_all(self, now_s: float) -> Steps:
        """End every call that can end now."""
        for call in list(self):
            yield self._conclude(call, now_s)

    def _conclude(self, call: CallState, now_s: float) -> list[CoordinatorAction]:
        exchanges = self._registry.exchanges
        if call.doomed:
            failure = call.failure(now_s, exchanging=exchanges.is_under_way)
            if isinstance(failure, MismatchError):
                return self.fail(call, failure, now_s)
            if failure is not None:
                reason, because = "another replica raised", f"replica {failure[0]} raised"
                aborts = self.abandon(call, reason, because, now_s)
                return [*aborts, self._finish(call, raised=failure)]
        error: VarsimError | None
        if not call.finished:
            error = None if call.is_plain or call.doomed else call.deadlock(exchanges.lacking)
            if error is None and exchanges.is_open and call is self.innermost:
                error = exchanges.standstill(call)
            return [] if error is None else self.fail(call, error, now_s)
        error = exchanges.end(call)
        if error is not None:
            return self.fail(call, error, now_s)
        del self._calls[call.call_id]
        self._registry.call_running = bool(self._calls)
        return [self._finish(call, returned=call.returned())]

    def abandon(
        self,
        call: CallState,
        reason: str,
        because: str,
        now_s: float,
        *,
        by_program: bool = False,
        error: VarsimError | None = None,
    ) -> list[CoordinatorAction]:
        """End a call before its functions end; each replica leaves the call at its next wait.

        Args:
            reason: The reason that is sent to the replicas.
            because: The reason in a few words, for errors about stragglers.
            by_program: Whether the program ends the call, by an interrupt or a time-out.
            error: The error for operations of the program that wait for an exchange.
        """
        if self._calls.pop(call.call_id, None) is None:
            return []
        for late in call.stragglers(because, by_program=by_program, now_s=now_s):
            self._stragglers.add(call.call_id, late)
        self._registry.call_running = bool(self._calls)
        self._registry.distrust_local()
        error = error or ContextError(f"the call has ended in the meantime: {reason}")
        self._registry.exchanges.fail(call.call_id, error)
        return self._all(Abort(call_id=call.call_id, reason=reason))

    def fail(self, call: CallState, error: VarsimError, now_s: float) -> list[CoordinatorAction]:
        """End a call with an error."""
        aborts = self.abandon(call, str(error), type(error).__name__, now_s, error=error)
        return [*aborts, self._finish(call, error=error)]

    def lose(
        self, replica_ids: Sequence[int], now_s: float
    ) -> tuple[WorkerLost, list[CoordinatorAction]]:
        """End all calls, the innermost call first, because these replicas are lost.

        Returns:
            The error of these calls, and the actions that end them.
        """
        registry, losses = self._registry, self._registry.losses
        calls = list(reversed(self._calls.values()))
        places = tuple(loss_report.places(replica_ids, calls))
        actions: list[CoordinatorAction] = []
        for call in calls:
            reason = AllNeeded(losses.workers).endings
            actions += self.abandon(call, reason, WorkerLost.__name__, now_s, error=losses.error())
        self._stragglers.lose(replica_ids)
        registry.lose(losses.error())
        error = WorkerLost(LossReport(losses.workers, places, loss_report.left(registry)))
        return error, [*actions, *(self._finish(call, error=error) for call in calls)]

    def _finish(
        self,
        call: CallState,
        *,
        returned: tuple[Returned, ...] = (),
        error: VarsimError | None = None,
        raised: tuple[int, Raised] | None = None,
    ) -> Finish:
        return Finish(
            call.token,
            call.call_id,
            returned=returned,
            reports=call.reports(),
            error=error,
            raised=raised,
            warnings=tuple(self._crossings.new(call)),
        )

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        assert list(self._calls) == sorted(self._calls), "the innermost call started last"
        for call_id, call in self._calls.items():
            assert call.call_id == call_id
            assert call_id <= self.begun or is_own_call(call_id)
            call.validate()
        assert not self._stragglers.calls & self._calls.keys(), "a running call has no stragglers"
        assert self._registry.call_running == bool(self._calls)
