"""The decisions of one replica."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from tests.sync.build import (
    ADD,
    ASSIGN,
    FIRST,
    LOCAL,
    MEAN,
    NONE,
    NOTHING,
    ON_READ,
    SUB,
    SUM,
    V,
    W,
    all_reduce,
    array,
    commit,
    describe,
    replica,
    spec,
    start,
)
from tests.sync.program import sent
from varsim.errors import AggregationError, OperationError, ProtocolError, ShapeError
from varsim.protocol.messages import (
    BY_PROGRAM,
    Abort,
    Acknowledge,
    Create,
    Define,
    Fetch,
    Forget,
    HostResult,
    Merged,
    Ready,
    Reduced,
    ReduceSlice,
    Shutdown,
    ToWorker,
)
from varsim.sync.replica_events import CallHost, EnterCombine, ProgramEvent
from varsim.sync.replica_state import ReplicaState

# ---------------------------------------------------------------- commits


def test_a_second_delivery_of_a_commit_changes_nothing():
    state = replica(spec())
    state.handle(commit(1, 5.0, ADD, call=BY_PROGRAM))
    state.handle(commit(1, 5.0, ADD, call=BY_PROGRAM))

    assert 5.0 == state.read(W)
    assert 1 == state.components.variables[W].version


def test_an_older_commit_is_ignored():
    state = replica(spec())
    state.handle(commit(1, 5.0, call=BY_PROGRAM))
    state.handle(commit(2, 6.0, call=BY_PROGRAM))
    state.handle(commit(1, 5.0, call=BY_PROGRAM))

    assert 6.0 == state.read(W)


def test_a_gap_between_commits_is_a_protocol_error():
    state = replica(spec())
    state.handle(commit(1, 5.0, call=BY_PROGRAM))

    with pytest.raises(ProtocolError, match="'w': commit 3 came after 1"):
        state.handle(commit(3, 7.0, call=BY_PROGRAM))
    assert 5.0 == state.read(W)


def test_a_commit_applies_its_operation_to_the_replicas_own_component():
    """Diverged components change by the same amount."""
    state = replica(spec(NONE))
    state.write(W, ASSIGN, array(1.0))
    state.handle(commit(1, 10.0, ADD, call=BY_PROGRAM))
    state.handle(commit(2, 0.5, SUB, call=BY_PROGRAM))

    assert 10.5 == state.read(W)


def test_a_second_creation_changes_nothing():
    state = replica(spec())
    state.handle(commit(1, 5.0, call=BY_PROGRAM))
    state.handle(Create(spec=spec(), value=array(9.0)))

    assert 5.0 == state.read(W)


# ---------------------------------------------------------------- reads


def test_a_read_value_is_read_only_and_never_changes():
    state = replica(spec(NONE))
    state.write(W, ASSIGN, array(1.0))
    before = state.read(W)
    state.write(W, ADD, array(1.0))
    state.handle(commit(1, 100.0, ADD, call=BY_PROGRAM))

    assert 1.0 == before
    assert not before.flags.writeable
    assert 102.0 == state.read(W)


def test_a_component_that_was_fetched_never_changes_later():
    state = replica(spec(SUM, ON_READ))
    state.write(W, ADD, array(1.0))
    (sent,) = state.handle(Fetch(request_id=7, variable_id=W))
    state.write(W, ADD, array(1.0))

    assert "-> Component w 1.0" == describe([sent])[0]
    assert 2.0 == state.read(W)


def test_an_add_to_an_unread_component_is_done_in_place():
    """A counter costs no allocation for each step."""
    state = replica(spec(SUM, ON_READ, shape=(2,)))
    state.write(W, ASSIGN, array([1.0, 2.0]))
    before = state.components.variables[W].component()
    state.write(W, ADD, array([1.0, 1.0]))

    assert state.components.variables[W].component() is before
    assert [2.0, 3.0] == before.tolist()


def test_a_read_waits_only_for_writes_of_its_replica():
    state = replica(spec(), spec(variable_id=V))
    state.write(W, ASSIGN, array(1.0))

    assert state.waits_for(W)
    assert not state.waits_for(V)
    state.handle(commit(1, 1.0))
    assert not state.waits_for(W)


def test_a_read_waits_for_all_earlier_writes_of_its_replica():
    state = replica(spec())
    state.write(W, ASSIGN, array(1.0))
    state.write(W, ADD, array(1.0))
    state.handle(commit(1, 1.0))

    assert state.waits_for(W)


def test_a_commit_of_another_call_does_not_end_a_wait():
    """Only a commit of its own call can contain the write for which the replica waits."""
    state = replica(spec(), call=1)
    state.write(W, ADD, array(1.0))
    state.enter()
    state.begin(2)
    state.handle(commit(1, 100.0, call=BY_PROGRAM))
    state.handle(commit(2, 101.0, call=7))
    state.validate()

    assert state.waits_for(W)
    state.handle(commit(3, 102.0, call=1))
    assert not state.waits_for(W)
    assert 102.0 == state.read(W)


# ---------------------------------------------------------------- the outbox


def test_the_outbox_is_sent_before_a_wait_and_not_again():
    state = replica(spec(), spec(variable_id=V))
    state.write(W, ASSIGN, array(1.0))
    state.write(V, ADD, array(2.0))

    assert ["-> Contribution w assign 1.0, v assign_add 2.0", "-> Waiting w"] == describe(
        state.wait(W)
    )
    assert ["-> Returned"] == describe(state.end())


def test_the_outbox_is_sent_with_a_collective_and_precedes_it():
    state = replica(spec())
    state.write(W, ASSIGN, array(1.0))
    reduce = all_reduce(1.0)
    enter = EnterCombine(reduce.how, reduce.structure, reduce.leaves, None, "")
    sent = state.enter(enter)

    assert ["-> Contribution w assign 1.0", "-> Combine all_reduce SUM 1.0"] == describe(sent)
    assert [0, 1] == [action.message.position for action in sent[1:]]


def test_the_outbox_is_sent_at_the_end_of_the_function():
    state = replica(spec())
    state.write(W, ASSIGN, array(1.0))

    assert ["-> Contribution w assign 1.0", "-> Returned"] == describe(state.end())
    state.validate()


def test_local_writes_never_enter_the_outbox():
    state = replica(spec(NONE), spec(SUM, ON_READ, variable_id=V), spec(SUM, LOCAL, variable_id=3))
    for variable_id in (W, V, 3):
        state.write(variable_id, ADD, array(1.0))

    assert [] == state.flush()
    assert [1.0, 1.0, 1.0] == [float(state.read(i)) for i in (W, V, 3)]


def test_only_the_first_replica_sends_its_value_for_only_first_replica():
    layouts, sent = [], []
    for replica_id in (0, 1):
        state = replica(spec(FIRST, shape=(2,)), replica_id=replica_id)
        state.write(W, ASSIGN, array([1.0, 2.0]), "train.py:3")
        layout, contribution = (action.message for action in state.flush())
        layouts.append(layout)
        sent.append(contribution)

    assert [(2,), (2,)] == [layout.writes[0].shape for layout in layouts]
    assert [[1.0, 2.0], []] == [contribution.buckets[0].tolist() for contribution in sent]


# ---------------------------------------------------------------- refusals


def test_a_write_of_another_shape_is_refused_and_not_counted():
    state = replica(spec(shape=(2,)))

    with pytest.raises(ShapeError, match=r"shape \[3\] to a variable of shape \[2\]"):
        state.write(W, ASSIGN, array([1.0, 2.0, 3.0]))
    assert [] == state.flush()
    assert () == state.report().accesses


def test_an_unknown_dimension_accepts_any_size_in_an_assign_only():
    state = replica(spec(NONE, shape=(None,)))
    state.write(W, ASSIGN, array([1.0, 2.0, 3.0]))
    state.write(W, ADD, array([1.0, 1.0, 1.0]))

    with pytest.raises(ShapeError):
        state.write(W, ADD, array([1.0]))
    with pytest.raises(ShapeError):
        state.write(W, ASSIGN, array([[1.0]]))
    assert [2.0, 3.0, 4.0] == state.read(W).tolist()


def test_an_add_must_fit_an_earlier_uncommitted_assign():
    state = replica(spec(SUM, shape=(None,)))
    state.write(W, ASSIGN, array([1.0, 2.0, 3.0]))
    state.write(W, ADD, array([1.0, 1.0, 1.0]))

    with pytest.raises(ShapeError, match=r"shape \[1\] to a variable of shape \[3\]"):
        state.write(W, ADD, array([1.0]))
    state.handle(commit(1, [2.0, 4.0, 6.0], settled=1))
    state.handle(commit(2, [4.0, 6.0, 8.0], settled=2))
    assert [4.0, 6.0, 8.0] == state.read(W).tolist()


def test_an_add_need_not_fit_an_assign_of_an_earlier_call():
    """The commit of the assign arrives after the call. Then the program assigns another shape."""
    state = replica(spec(SUM, shape=(None,)))
    state.write(W, ASSIGN, array([1.0, 2.0, 3.0]))
    state.end()
    state.handle(commit(1, [2.0, 4.0, 6.0]))
    state.handle(commit(2, [1.0, 1.0], call=BY_PROGRAM))
    state.begin(2)
    state.write(W, ADD, array([1.0, 1.0]))
    state.write(W, ADD, array([2.0, 2.0]))

    assert ["-> Contribution w assign_add [1., 1.], w assign_add [2., 2.]"] == describe(
        state.flush()
    )


def test_bools_are_not_summed_and_not_added():
    state = replica(spec(SUM, dtype="bool"), spec(FIRST, dtype="bool", variable_id=V))

    with pytest.raises(AggregationError, match="bools have no sum"):
        state.write(W, ASSIGN, array(True, "bool"))
    with pytest.raises(OperationError, match="bools cannot be added or subtracted"):
        state.write(V, ADD, array(True, "bool"))
    state.write(V, ASSIGN, array(True, "bool"))
    assert ["-> Contribution v assign True"] == describe(state.flush())


def test_local_bools_may_be_assigned_with_any_aggregation():
    state = replica(spec(SUM, ON_READ, dtype="bool"))
    state.write(W, ASSIGN, array(True, "bool"))

    assert state.read(W)


# ---------------------------------------------------------------- divergence, and reports


def test_a_diverging_write_warns_once_with_its_location():
    state = replica(spec(NONE))
    state.write(W, ASSIGN, array(1.0), "train.py:7")
    state.write(W, ADD, array(1.0), "train.py:8")

    ((text, location),) = state.report().warnings
    assert "variable 'w': assign in replica context" in text
    assert "train.py:7" == location
    assert () == state.report().warnings


def test_the_copy_of_a_single_replica_cannot_diverge():
    state = replica(spec(NONE), num_replicas=1)
    state.write(W, ASSIGN, array(1.0))

    assert () == state.report().warnings


def test_a_report_has_the_operations_since_the_last_report():
    """Writes that merge are counted where they are merged."""
    state = replica(spec(), spec(SUM, ON_READ, variable_id=V))
    state.write(W, ASSIGN, array(1.0))
    state.write(V, ADD, array(1.0))
    state.write(V, ADD, array(1.0))
    state.read(V)

    report = state.report("said")
    assert ((V, 2, 1),) == report.accesses
    assert (V,) == report.diverged
    assert "said" == report.output
    assert ((), ()) == (state.report().accesses, state.report().diverged)


def test_a_component_with_a_local_write_has_diverged():
    state = replica(spec(SUM))
    state.write_component(W, ASSIGN, array(3.0))

    assert 3.0 == state.read(W)
    assert (W,) == state.report().diverged
    assert [] == state.flush()


# ---------------------------------------------------------------- calls


def test_an_answer_is_delivered_to_the_innermost_call_only():
    state = replica(spec(), call=1)
    state.enter()
    state.begin(2)
    state.enter(CallHost(NOTHING, ""))
    answers = [
        Reduced(call_id=1, position=0, leaves=()),
        Merged(call_id=1, position=0, result=NOTHING),
        HostResult(call_id=1, result=NOTHING),
    ]

    assert [[], [], []] == [state.handle(answer) for answer in answers]
    assert ["deliver HostResult None"] == describe(
        state.handle(HostResult(call_id=2, result=NOTHING))
    )


def test_an_abort_without_a_running_call_is_answered():
    """The message that starts the call may never have been sent."""
    state = replica(spec(), call=None)
    assert ["-> Left"] == describe(state.handle(Abort(call_id=1, reason="over")))
    state.begin(1)

    assert state.aborted is None


def test_an_abort_of_an_outer_call_aborts_its_inner_calls():
    state = replica(spec(), call=1)
    state.enter()
    state.begin(2)
    state.handle(Abort(call_id=1, reason="another replica raised"))

    assert "another replica raised" == state.aborted


def test_an_aborted_call_only_reports_its_end():
    state = replica(spec())
    state.write(W, ASSIGN, array(1.0))
    state.handle(Abort(call_id=1, reason="over"))

    assert ["-> Left"] == describe(state.unwind())
    state.begin(2)
    assert not state.waits_for(W)
    assert ["-> Returned"] == describe(state.end())
    state.validate()


def test_a_commit_after_the_end_of_its_call_is_still_applied():
    state = replica(spec())
    state.write(W, ASSIGN, array(1.0))
    state.end()
    state.handle(commit(1, 4.0))
    state.begin(2)

    assert 4.0 == state.read(W)
    state.validate()


def indices(left):
    """Return the index of each collective."""
    return [message.position for actions in left for message in sent(actions)]  # type: ignore[attr-defined]


def test_a_nested_call_numbers_its_own_collectives():
    state = replica(spec(), call=1)
    outer = [state.enter()]
    state.begin(2)
    inner = [state.enter()]
    state.handle(Merged(call_id=2, position=0, result=NOTHING))
    state.end()
    state.handle(Merged(call_id=1, position=0, result=NOTHING))
    outer.append(state.enter())

    assert [0] == indices(inner)
    assert [0, 1] == indices(outer)


# ---------------------------------------------------------------- forgotten variables, messages


def test_forgetting_a_variable_twice_changes_nothing():
    state = replica(spec(SUM, ON_READ), spec(variable_id=V))
    state.write(W, ASSIGN, array(1.0))
    state.handle(Forget(variable_ids=(W,)))
    state.handle(Forget(variable_ids=(W,)))

    assert [V] == list(state.components.variables)
    assert () == state.report().accesses
    with pytest.raises(ProtocolError, match="holds no variable 1"):
        state.read(W)


def test_a_variable_may_be_forgotten_before_a_commit_of_it_arrives():
    """The call that wrote the variable has failed. Then the program has dropped the variable."""
    state = replica(spec())
    state.write(W, ASSIGN, array(1.0))
    state.handle(Abort(call_id=1, reason="over"))
    state.handle(Forget(variable_ids=(W,)))

    assert ["-> Left"] == describe(state.unwind())
    state.validate()


def test_start_and_shutdown_are_handled_and_ready_is_refused():
    state = replica(call=None)

    assert ["run 4"] == describe(state.handle(start(4)))
    assert ["stop"] == describe(state.handle(Shutdown()))
    with pytest.raises(ProtocolError, match="does not accept Ready"):
        state.handle(Ready(process_id=1))


@pytest.mark.parametrize("dtype", ["float16", "int8", "complex64", "bool"])
def test_components_keep_their_dtype(dtype):
    state = replica(spec(MEAN if dtype == "float16" else NONE, ON_READ, dtype=dtype, shape=(0,)))
    state.write(W, ASSIGN, np.zeros((0,), dtype))

    assert np.dtype(dtype) == state.read(W).dtype
    state.validate()


# ---------------------------------------------------------------- completeness


def test_every_event_has_a_method():
    """Without this test, a missing method would cause an error only when an event arrives."""
    elsewhere = {Define, ReduceSlice, Acknowledge}  # the shell, exchange and channel handle them

    assert {*get_args(ProgramEvent), *get_args(ToWorker)} - elsewhere == set(
        ReplicaState._DECISIONS
    )
