"""The decisions of the coordinator for a whole cluster."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from tests.sync.build import (
    ADD,
    ASSIGN,
    FIRST,
    MEAN,
    NONE,
    ON_READ,
    ON_WRITE,
    SUM,
    V,
    W,
    all_gather,
    all_reduce,
    array,
    arrive,
    call,
    contribution,
    coordinator,
    describe,
    fetch,
    give_up,
    host_call,
    merge_call,
    raised,
    returned,
    spec,
    waiting,
)
from tests.sync.build import handle as act
from varsim.errors import MismatchError, ProtocolError, ShapeError
from varsim.protocol.messages import (
    Abort,
    Acknowledged,
    Component,
    Payload,
    Ready,
    Report,
    SliceReduced,
    ToCoordinator,
)
from varsim.spec import ReduceOp
from varsim.sync.call_messages import CallMessages
from varsim.sync.coordinator_events import (
    SETTLING,
    FreshEvent,
    HostCallDone,
    MergeFunctionReturns,
    SettlingEvent,
    TimePasses,
)
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.functions import MAX_FUNCTIONS


def handle(state, replica_id, message, now_s=0.0):
    return describe(act(state, replica_id, message, now_s))


# ---------------------------------------------------------------- merges


def test_a_commit_waits_for_the_last_replica():
    """Nothing is sent until every replica has contributed. Then each replica gets the mean."""
    state = coordinator(spec(MEAN, shape=(1,)))

    assert [] == handle(state, 0, contribution([1.0]))
    assert ["0 <- Commit w v1 assign [2.]", "1 <- Commit w v1 assign [2.]"] == handle(
        state, 1, contribution([3.0])
    )


def test_a_sum_is_in_replica_order_not_in_order_of_arrival():
    values = {0: 1e8, 1: 1.0, 2: -1e8}
    expected = np.float32(np.float32(1e8) + np.float32(1.0)) + np.float32(-1e8)
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        state = coordinator(spec(), num_replicas=3)
        for replica_id in order:
            handle(state, replica_id, contribution(values[replica_id]))
        assert expected == state.registry.mirror(W)


def test_an_add_to_a_known_mirror_commits_the_new_value():
    state = coordinator(spec())
    handle(state, 0, contribution(1.0, ADD))

    assert "0 <- Commit w v1 assign 3.0" in handle(state, 1, contribution(2.0, ADD))
    assert 3.0 == state.registry.mirror(W)


def test_diverged_components_apply_the_operation_and_an_assign_makes_them_equal():
    state = coordinator(spec())
    state.registry.write(W, ASSIGN, [array(1.0), array(2.0)], same=False)
    assert None is state.registry.mirror(W)
    handle(state, 0, contribution(1.0, ADD))

    assert "0 <- Commit w v2 assign_add 3.0" in handle(state, 1, contribution(2.0, ADD))
    assert None is state.registry.mirror(W)
    handle(state, 0, contribution(1.0, index=1))
    assert "1 <- Commit w v3 assign 3.0" in handle(state, 1, contribution(2.0, index=1))
    assert 3.0 == state.registry.mirror(W)


def test_with_only_first_replica_the_value_of_replica_0_is_committed():
    state = coordinator(spec(FIRST))
    handle(state, 1, contribution(None))

    assert ["0 <- Commit w v1 assign 5.0", "1 <- Commit w v1 assign 5.0"] == handle(
        state, 0, contribution(5.0)
    )


def test_a_value_that_does_not_fit_changes_no_component():
    """A replica cannot check an unknown dimension. All replicas write, or no replica writes."""
    state = coordinator(spec(shape=(None,)))
    handle(state, 0, contribution([1.0, 2.0], ADD))

    assert ["0 <- Abort", "1 <- Abort", "finish 1: ShapeError"] == handle(
        state, 1, contribution([1.0, 2.0], ADD)
    )
    assert [0.0] == state.registry.mirror(W).tolist()


# ---------------------------------------------------------------- other collectives


def test_all_reduce_answers_all_replicas():
    state = coordinator()
    handle(state, 1, all_reduce([1.0, 2.0], ReduceOp.MEAN))

    assert ["0 <- Reduced [2., 3.]", "1 <- Reduced [2., 3.]"] == handle(
        state, 0, all_reduce([3.0, 4.0], ReduceOp.MEAN)
    )


def test_all_gather_is_in_replica_order():
    state = coordinator()
    handle(state, 1, all_gather([3.0]))

    assert ["0 <- Reduced [1., 2., 3.]", "1 <- Reduced [1., 2., 3.]"] == handle(
        state, 0, all_gather([1.0, 2.0])
    )


def test_a_reduction_without_a_result_fails_the_call():
    state = coordinator()
    handle(state, 0, all_gather([1.0], 1))

    assert "finish 1: ShapeError" in handle(state, 1, all_gather([1.0], 1))


def test_a_merge_call_runs_once_for_all_replicas():
    state = coordinator()
    handle(state, 0, merge_call())

    assert ["run merge 1.0"] == handle(state, 1, merge_call())
    assert ["0 <- Merged a", "1 <- Merged b"] == describe(
        state.handle(MergeFunctionReturns(1, 0, [Payload("a"), Payload("b")]))
    )
    state.validate()


def test_a_host_call_is_answered_before_the_next_one():
    state = coordinator()
    assert [] == handle(state, 1, host_call("second"))
    assert ["answer 0: first"] == handle(state, 0, host_call("first"))

    assert ["0 <- HostResult 1"] == describe(
        state.handle(HostCallDone(1, 0, Payload(1), failed=False))
    )
    assert ["answer 1: second"] == handle(state, 0, returned())


# ---------------------------------------------------------------- calls and their ends


def test_a_call_finishes_when_all_have_returned():
    state = coordinator()

    assert [] == handle(state, 1, returned())
    assert ["finish 1"] == handle(state, 0, returned())
    assert not state.registry.call_running


def test_a_mismatch_ends_the_call_on_all_replicas():
    state = coordinator(spec())
    handle(state, 0, contribution(1.0))

    actions = act(state, 1, returned())
    assert ["0 <- Abort", "1 <- Abort", "finish 1: MismatchError"] == describe(actions)
    assert isinstance(actions[-1].error, MismatchError)
    assert str(actions[-1].error) == actions[0].message.reason
    state.validate()


def test_after_a_failure_only_reports_in_messages_are_used():
    state = coordinator(spec(), spec(NONE, variable_id=V))
    handle(state, 0, contribution(1.0))
    handle(state, 1, returned())

    assert [] == handle(state, 0, waiting())
    assert [] == handle(state, 0, returned(Report(accesses=((V, 3, 2),))))
    assert (3, 2) == (state.registry.statistics()[1].writes, state.registry.statistics()[1].reads)


def test_an_exception_ends_the_call_after_the_grace_period():
    state = coordinator()
    assert [] == handle(state, 1, raised("oh"), 1.0)
    deadline_s = state.deadline_s

    assert [] == describe(state.handle(TimePasses(deadline_s - 0.001)))
    assert ["0 <- Abort", "1 <- Abort", "finish 1: 1 raised oh"] == describe(
        state.handle(TimePasses(deadline_s))
    )
    assert None is state.deadline_s


def test_an_abandoned_call_is_aborted_once():
    state = coordinator()

    assert ["0 <- Abort", "1 <- Abort"] == describe(give_up(state, 1, "KeyboardInterrupt", 0.0))
    assert [] == describe(give_up(state, 1, "KeyboardInterrupt", 0.0))
    state.validate()


def test_a_nested_call_ends_without_the_outer_one():
    state = coordinator(calls=2)
    handle(state, 0, returned(call=2))

    assert ["finish 2"] == handle(state, 1, returned(call=2))
    assert state.registry.call_running
    handle(state, 0, returned(call=1))
    assert ["finish 1"] == handle(state, 1, returned(call=1))


def test_an_unexpected_message_is_a_protocol_error():
    state = coordinator()

    for message in (Ready(process_id=1), Abort(call_id=1, reason="")):
        with pytest.raises(ProtocolError, match=f"does not accept {message.name} messages"):
            arrive(state, 0, message, 0.0)


# ---------------------------------------------------------------- functions


def test_a_function_is_sent_once():
    state = CoordinatorState(2)
    first, second = call(state), call(state)

    assert ["0 <- Define f", "1 <- Define f", "0 <- Start f", "1 <- Start f"] == describe(first)
    assert ["0 <- Start f", "1 <- Start f"] == describe(second)


def test_the_least_recently_used_function_is_forgotten():
    state = CoordinatorState(1)
    for number in range(MAX_FUNCTIONS):
        call(state, f"f{number}")
    call(state, "f0")

    assert "0 <- Forget f1" in describe(call(state, "one too many"))
    assert "0 <- Define f0" not in describe(call(state, "f0"))
    assert "0 <- Define f1" in describe(call(state, "f1"))


# ---------------------------------------------------------------- the registry


def test_create_and_forget_are_sent_to_all_replicas():
    registry = CoordinatorState(2).registry

    assert ["0 <- Create w 7.0", "1 <- Create w 7.0"] == describe(
        registry.create(spec(), array(7.0))
    )
    assert ["0 <- Forget w", "1 <- Forget w"] == describe(registry.forget(W))
    assert [] == describe(registry.forget(W))


def test_a_write_that_does_not_fit_changes_nothing():
    registry = coordinator(spec(shape=(2,)), calls=0).registry

    with pytest.raises(ShapeError):
        registry.write(W, ASSIGN, [array([1.0, 2.0]), array([1.0])], same=False)
    assert [0.0, 0.0] == registry.mirror(W).tolist()
    assert 0 == registry.statistics()[0].writes


def test_an_add_that_does_not_fit_unknown_components_is_refused():
    """Otherwise the replicas would detect the wrong shape only after the program has continued."""
    registry = coordinator(spec(NONE)).registry
    assert None is registry.mirror(W)

    with pytest.raises(ShapeError, match=r"shape \[1\] to a variable of shape \[\]"):
        registry.write(W, ADD, [array([1.0])] * 2, same=True)


def test_only_mirrors_are_known_while_a_call_runs():
    """During a call, replicas may write components that are not mirrors."""
    state = coordinator(spec(), spec(SUM, ON_READ, variable_id=V))

    assert 0.0 == state.registry.mirror(W)
    assert None is state.registry.mirror(V)
    handle(state, 0, returned())
    handle(state, 1, returned())
    assert 0.0 == state.registry.mirror(V)


def test_a_report_of_a_diverged_component_makes_its_mirror_unknown():
    state = coordinator(spec(NONE))
    handle(state, 0, returned(Report(diverged=(W,))))
    handle(state, 1, returned())

    assert None is state.registry.mirror(W)


def test_a_call_without_reports_leaves_local_variables_unknown():
    state = coordinator(spec(), spec(SUM, ON_READ, variable_id=V))
    give_up(state, 1, "KeyboardInterrupt", 0.0)

    assert 0.0 == state.registry.mirror(W)
    assert None is state.registry.mirror(V)


def component(request_id, value):
    return Component(request_id=request_id, variable_id=W, version=0, value=array(value))


def test_a_fetch_returns_components_in_the_requested_order():
    state = coordinator(spec(SUM, ON_READ), num_replicas=3, calls=0)
    state.registry.distrust_local()
    actions = fetch(state, [2, 0])

    assert ["2 <- Fetch w", "0 <- Fetch w"] == describe(actions)
    assert [] == handle(state, 0, component(1, 1.0))
    assert ["done 3.0 1.0"] == handle(state, 2, component(1, 3.0))


def test_an_unrequested_component_is_ignored():
    state = coordinator(spec(SUM, ON_READ), calls=0)
    state.registry.distrust_local()
    fetch(state, [0])

    assert [] == handle(state, 1, component(1, 1.0))
    assert [] == handle(state, 0, component(99, 1.0))
    assert ["done 1.0"] == handle(state, 0, component(1, 1.0))
    assert [] == handle(state, 0, component(1, 1.0))


# ---------------------------------------------------------------- statistics


def test_a_merge_counts_two_messages_for_each_replica_and_their_bytes():
    state = coordinator(spec(shape=(4,)), num_replicas=3)
    for replica_id in range(3):
        handle(state, replica_id, contribution([1.0] * 4), float(replica_id))

    (account,) = state.registry.statistics()
    assert (1, 6, 6 * 16) == (account.merges, account.messages, account.size_bytes)
    assert 2.0 + 1.0 + 0.0 == account.waited_s


def test_with_only_first_replica_the_value_of_one_contribution_is_counted():
    state = coordinator(spec(FIRST))
    handle(state, 0, contribution(1.0))
    handle(state, 1, contribution(None))

    assert (4, 3 * 4) == _cost(state)


def test_a_write_by_the_program_counts_one_message_for_each_replica():
    state = coordinator(spec(), calls=0)
    state.registry.write(W, ADD, [array(1.0)] * 2, same=True)

    assert (2, 8) == _cost(state)
    assert 1 == state.registry.statistics()[0].writes


def test_a_fetch_counts_a_question_and_an_answer():
    state = coordinator(spec(SUM, ON_READ), calls=0)
    state.registry.distrust_local()
    fetch(state, [0, 1])
    handle(state, 0, component(1, 1.0))
    handle(state, 1, component(1, 1.0))

    assert (4, 8) == _cost(state)


def _cost(state):
    account = state.registry.statistics()[0]
    return account.messages, account.size_bytes


def test_statistics_outlive_their_variables_and_are_in_order_of_creation():
    state = coordinator(spec(), spec(SUM, ON_READ, variable_id=V), calls=0)
    state.registry.count_read(W)
    state.registry.forget(W)

    assert ["w", "v"] == [account.name for account in state.registry.statistics()]
    assert [(1, ON_WRITE), (0, ON_READ)] == [
        (account.reads, account.synchronization) for account in state.registry.statistics()
    ]


# ---------------------------------------------------------------- completeness


def test_every_event_and_message_has_a_method():
    """Without this test, a missing method would cause an error only when a message arrives."""
    state = CoordinatorState
    elsewhere = {Ready, SliceReduced, Acknowledged}  # the channel and the exchange handle them

    assert set(get_args(FreshEvent)) == state._BEGINNINGS.keys()
    assert set(get_args(SettlingEvent)) == set(SETTLING)
    assert set(get_args(ToCoordinator)) - elsewhere == {
        *state._MESSAGES,
        *CallMessages.HANDLERS,
    }
