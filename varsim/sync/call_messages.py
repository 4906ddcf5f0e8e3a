"""Handle the messages of running calls: collectives, waits and requests of replicas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, get_args

from varsim.errors import SynchronizationError
from varsim.protocol.messages import (
    BoundedWrite,
    Combine,
    CompressedContribution,
    Contribution,
    CopyRequest,
    FetchPublished,
    HostCall,
    Join,
    LockRelease,
    Meeting,
    MergeCall,
    Output,
    Printed,
    Publish,
    Pull,
    Push,
    Scatter,
    SharedValue,
    SyncRequest,
    Waiting,
    WriteCounts,
)
from varsim.sync import policies
from varsim.sync.actions import CoordinatorAction, Send, ShowOutput
from varsim.sync.bounded_door import check_bounded_write, check_copy_request
from varsim.sync.call_state import CallState
from varsim.sync.coordinator_door import (
    check_buckets,
    check_combine,
    check_compressed,
    check_meeting,
    check_scatter,
    spec_of,
)
from varsim.sync.manual_door import (
    check_fetch,
    check_publication,
    check_pull,
    check_push,
    check_sync,
)
from varsim.sync.participant import Collectives, Plans
from varsim.sync.running_calls import RunningCalls
from varsim.sync.steps import Runner
from varsim.sync.variable_registry import VariableRegistry

Handler = Callable[[Any, CallState, int, Any], list[CoordinatorAction]]


class CallMessages:
    """Checks each message of a running call, records it in the call, and performs its effects.

    The coordinator ignores these messages when their call has failed.
    """

    def __init__(
        self, registry: VariableRegistry, calls: RunningCalls, runner: Runner, plans: Plans
    ) -> None:
        self._registry = registry
        self._calls = calls
        self._runner = runner
        self._plans = plans

    # ------------------------------------------------------------ collectives

    def _contribution(
        self, call: CallState, replica_id: int, message: Contribution
    ) -> list[CoordinatorAction]:
        plan = self._plans.plan(replica_id, message.layout_id)
        check_buckets(replica_id, plan.arrangement.buckets, message)
        return self._contributed(call, call.arrive(replica_id, message, self._runner.now_s, plan))

    def _scatter(
        self, call: CallState, replica_id: int, message: Scatter
    ) -> list[CoordinatorAction]:
        check_scatter(self._registry.specs, message, self._registry.num_replicas)
        return self._contributed(call, call.arrive(replica_id, message, self._runner.now_s))

    def _compressed(
        self, call: CallState, replica_id: int, message: CompressedContribution
    ) -> list[CoordinatorAction]:
        check_compressed(self._registry.specs, message, self._registry.num_replicas)
        return self._contributed(call, call.arrive(replica_id, message, self._runner.now_s))

    def _contributed(self, call: CallState, complete: list[Collectives]) -> list[CoordinatorAction]:
        if complete:
            return self._runner.run(
                self._calls.happen(call, complete, self._runner.now_s, goes_on=False)
            )
        return self.after(call) if call.doomed else []

    def _collective(
        self, call: CallState, replica_id: int, message: Combine | MergeCall
    ) -> list[CoordinatorAction]:
        if not isinstance(message, MergeCall):
            present, num_replicas = len(call.participants), self._registry.num_replicas
            check_combine(message, replica_id, present, num_replicas)
            if message.how.variable_id is not None:
                check_sync(self._registry.specs, message)
        complete = call.arrive(replica_id, message, self._runner.now_s)
        if complete:
            return self._runner.run(
                self._calls.happen(call, complete, self._runner.now_s, goes_on=True)
            )
        return self.after(call)

    def _join(self, call: CallState, replica_id: int, message: Join) -> list[CoordinatorAction]:
        complete, now_s = call.join(replica_id, message, self._runner.now_s), self._runner.now_s
        try:
            policies.check_joining(self._registry.kept_specs, replica_id, message.location)
        except SynchronizationError as error:
            return self._calls.fail(call, error, now_s)
        # A reduction can end this event before `happen` has ended, so the answers are sent first.
        answers = self._calls.answer_meetings(call, now_s)
        if complete:
            steps = self._calls.happen(call, complete, now_s, goes_on=True)
            return [*answers, *self._runner.run(steps)]
        return [*answers, *self.after(call)]

    # ------------------------------------------------------------ waits and requests

    def _waiting(
        self, call: CallState, replica_id: int, message: Waiting
    ) -> list[CoordinatorAction]:
        spec_of(self._registry.specs, message.variable_id, "wait")
        call.wait(replica_id, message)
        return self.after(call)

    def _write_counts(
        self, _: CallState, replica_id: int, message: WriteCounts
    ) -> list[CoordinatorAction]:
        self._registry.exchanges.tell(replica_id, message)
        return []

    def _sync_request(
        self, call: CallState, replica_id: int, message: SyncRequest
    ) -> list[CoordinatorAction]:
        if self._registry.exchanges.request_sync(replica_id, message, self._runner.now_s):
            call.request_sync(replica_id, message)
        return self.after(call)

    def _host_call(
        self, call: CallState, replica_id: int, message: HostCall
    ) -> list[CoordinatorAction]:
        call.request_host_call(replica_id, message, self._runner.now_s)
        return self.after(call)

    def _meeting(
        self, call: CallState, replica_id: int, message: Meeting | LockRelease
    ) -> list[CoordinatorAction]:
        present, num_replicas = len(call.participants), self._registry.num_replicas
        check_meeting(message, replica_id, present, num_replicas)
        call.meet(replica_id, message, self._runner.now_s)
        return self.after(call)

    def _bounded_write(
        self, call: CallState, replica_id: int, message: BoundedWrite
    ) -> list[CoordinatorAction]:
        check_bounded_write(self._registry.specs, message)
        call.meet(replica_id, message, self._runner.now_s)
        return self.after(call)

    def _copy_request(
        self, call: CallState, replica_id: int, message: CopyRequest
    ) -> list[CoordinatorAction]:
        check_copy_request(self._registry.specs, message)
        call.act(replica_id, message, None)
        return [self._calls.fresh_copy(call, replica_id, message)]

    def _output(self, call: CallState, replica_id: int, message: Output) -> list[CoordinatorAction]:
        call.sender(replica_id)
        shown = ShowOutput(call.call_id, replica_id, message.text, message.is_error)
        return [shown, Send(replica_id, Printed(call_id=call.call_id))]

    # ------------------------------------------------------------ one-sided operations

    def share(self, call: CallState | None, replica_id: int, message: Publish | Push) -> None:
        """Apply a publication or a push, even if its call has failed (then `call` is None)."""
        one_sided, now_s = self._registry.one_sided, self._runner.now_s
        if call is not None:
            call.act(replica_id, message, now_s)
        elif message.variable_id not in one_sided:
            return  # the program has dropped the variable since the call failed
        if isinstance(message, Publish):
            check_publication(self._registry.specs, message)
            one_sided.publish(message.variable_id, replica_id, message.value, now_s)
        else:
            check_push(self._registry.specs, message)
            one_sided.push(message.variable_id, replica_id, message.delta, now_s)

    def _show(
        self, call: CallState, replica_id: int, message: FetchPublished | Pull
    ) -> list[CoordinatorAction]:
        """Answer with a published component or the authoritative copy."""
        one_sided, now_s = self._registry.one_sided, self._runner.now_s
        call.act(replica_id, message, None)
        number = message.variable_id
        if isinstance(message, Pull):
            check_pull(self._registry.specs, number)
            found = one_sided.pull(number, replica_id, now_s)
        else:
            check_fetch(self._registry.specs, message, self._registry.num_replicas)
            found = one_sided.fetch(number, replica_id, message.replica_id, now_s)
        answer = SharedValue(
            call_id=call.call_id,
            variable_id=number,
            version=found.version,
            age_ns=found.age_ns(now_s),
            value=found.value,
        )
        return [Send(replica_id, answer)]

    def after(self, call: CallState) -> list[CoordinatorAction]:
        """Perform the possible steps after a message that does not complete a collective."""
        if self._registry.exchanges.is_open:
            return self._runner.run(self._calls.go_on(call, self._runner.now_s))
        return self._calls.proceed(call, self._runner.now_s)

    # ------------------------------------------------------------ the table

    HANDLERS: ClassVar[Mapping[type, Handler]] = {
        Contribution: _contribution,
        Scatter: _scatter,
        CompressedContribution: _compressed,
        Combine: _collective,
        MergeCall: _collective,
        Join: _join,
        Waiting: _waiting,
        WriteCounts: _write_counts,
        SyncRequest: _sync_request,
        HostCall: _host_call,
        Output: _output,
        **dict.fromkeys((*get_args(Meeting), LockRelease), _meeting),
        BoundedWrite: _bounded_write,
        CopyRequest: _copy_request,
        FetchPublished: _show,
        Pull: _show,
    }
    """Class of a message → method. A look-up takes less time than a `match` with many cases."""
