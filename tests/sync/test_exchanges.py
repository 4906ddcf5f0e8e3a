"""Exchanges of deferred writes on the coordinator: requests, replies, and late messages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.sync.build import (
    ADD,
    ASSIGN,
    AUTO,
    FETCH,
    SUM,
    V,
    W,
    Writes,
    array,
    contribution,
    coordinator,
    describe,
    fetch,
    give_up,
    handle,
    host_call,
    merge_call,
    raised,
    returned,
    spec,
)
from varsim.errors import MismatchError
from varsim.protocol.messages import (
    Delta,
    DeltaPart,
    DeltaReply,
    Payload,
    PullDeltas,
    SyncRequest,
    WriteCounts,
)
from varsim.spec import Operation
from varsim.sync.actions import Finish, ProgramRefused, Send
from varsim.sync.coordinator_events import HostCallDone, ProgramWrite, TimePasses
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.deferred import Log

OTHER = 999
"""The hash of operations that are not all adds."""


def state(num_replicas: int = 2, calls: int = 1) -> CoordinatorState:
    variables = spec(SUM, AUTO), spec(SUM, variable_id=V)
    return coordinator(*variables, num_replicas=num_replicas, calls=calls)


def operations(count: int) -> int:
    log = Log()
    for _ in range(count):
        log.write(ADD, None)
    return log.operations


def delta(count: int, value: float, *, since: int = 0, operation: Operation = ADD) -> Delta:
    return Delta(
        variable_id=W,
        since=since,
        count=count,
        operations=operations(count),
        sparse=0,
        row_bytes=0,
        parts=(DeltaPart(operation, (array(value),)),),
    )


def write_counts(count: int, *, call: int = 1, wrong: bool = False) -> WriteCounts:
    return WriteCounts(
        call_id=call,
        variable_ids=np.array([W]),
        counts=np.array([count]),
        operations=np.array([OTHER if wrong else operations(count)]),
        sparse=np.array([0]),
        row_bytes=np.array([0]),
    )


def sync_request(count: int, value: float, *, since: int = 0, call: int = 1) -> SyncRequest:
    return SyncRequest(call_id=call, delta=delta(count, value, since=since), location="train.py:40")


def pulls(actions) -> list[PullDeltas]:
    return [
        action.message
        for action in actions
        if isinstance(action, Send) and isinstance(action.message, PullDeltas)
    ]


def error_of(actions) -> str:
    (finish,) = [action for action in actions if isinstance(action, Finish)]
    assert isinstance(finish.error, MismatchError)
    return str(finish.error)


# ---------------------------------------------------------------- requests for deltas


def test_replicas_that_all_read_get_no_requests():
    own = state()
    handle(own, 0, write_counts(1))

    assert [] == describe(handle(own, 0, sync_request(1, 1.0)))
    handle(own, 1, write_counts(1))
    assert ["0 <- Commit w v1 assign 3.0", "1 <- Commit w v1 assign 3.0"] == describe(
        handle(own, 1, sync_request(1, 2.0))
    )


def test_a_running_replica_is_asked_when_it_waits():
    """A running replica handles no message. The replica may soon read and send the delta itself."""
    own = state()
    handle(own, 1, write_counts(1))
    handle(own, 0, write_counts(1))
    assert [] == pulls(handle(own, 0, sync_request(1, 1.0)))

    assert ["1 <- PullDeltas w #1"] == describe(handle(own, 1, merge_call()))


def test_a_replica_with_fewer_writes_gets_no_request():
    own = state()
    handle(own, 0, write_counts(2))
    handle(own, 0, sync_request(2, 1.0))
    handle(own, 1, write_counts(1))

    assert [] == pulls(handle(own, 1, host_call()))


def test_the_lowest_number_of_writes_is_exchanged_first():
    """A delta for a higher number is requested again, because a delta cannot be divided."""
    own = state()
    handle(own, 0, write_counts(2))
    handle(own, 0, sync_request(2, 11.0))
    handle(own, 1, write_counts(1))

    (pull,) = pulls(handle(own, 1, sync_request(1, 2.0)))
    assert 1 == pull.count
    happens = handle(own, 0, DeltaReply(request_id=pull.request_id, delta=delta(1, 1.0)))
    assert ["0 <- Commit w v1 assign 3.0", "1 <- Commit w v1 assign 3.0"] == describe(happens)[:2]
    assert [2] == [one.count for one in pulls(happens)]


# ---------------------------------------------------------------- late messages


def test_a_delta_reply_for_a_higher_number_of_writes_is_dropped():
    """The reply was already on its way when another replica needed a lower number."""
    own = state(num_replicas=3)
    for replica_id, count in ((2, 3), (1, 2)):
        handle(own, replica_id, write_counts(count))
    handle(own, 2, sync_request(3, 111.0))
    (late,) = pulls(handle(own, 1, sync_request(2, 11.0)))
    handle(own, 0, write_counts(1))
    several = pulls(handle(own, 0, sync_request(1, 1.0)))
    assert [1, 1] == [one.count for one in several]

    assert [] == handle(own, 2, DeltaReply(request_id=late.request_id, delta=delta(2, 11.0)))
    answers = [
        handle(own, i, DeltaReply(request_id=one.request_id, delta=delta(1, 1.0)))
        for i, one in zip((1, 2), several, strict=True)
    ]
    assert "0 <- Commit w v1 assign 3.0" == describe(answers[1])[0]


def test_a_request_whose_commit_is_on_its_way_does_not_wait():
    own = state()
    handle(own, 0, write_counts(1))
    handle(own, 0, sync_request(1, 1.0))
    handle(own, 1, write_counts(1))
    handle(own, 1, sync_request(1, 2.0))

    assert [] == handle(own, 1, sync_request(1, 2.0))
    assert not own.registry.exchanges.is_open
    handle(own, 1, returned())
    assert ["finish 1"] == describe(handle(own, 0, returned()))


def test_a_delta_from_before_the_last_exchange_is_requested_again():
    """The replica had not received the commit when it sent the delta."""
    own = state()
    handle(own, 0, write_counts(1))
    handle(own, 0, sync_request(1, 1.0))
    handle(own, 1, write_counts(1))
    handle(own, 1, sync_request(1, 2.0))
    handle(own, 1, write_counts(2))

    stale = handle(own, 1, sync_request(2, 22.0, since=0))
    assert ["1 <- PullDeltas w #2"] == describe(stale)
    (pull,) = pulls(stale)
    handle(own, 1, DeltaReply(request_id=pull.request_id, delta=delta(2, 20.0, since=1)))
    handle(own, 0, write_counts(2))
    assert (
        "0 <- Commit w v2 assign 33.0"
        == describe(handle(own, 0, sync_request(2, 10.0, since=1)))[0]
    )


def test_a_delta_reply_of_a_failed_call_is_dropped():
    own = state()
    handle(own, 0, write_counts(1))
    handle(own, 0, sync_request(1, 1.0))
    handle(own, 1, write_counts(1))
    (pull,) = pulls(handle(own, 1, host_call()))
    give_up(own, 1, "KeyboardInterrupt", 0.0)
    own.validate()

    assert [] == handle(own, 1, DeltaReply(request_id=pull.request_id, delta=delta(1, 2.0)))
    assert None is own.registry.exchanges.request(W, None, 0.0)


def test_write_counts_of_a_failed_call_are_dropped():
    own = state()
    give_up(own, 1, "KeyboardInterrupt", 0.0)
    handle(own, 0, write_counts(1))

    assert None is own.registry.exchanges.request(W, None, 0.0)


# ---------------------------------------------------------------- mismatches and failed calls


def test_writes_are_compared_when_all_have_returned():
    own = state()
    handle(own, 0, write_counts(2))
    handle(own, 0, returned())
    handle(own, 1, write_counts(1))

    text = error_of(handle(own, 1, returned()))
    assert "replica 0: 2 writes" in text
    assert "replica 1: 1 write;" in text


def test_operations_are_compared_when_all_have_returned():
    own = state()
    handle(own, 0, write_counts(1))
    handle(own, 0, returned())
    handle(own, 1, write_counts(1, wrong=True))

    assert "by different operations" in error_of(handle(own, 1, returned()))


def test_operations_are_compared_when_they_are_exchanged():
    own = state()
    handle(own, 0, write_counts(1))
    handle(own, 0, sync_request(1, 1.0))
    handle(own, 1, write_counts(1, wrong=True))
    other = replace(delta(1, 1.0), operations=OTHER, parts=(DeltaPart(ASSIGN, (array(1.0),)),))

    failed = handle(own, 1, SyncRequest(call_id=1, delta=other, location=""))
    assert "by different operations" in error_of(failed)


def test_a_reader_that_waits_for_a_missing_write_fails():
    own = state()
    handle(own, 0, write_counts(1))
    handle(own, 0, sync_request(1, 1.0))

    text = error_of(handle(own, 1, returned()))
    assert "it waits in a read of w, after its own write to it at train.py:40" in text
    assert "replica 1: 0 writes; its function returned" in text


def test_a_reply_on_its_way_delays_the_failure():
    own = state(num_replicas=3)
    handle(own, 0, write_counts(1))
    handle(own, 0, sync_request(1, 1.0))
    handle(own, 1, returned())
    handle(own, 2, write_counts(1))

    collected = handle(own, 2, returned())
    assert ["2 <- PullDeltas w #1"] == describe(collected)
    (pull,) = pulls(collected)
    text = error_of(handle(own, 2, DeltaReply(request_id=pull.request_id, delta=delta(1, 1.0))))
    assert "replica 1: 0 writes" in text


def test_an_exception_takes_precedence_over_a_mismatch():
    own = state()
    handle(own, 0, write_counts(1))
    handle(own, 0, sync_request(1, 1.0))

    assert "finish 1: 1 raised trouble" == describe(handle(own, 1, raised("trouble")))[-1]


def test_a_waiting_program_learns_that_its_call_has_failed():
    """The program does a host call of replica 1, and replica 0 never writes."""
    own = state()
    handle(own, 1, write_counts(1))
    handle(own, 1, host_call())
    handle(own, 0, merge_call())

    (pull,) = pulls(fetch(own))
    failed = handle(own, 1, DeltaReply(request_id=pull.request_id, delta=delta(1, 1.0)))
    (refused,) = [action for action in failed if isinstance(action, ProgramRefused)]
    assert FETCH == refused.token
    assert isinstance(refused.error, MismatchError)


def test_a_doomed_call_waits_for_replies_on_their_way():
    """Therefore the value that replica 0 reads does not depend on the speed of other replicas."""
    own = state()
    handle(own, 1, write_counts(1))
    handle(own, 1, raised("trouble"))
    handle(own, 0, write_counts(1))

    waits = handle(own, 0, sync_request(1, 1.0))
    assert ["1 <- PullDeltas w #1"] == describe(waits)
    (pull,) = pulls(waits)
    happens = handle(own, 1, DeltaReply(request_id=pull.request_id, delta=delta(1, 2.0)))
    assert ["0 <- Commit w v1 assign 3.0", "1 <- Commit w v1 assign 3.0"] == describe(happens)
    assert "finish 1: 1 raised trouble" == describe(handle(own, 0, returned()))[-1]


def test_a_doomed_call_waits_for_running_replicas():
    """Replica 0 waits for a write of replica 2. After this write, replica 0 can continue."""
    own = state(num_replicas=3)
    handle(own, 1, write_counts(1))
    handle(own, 1, raised("trouble"))
    handle(own, 0, write_counts(1))
    (pull,) = pulls(handle(own, 0, sync_request(1, 1.0)))
    handle(own, 2, contribution_to_v())

    assert [] == handle(own, 1, DeltaReply(request_id=pull.request_id, delta=delta(1, 2.0)))
    handle(own, 2, write_counts(1))
    assert "0 <- Commit w v1 assign 6.0" == describe(handle(own, 2, sync_request(1, 3.0)))[0]


def contribution_to_v() -> Writes:
    """Return an arrival that takes replica 2 beyond the collective at which the call fails."""
    return contribution(1.0, variable_id=V)


def test_a_call_around_a_waiting_call_does_not_fail():
    """All replicas of the outer call wait in a merge_call while the program runs the inner call."""
    own = state(calls=2)
    for replica_id in (0, 1):
        handle(own, replica_id, merge_call())
    handle(own, 0, write_counts(1, call=2))
    handle(own, 0, sync_request(1, 1.0, call=2))

    assert [] == own.handle(TimePasses(1.0))


def test_a_failed_call_drops_what_a_nested_call_wrote():
    own = state(calls=2)
    for replica_id in (0, 1):
        handle(own, replica_id, write_counts(1, call=2))
        handle(own, replica_id, returned(call=2))
    give_up(own, 1, "KeyboardInterrupt", 0.0)
    own.validate()

    assert None is own.registry.exchanges.request(W, None, 0.0)


# ---------------------------------------------------------------- the program


def test_a_read_by_the_program_exchanges_all_writes_once():
    own = state()
    for replica_id in (0, 1):
        handle(own, replica_id, write_counts(2))
        handle(own, replica_id, returned())

    actions = fetch(own)
    several = pulls(actions)
    assert ["0 <- PullDeltas w #2", "1 <- PullDeltas w #2"] == describe(actions)
    handle(own, 0, DeltaReply(request_id=several[0].request_id, delta=delta(2, 1.0)))
    happens = handle(own, 1, DeltaReply(request_id=several[1].request_id, delta=delta(2, 2.0)))

    assert ["exchanged", "done 3.0"] == describe(happens)[-2:]
    assert ["done 3.0"] == describe(fetch(own))
    account = own.registry.statistics()[0]
    assert (1, 6, 16) == (account.merges, account.messages, account.size_bytes)
    assert account.on_write is not None
    assert (2, 8, 32) == (
        account.on_write.merges,
        account.on_write.messages,
        account.on_write.size_bytes,
    )


def test_an_assign_ends_the_exchange_of_an_abandoned_read():
    own = state()
    for replica_id in (0, 1):
        handle(own, replica_id, write_counts(2))
        handle(own, replica_id, returned())
    several = pulls(fetch(own))
    give_up(own, FETCH)
    own.handle(ProgramWrite(W, ASSIGN, (array(5.0),), token=FETCH + 1))
    own.validate()

    for replica_id, pull in enumerate(several):
        reply = DeltaReply(request_id=pull.request_id, delta=delta(2, 1.0))
        assert [] == handle(own, replica_id, reply)
    assert ["done 5.0"] == describe(fetch(own))


def test_a_host_call_waits_for_deferred_writes_of_other_replicas():
    own = state()
    handle(own, 0, write_counts(1))
    assert [] == handle(own, 0, host_call("after"))
    first = handle(own, 1, host_call("before"))
    assert ["answer 1: before"] == describe(first)
    own.handle(HostCallDone(1, 1, Payload(None), failed=False))
    handle(own, 1, write_counts(1))

    assert ["answer 0: after"] == describe(handle(own, 1, returned()))
