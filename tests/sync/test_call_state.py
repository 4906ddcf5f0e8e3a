"""The collectives of one call: which are complete, which replicas wait, and when the call fails."""

from __future__ import annotations

import re

import pytest

from tests.sync.build import (
    ADD,
    FIRST,
    SUB,
    V,
    W,
    Writes,
    all_gather,
    all_reduce,
    contribution,
    host_call,
    merge_call,
    raised,
    returned,
    spec,
    waiting,
)
from varsim.errors import MismatchError, ValueMismatchError
from varsim.spec import ReduceOp
from varsim.sync.call_state import CallState
from varsim.sync.pairing import GRACE_S, LONGEST_GRACE_S
from varsim.sync.participant import Plans, Status
from varsim.texts.replicas import ReadAt, WaitsIn, group_lines, grouped

SPECS = {W: spec(), V: spec(variable_id=V)}


class CallDriver:
    """A call state with shorter methods for tests."""

    def __init__(self, num_replicas=2, specs=SPECS, *, strict=False, started_s=1.0):
        self.specs = specs
        self.state = CallState(1, num_replicas, specs, started_s=started_s, strict=strict)
        self.plans = Plans(num_replicas, specs)

    def arrive(self, replica_id, message, now_s=0.0):
        """Return the collectives that are complete now."""
        plan = None
        if isinstance(message, Writes):
            layout, message = message.packed(self.specs)
            self.plans.learn(replica_id, layout)
            plan = self.plans.plan(replica_id, layout.layout_id)
        complete = self.state.arrive(replica_id, message, now_s, plan)
        self.state.validate()
        return complete

    def release(self, complete):
        for collectives in complete:
            self.state.release(collectives)

    def end(self, replica_id, ended, now_s=0.0):
        self.state.end(replica_id, ended, now_s)
        self.state.validate()

    def failure(self, now_s=0.0):
        return self.state.failure(now_s)

    def raised(self, now_s=0.0):
        """Return the exception of the call, and its replica."""
        replica_id, message = self.failure(now_s)
        return replica_id, message.traceback

    def statuses(self):
        return [participant.status for participant in self.state.participants]


def positions(complete):
    """Return the first position of each group of collectives, and the position after the last."""
    return [(collectives.start, collectives.stop) for collectives in complete]


def test_a_collective_is_complete_when_all_have_arrived():
    call = CallDriver(3)
    assert [] == call.arrive(2, contribution(1.0), 5.0)
    assert [] == call.arrive(0, contribution(2.0), 6.0)
    (collectives,) = call.arrive(1, contribution(3.0), 7.0)

    assert [6.0, 7.0, 5.0] == [arrival.at_s for arrival in collectives.arrivals]


def test_the_k_th_collectives_of_all_replicas_belong_together():
    call = CallDriver()
    call.arrive(0, contribution(1.0, index=0))
    call.arrive(0, contribution(2.0, index=1))

    for index in (0, 1):
        (collectives,) = call.arrive(1, contribution(1.0, index=index))
        assert [index, index] == [arrival.message.position for arrival in collectives.arrivals]


def test_a_contribution_does_not_make_its_replica_wait():
    call = CallDriver()
    call.arrive(0, contribution(1.0))

    assert [Status.RUNNING, Status.RUNNING] == call.statuses()


def test_a_replica_waits_for_the_answer_to_an_all_reduce():
    call = CallDriver()
    call.arrive(0, all_reduce(1.0))
    assert [Status.WAITING, Status.RUNNING] == call.statuses()
    call.release(call.arrive(1, all_reduce(1.0)))

    assert [Status.RUNNING, Status.RUNNING] == call.statuses()


# ---------------------------------------------------------------- arrivals that differ


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        (contribution(1.0), contribution(1.0, variable_id=V), MismatchError),
        (contribution(1.0, ADD), contribution(1.0, SUB), MismatchError),
        (contribution([1.0]), contribution([1.0, 2.0]), ValueMismatchError),
        (contribution(1.0), all_reduce(1.0), MismatchError),
        (merge_call(), all_gather([1.0]), MismatchError),
        (all_reduce(1.0), all_reduce(1.0, ReduceOp.MEAN), MismatchError),
        (all_reduce(1.0), all_reduce([1.0]), ValueMismatchError),
        (all_gather([[1.0]], 0), all_gather([[1.0]], 1), MismatchError),
        (all_gather([[1.0]]), all_gather([[1.0, 2.0]]), ValueMismatchError),
        (all_reduce(1.0, name="loss"), all_reduce(1.0, name="accuracy"), MismatchError),
        (all_gather([1.0], name="loss"), all_gather([1.0]), MismatchError),
        (merge_call(name="update"), merge_call(), MismatchError),
        (all_reduce({"a": 1.0}), all_reduce({"b": 1.0}), ValueMismatchError),
    ],
)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_different_arrivals_are_refused_in_any_order(first, second, error, order):
    call = CallDriver()
    parts = (first, second)
    call.arrive(order[0], parts[order[0]])

    assert [] == call.arrive(order[1], parts[order[1]])
    failure = call.failure()
    assert error is type(failure)
    lines = str(failure).splitlines()
    assert lines[1].startswith("  replica 0: ")
    assert lines[2].startswith("  replica 1: ")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (contribution(1.0), contribution(2.0)),
        (all_gather([1.0]), all_gather([1.0, 2.0])),
        (merge_call(), merge_call()),
        (
            all_reduce(1.0, name="loss", location="a:1"),
            all_reduce(2.0, name="loss", location="a:2"),
        ),
        (all_reduce({"a": 1.0, "b": 2.0}), all_reduce({"b": 1.0, "a": 2.0})),
    ],
)
def test_equal_arrivals_belong_together(first, second):
    call = CallDriver()
    call.arrive(0, first)

    assert [] != call.arrive(1, second)


def test_mismatched_values_are_not_reported_as_a_different_order():
    call = CallDriver()
    call.arrive(0, contribution([1.0]))
    call.arrive(1, contribution([1.0, 2.0]))

    text = str(call.failure())
    assert "gave values that do not match" in text
    assert "order" not in text


def test_unnamed_arrivals_from_different_lines_are_paired_and_reported_once():
    call = CallDriver(3)
    for index in (0, 1):
        for replica_id in (0, 1):
            call.arrive(replica_id, merge_call(index=index, location="a.py:1"))
        call.release(call.arrive(2, merge_call(index=index, location="a.py:2")))

    (collectives,) = call.state.crossings()
    assert ["a.py:1", "a.py:1", "a.py:2"] == [collectives[i].location for i in range(3)]


def test_unnamed_arrivals_from_one_line_are_not_reported():
    call = CallDriver()
    call.arrive(0, all_reduce(1.0))
    call.arrive(1, all_reduce(1.0))

    assert () == call.state.crossings()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_strict_refuses_unnamed_arrivals_from_different_lines(order):
    call = CallDriver(3, strict=True)
    for replica_id in order:
        location = "a.py:1" if replica_id == 2 else "a.py:2"
        assert [] == call.arrive(replica_id, all_reduce(1.0, location=location))

    failure = call.failure()
    assert "unnamed collectives in different lines" in str(failure)
    assert [(2,), (0, 1)] == [group.replica_ids for group in failure.groups]
    assert () == failure.fixes


def test_strict_pairs_arrivals_with_the_same_name_from_any_lines():
    call = CallDriver(strict=True)
    call.arrive(0, all_reduce(1.0, name="loss", location="a.py:1"))

    assert [] != call.arrive(1, all_reduce(1.0, name="loss", location="a.py:2"))


def test_no_fix_is_proposed_for_different_names():
    """A fix that changes a name would combine values that do not belong together."""
    call = CallDriver(4)
    for replica_id, name in enumerate(["loss", "accuracy", "loss", None]):
        call.arrive(replica_id, all_reduce(1.0, name=name))

    failure = call.failure()
    expected = "  the name 'accuracy' on replica 1 against no name on replica 3 against "
    assert f"{expected}the name 'loss' on replicas 0, 2\n" in str(failure)
    assert "  replica 1: all_reduce(SUM, float32[], name='accuracy') at train.py:30" in str(failure)
    assert () == failure.fixes


# ---------------------------------------------------------------- descriptions in the error


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_the_different_replica_is_listed_first(order):
    """This holds for every order, because the error is raised when all replicas have arrived."""
    call = CallDriver(5)
    for replica_id in order:
        assert None is call.failure()
        call.arrive(replica_id, contribution(1.0, variable_id=W if replica_id else V))

    failure = call.failure()
    assert [
        "  only replica 0: v.assign (float32 scalar) at train.py:10",
        "  replicas 1–4: w.assign (float32 scalar) at train.py:10",
    ] == str(failure).splitlines()[1:3]
    assert [(0,), (1, 2, 3, 4)] == [group.replica_ids for group in failure.groups]


def test_the_smallest_group_is_listed_first():
    call = CallDriver(6)
    for replica_id, operation in enumerate([ADD, SUB, ADD, ADD, SUB]):
        call.arrive(replica_id, contribution(1.0, operation))
    call.arrive(5, all_gather([1.0]))

    assert [(5,), (1, 4), (0, 2, 3)] == [group.replica_ids for group in call.failure().groups]


def test_replicas_that_did_not_arrive_in_time_are_a_group():
    call = CallDriver(5)
    call.arrive(1, all_reduce(1.0))
    call.arrive(3, all_gather([1.0]))
    call.end(4, returned())

    assert None is call.failure()
    assert [
        "  replica 1: all_reduce(SUM, float32[]) at train.py:30",
        "  replica 3: all_gather(float32[any], axis=0)",
        "  replica 4: never arrived; its function returned after 0 collectives",
        "  replicas 0, 2: did not arrive (run)",
    ] == str(call.failure(1.0 + GRACE_S)).splitlines()[1:5]


def test_only_the_first_of_many_groups_are_listed():
    call = CallDriver(40)
    for replica_id in range(40):
        call.arrive(replica_id, all_reduce([0.0] * replica_id))

    lines = str(call.failure()).splitlines()
    assert "  … and 28 more groups" in lines
    assert 40 == len(call.failure().groups)


# ---------------------------------------------------------------- replicas that never arrive


def test_a_call_fails_if_replicas_wait_for_one_that_has_returned():
    call = CallDriver(3)
    call.arrive(2, contribution(1.0))
    call.end(0, returned())

    text = str(call.failure(GRACE_S))
    assert "replica 2: w.assign (float32 scalar) at train.py:10" in text
    assert "replica 0: never arrived; its function returned after 0 collectives" in text
    assert "replica 1: did not arrive (runs)" in text
    assert "'w' (synchronization=ON_WRITE, aggregation=SUM, created at model.py:1)" in text


def test_a_collective_after_a_return_fails_at_once():
    call = CallDriver()
    call.end(1, returned())
    assert not call.state.doomed
    assert [] == call.arrive(0, contribution(1.0))

    assert call.state.doomed
    assert "replica 1: never arrived" in str(call.failure())


def test_a_return_after_the_same_number_of_collectives_succeeds():
    call = CallDriver()
    call.arrive(0, contribution(1.0))
    call.arrive(1, contribution(1.0))
    call.end(0, returned())
    call.end(1, returned())

    assert call.state.finished


def test_the_error_names_an_additional_step():
    call = CallDriver()
    call.arrive(0, contribution(1.0))
    call.arrive(1, contribution(1.0))
    call.arrive(0, contribution(1.0, index=1))
    call.end(1, returned())

    assert re.search(r"collective 2 .*(\n.*)*after 1 collective\n", str(call.failure()))


def test_the_error_for_a_missing_write_says_what_the_variable_needs():
    call = CallDriver(specs={W: spec(FIRST)})
    call.arrive(0, contribution(1.0))
    call.end(1, returned())

    assert "replica 0's value" in str(call.failure())


def test_the_error_for_a_missing_write_suggests_on_read():
    for message, advised in ((contribution(1.0), True), (all_reduce(1.0), False)):
        call = CallDriver()
        call.arrive(0, message)
        call.end(1, returned())
        assert advised == ("ON_READ" in str(call.failure()))


# ---------------------------------------------------------------- waits


def test_a_wait_for_a_variable_ends_with_its_last_commit():
    call = CallDriver()
    for index in (0, 1):
        call.arrive(0, contribution(1.0, index=index))
    call.state.wait(0, waiting(index=1))
    call.release(call.arrive(1, contribution(1.0, index=0)))
    assert Status.WAITING is call.statuses()[0]
    call.release(call.arrive(1, contribution(1.0, index=1)))

    assert Status.RUNNING is call.statuses()[0]


def test_a_commit_of_another_variable_does_not_end_a_wait():
    call = CallDriver()
    call.arrive(0, contribution(1.0, variable_id=V, index=0))
    call.arrive(0, contribution(1.0, index=1))
    call.state.wait(0, waiting(W, index=1))
    call.release(call.arrive(1, contribution(1.0, variable_id=V, index=0)))

    assert Status.WAITING is call.statuses()[0]


def test_a_replica_does_not_wait_for_a_commit_on_its_way():
    call = CallDriver()
    call.arrive(0, contribution(1.0))
    call.release(call.arrive(1, contribution(1.0)))
    call.state.wait(0, waiting())

    assert Status.RUNNING is call.statuses()[0]


# ---------------------------------------------------------------- host calls


def test_host_calls_are_answered_in_replica_order():
    call = CallDriver()
    call.state.request_host_call(1, host_call())
    assert None is call.state.host_calls.next()
    call.state.request_host_call(0, host_call())

    assert 0 == call.state.host_calls.next()[0]


def test_a_host_call_waits_for_every_lower_running_replica():
    call = CallDriver(3)
    call.state.request_host_call(2, host_call())
    call.end(0, returned())
    assert None is call.state.host_calls.next()
    call.end(1, returned())

    assert 2 == call.state.host_calls.next()[0]
    assert None is call.state.host_calls.next()


def test_a_host_call_waits_for_the_previous_one():
    """Replica 0 continues after its answer. Its next host call comes before that of replica 1."""
    call = CallDriver()
    call.state.request_host_call(0, host_call("first"))
    call.state.request_host_call(1, host_call("other"))
    assert 0 == call.state.host_calls.next()[0]
    assert None is call.state.host_calls.next()
    call.state.answered(0)
    assert None is call.state.host_calls.next()
    call.state.request_host_call(0, host_call("second"))

    assert "second" == call.state.host_calls.next()[1].request.tree


def test_a_host_call_waits_for_earlier_collectives():
    """In TensorFlow, replica 0 would wait at its write until replica 1 arrives."""
    call = CallDriver()
    call.arrive(0, contribution(1.0))
    call.state.request_host_call(0, host_call("after"))
    call.state.request_host_call(1, host_call("before"))

    assert 1 == call.state.host_calls.next()[0]
    call.state.answered(1)
    call.release(call.arrive(1, contribution(1.0)))
    assert 0 == call.state.host_calls.next()[0]


# ---------------------------------------------------------------- a call that can only fail


def test_the_exception_of_a_call_is_that_of_the_lowest_replica():
    call = CallDriver(3)
    call.end(2, raised("third"), 1.0)
    assert None is call.failure(1.0)
    call.end(1, raised("second"), 1.1)
    assert None is call.failure(1.1)
    call.end(0, raised("first"), 1.2)

    assert (0, "first") == call.raised(1.2)


def test_a_running_replica_has_a_grace_period():
    call = CallDriver()
    call.end(1, raised("second"), 1.0)

    assert 1.0 + GRACE_S == call.state.deadline_s
    assert None is call.failure(1.0 + 0.9 * GRACE_S)
    assert (1, "second") == call.raised(1.0 + GRACE_S)


def test_a_mismatch_has_a_grace_period():
    call = CallDriver(3)
    call.arrive(0, contribution(1.0), 1.0)
    call.end(1, returned(), 1.25)

    assert 1.25 + GRACE_S == call.state.deadline_s
    assert None is call.failure(1.25)
    assert "replica 2: did not arrive (runs)" in str(call.failure(1.25 + GRACE_S))


@pytest.mark.parametrize(("took_s", "grace_s"), [(2.0, 2.0), (3600.0, LONGEST_GRACE_S)])
def test_the_grace_period_is_the_time_since_the_last_collective(took_s, grace_s):
    call = CallDriver(3, started_s=0.0)
    for replica_id in range(3):
        call.arrive(replica_id, contribution(1.0), 5.0)
    call.arrive(0, contribution(1.0, index=1), 5.5)
    call.end(1, returned(), 5.0 + took_s)

    assert 5.0 + took_s + grace_s == call.state.deadline_s


def test_the_grace_period_begins_when_the_call_cannot_succeed_any_more():
    call = CallDriver(3)
    call.arrive(0, contribution(1.0), 1.0)
    call.arrive(0, contribution(1.0, index=1), 1.0)
    call.end(0, raised("two collectives later"), 1.0)
    call.end(1, raised("at once"), 1.0 + 0.5 * GRACE_S)

    assert 1.0 + GRACE_S == call.state.deadline_s
    assert (1, "at once") == call.raised(1.0 + GRACE_S)


def test_a_call_that_can_succeed_has_no_deadline():
    call = CallDriver()
    call.arrive(0, contribution(1.0))

    assert not call.state.doomed
    assert None is call.state.deadline_s
    assert None is call.failure(1000.0)


@pytest.mark.parametrize("how", ["waits", "returned", "is beyond it"])
def test_a_replica_that_cannot_arrive_any_more_ends_the_grace_period(how):
    call = CallDriver()
    if how == "waits":
        call.arrive(0, all_reduce(1.0))
    elif how == "returned":
        call.end(0, returned())
    else:
        call.arrive(0, contribution(1.0))
    call.end(1, raised("second"), 1.0)

    assert (1, "second") == call.raised(1.0)


def test_collectives_before_the_failed_one_are_still_complete():
    """Replica 0 raises after two writes, at which the other replicas arrive later."""
    call = CallDriver(3)
    for index in (0, 1):
        call.arrive(0, contribution(1.0, index=index))
    call.end(0, raised("first"))

    for index in (0, 1):
        assert [] == call.arrive(1, contribution(1.0, index=index))
        assert None is call.failure()
        assert [(index, index + 1)] == positions(call.arrive(2, contribution(1.0, index=index)))
    assert None is call.failure()  # replicas 1 and 2 may raise at this position, too
    call.end(1, returned())
    call.end(2, returned())
    assert (0, "first") == call.raised()


def test_collectives_from_the_failed_one_on_are_not_complete():
    call = CallDriver()
    call.arrive(0, contribution(1.0))
    call.arrive(1, contribution(1.0, variable_id=V))
    call.arrive(0, contribution(2.0, index=1))

    assert [] == call.arrive(1, contribution(2.0, index=1))
    assert "collective 1 " in str(call.failure())


def test_a_wait_for_a_collective_before_the_failed_one_still_ends():
    call = CallDriver(3)
    call.arrive(2, contribution(1.0))
    call.end(2, raised("third"))
    call.arrive(0, contribution(1.0))
    call.state.wait(0, waiting())
    call.release(call.arrive(1, contribution(1.0)))

    assert [Status.RUNNING, Status.RUNNING, Status.ENDED] == call.statuses()
    assert None is call.failure()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_first_collective_that_fails_is_reported(order):
    """Replica 0 writes and then raises. Replica 1 returns without a write."""

    def go(replica_id):
        if replica_id == 0:
            call.arrive(0, contribution(1.0))
            call.end(0, raised("after the write"))
        else:
            call.end(1, returned())

    call = CallDriver()
    for replica_id in order:
        go(replica_id)

    assert "replica 1: never arrived" in str(call.failure())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_at_one_position_an_exception_takes_precedence_over_a_mismatch(order):
    ends = {0: contribution(1.0), 1: all_reduce(1.0), 2: raised("the cause")}
    call = CallDriver(3)
    for replica_id in order:
        if replica_id == 2:
            call.end(2, ends[2])
        else:
            call.arrive(replica_id, ends[replica_id])

    assert (2, "the cause") == call.raised()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_a_replica_that_raised_is_not_a_mismatch(order):
    call = CallDriver(3)
    does = {
        0: lambda: call.arrive(0, contribution(1.0)),
        1: lambda: call.end(1, raised("the cause")),
        2: lambda: call.end(2, returned()),
    }
    for replica_id in order:
        does[replica_id]()

    assert (1, "the cause") == call.raised()
    assert not call.state.finished


def test_a_host_call_after_the_failed_collective_is_not_answered():
    call = CallDriver(3)
    call.end(2, raised("third"))
    call.arrive(0, contribution(1.0))
    call.state.request_host_call(0, host_call("beyond"))
    assert None is call.state.host_calls.next()
    call.state.request_host_call(1, host_call("before"))

    assert "before" == call.state.host_calls.next()[1].request.tree


# ---------------------------------------------------------------- what the replicas do


def test_a_group_of_waiting_replicas_speaks_of_each():
    doings = [WaitsIn(ReadAt("w", "train.py:40"))] * 2

    assert [
        "replicas 0, 1: wait in a read of w, each after its own write to it at train.py:40"
    ] == [str(group) for group in grouped(doings)]


def test_groups_list_what_replicas_do():
    call = CallDriver(4)
    call.arrive(0, contribution(1.0))
    call.state.wait(0, waiting())
    call.state.request_host_call(2, host_call())

    assert [
        "  replica 0: waits in a read of w, after its own write to it at train.py:40",
        "  replica 1: runs",
        "  replica 2: waits in a request to the program at train.py:50",
    ] == group_lines(call.state.groups([3]))


def test_replicas_that_do_the_same_share_a_group():
    call = CallDriver(5)
    for replica_id in (0, 1, 3):
        call.arrive(replica_id, all_reduce(1.0))

    assert [
        "  replica 4: runs",
        "  replicas 0, 1, 3: wait in all_reduce(SUM, float32[]) at train.py:30",
    ] == group_lines(call.state.groups([2]))
