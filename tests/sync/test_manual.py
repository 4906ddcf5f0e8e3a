"""Manual operations in the states: applied in order, and checked at both doors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sync.build import LOCAL, NONE, ON_WRITE, SUM, V, W, array, coordinator, give_up, spec
from tests.sync.build import replica as running
from varsim.errors import ProtocolError
from varsim.protocol.messages import (
    Combination,
    Combine,
    CombineKind,
    FetchPublished,
    Message,
    Publish,
    Pull,
    Push,
    Reduced,
    SharedValue,
)
from varsim.protocol.parts import LEAF
from varsim.spec import Operation, ReduceOp
from varsim.sync.actions import Await, Deliver, ProgramDone, Send
from varsim.sync.coordinator_events import (
    LookForStalls,
    MessageArrives,
    ProgramForget,
    ProgramPull,
    ProgramPush,
)
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.event_log import InvalidTransition
from varsim.sync.replica_events import (
    EnterCombine,
    EnterSync,
    ReplicaFetch,
    ReplicaPublish,
    ReplicaPull,
    ReplicaPush,
)


def state(num_replicas: int = 2) -> CoordinatorState:
    return coordinator(
        spec(NONE, LOCAL), spec(SUM, ON_WRITE, variable_id=V), num_replicas=num_replicas
    )


def push(value: Any = 1.0, number: int = W, call_id: int = 1) -> Push:
    return Push(call_id=call_id, variable_id=number, delta=array(value), location="a.py:1")


def publish(value: Any = 1.0, number: int = W) -> Publish:
    return Publish(call_id=1, variable_id=number, value=array(value), location="a.py:1")


def pull(number: int = W) -> Pull:
    return Pull(call_id=1, variable_id=number, location="a.py:2")


def fetch(owner: int, number: int = W) -> FetchPublished:
    return FetchPublished(call_id=1, variable_id=number, replica_id=owner, location="a.py:2")


def arrive(
    to: CoordinatorState, replica_id: int, message: Message, now_s: float = 1.0
) -> list[Any]:
    actions = to.handle(MessageArrives(replica_id, message, now_s))
    to.validate()
    return list(actions)


def answered(actions: list[Any]) -> tuple[int, int, float, int]:
    """Return the receiver, the version, the value and the age in ns of the only answer."""
    (action,) = actions
    assert isinstance(action, Send)
    assert isinstance(action.message, SharedValue)
    return action.to, action.message.version, float(action.message.value), action.message.age_ns


# ---------------------------------------------------------------- the coordinator


def test_a_pull_is_answered_at_once_with_the_pushes_that_have_arrived():
    one = state()

    assert [] == arrive(one, 0, push(2.0), now_s=1.0)
    assert (1, 1, 2.0, 500_000_000) == answered(arrive(one, 1, pull(), now_s=1.5))
    assert [] == arrive(one, 1, push(3.0), now_s=2.0)
    assert (0, 2, 5.0, 0) == answered(arrive(one, 0, pull(), now_s=2.0))


def test_a_fetch_needs_no_replica_and_gives_the_last_publication():
    one = state()

    assert (1, 0, 0.0, 1_000_000_000) == answered(arrive(one, 1, fetch(0), now_s=1.0))
    arrive(one, 0, publish(7.0), now_s=1.0)
    arrive(one, 0, publish(8.0), now_s=2.0)
    assert (1, 2, 8.0, 250_000_000) == answered(arrive(one, 1, fetch(0), now_s=2.25))
    assert (1, 0, 0.0, 2_500_000_000) == answered(arrive(one, 1, fetch(1), now_s=2.5))


def test_the_program_pushes_and_pulls_without_messages():
    one = state()
    arrive(one, 0, push(2.0))
    (done,) = one.handle(ProgramPush(W, array(1.0), 50, 2.0))
    assert (50, ()) == (done.token, done.values)
    (done,) = one.handle(ProgramPull(W, 51, 2.5))

    assert isinstance(done, ProgramDone)
    assert (3.0, (2,), (500_000_000,)) == (float(done.values[0]), done.versions, done.ages_ns)


def test_a_push_counts_after_its_call_has_failed_and_a_pull_is_ignored():
    one = state()
    give_up(one, 1)

    assert [] == arrive(one, 0, push(2.0))
    assert [] == arrive(one, 0, pull())
    (done,) = one.handle(ProgramPull(W, 50, 2.0))
    assert 2.0 == float(done.values[0])


def test_a_push_to_a_variable_that_was_dropped_since_is_ignored():
    one = state()
    give_up(one, 1)
    one.handle(ProgramForget(W, 1.0))

    assert [] == arrive(one, 0, push(2.0))
    with pytest.raises(InvalidTransition):
        one.handle(ProgramPull(W, 50, 2.0))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (push([1.0, 2.0]), "a push to variable 'w' has a wrong shape"),
        (publish([1.0, 2.0]), "a publication of variable 'w' has a wrong shape"),
        (push(number=9), "a push names variable 9"),
        (publish(number=9), "a publish names variable 9"),
        (pull(9), "a pull names variable 9"),
        (fetch(2), "names replica 2, which does not exist"),
        (fetch(-1), "names replica -1"),
        (push(number=V), "that its replica must refuse"),
        (pull(V), "that its replica must refuse"),
        (publish(number=V), "that its replica must refuse"),
        (fetch(0, V), "that its replica must refuse"),
    ],
)
def test_wrong_messages_change_nothing(message: Message, reason: str):
    one = state()
    with pytest.raises(ProtocolError, match=reason):
        arrive(one, 0, message)
    assert (1, 0, 0.0) == answered(arrive(one, 1, pull()))[:3]


def test_a_waiting_replica_cannot_push():
    one = state()
    arrive(one, 0, fetch(1))  # a fetch is answered at once, so the replica runs again
    arrive(one, 0, push())
    with pytest.raises(ProtocolError, match="takes no part in call 1"):
        arrive(one, 7, push())


def test_pushes_are_progress_and_pulls_are_not():
    one = state()
    blocked_s = one.stalls.limits.blocked_s
    assert blocked_s is not None
    now_s = 1.5 * blocked_s
    arrive(one, 0, push(), now_s)
    arrive(one, 1, pull(), now_s)
    (call,) = one._calls
    quiet = call.quiet(now_s)

    assert (now_s, 0.0) == (quiet[0].since_s, quiet[1].since_s)
    (examine,) = one.handle(LookForStalls(now_s))
    assert (1,) == examine.replica_ids


# ---------------------------------------------------------------- the replica


def test_a_push_and_a_publication_do_not_wait():
    one = running(spec(NONE, LOCAL))
    (sent,) = one.handle(ReplicaPush(W, array(2.0), "a.py:1"))
    assert isinstance(sent, Send)
    assert isinstance(sent.message, Push)
    (sent,) = one.handle(ReplicaPublish(W, "a.py:1"))
    assert isinstance(sent.message, Publish)
    assert 0.0 == float(sent.message.value)


@pytest.mark.parametrize("event", [ReplicaPull(W, "a.py:1"), ReplicaFetch(W, 1, "a.py:1")])
def test_a_fetch_and_a_pull_wait_for_the_answer(event: Any):
    one = running(spec(NONE, LOCAL))
    _, waits = one.handle(event)
    assert Await(may_block=False) == waits
    answer = SharedValue(call_id=1, variable_id=W, version=3, age_ns=5, value=array(2.0))

    assert [Deliver(answer)] == list(one.handle(answer))


@pytest.mark.parametrize(
    "wrong",
    [{"version": -1}, {"age_ns": -1}, {"value": array([2.0])}, {"value": array(2, "int32")}],
)
def test_a_malformed_answer_is_refused(wrong: dict[str, Any]):
    one = running(spec(NONE, LOCAL))
    one.handle(ReplicaPull(W, "a.py:1"))
    fields = {"version": 0, "age_ns": 0, "value": array(2.0)} | wrong
    with pytest.raises(ProtocolError, match="malformed"):
        one.handle(SharedValue(call_id=1, variable_id=W, **fields))


def test_an_answer_without_a_request_is_refused():
    one = running(spec(NONE, LOCAL))
    answer = SharedValue(call_id=1, variable_id=W, version=0, age_ns=0, value=array(2.0))
    with pytest.raises(ProtocolError, match="for which the program does not wait"):
        one.handle(answer)


# ---------------------------------------------------------------- sync


def combine(value: Any = 1.0, number: int | None = W, **others: Any) -> Combine:
    how = Combination(CombineKind.ALL_REDUCE, ReduceOp.SUM, variable_id=number)
    fields: dict[str, Any] = {"how": how, "position": 0, "leaves": (array(value),)} | others
    return Combine(
        call_id=1,
        structure=tuple((f"[{i}]", LEAF) for i in range(len(fields["leaves"]))),
        weight=fields.pop("weight", None),
        label=None,
        location="a.py:3",
        **fields,
    )


def test_a_sync_takes_the_component_and_stores_the_result():
    one = running(spec(NONE, LOCAL))
    event = EnterSync(combine().how, (("", LEAF),), None, "a.py:3")
    one.write_component(W, Operation.ASSIGN, array(4.0))
    sent, _ = one.handle(event)
    assert isinstance(sent, Send)
    assert isinstance(sent.message, Combine)
    assert 4.0 == float(sent.message.leaves[0])
    answer = Reduced(call_id=1, position=0, leaves=(array(9.0),))

    assert [Deliver(answer)] == list(one.handle(answer))
    assert 9.0 == float(one.components.find(W).component())


@pytest.mark.parametrize("leaf", [array([9.0]), array(9, "int32")])
def test_a_malformed_result_of_a_sync_is_refused(leaf: Any):
    one = running(spec(NONE, LOCAL))
    one.handle(EnterSync(combine().how, (("", LEAF),), None, "a.py:3"))
    with pytest.raises(ProtocolError, match="result of a sync"):
        one.handle(Reduced(call_id=1, position=0, leaves=(leaf,)))


def test_an_all_reduce_after_a_sync_stores_nothing():
    one = running(spec(NONE, LOCAL))
    one.handle(EnterSync(combine().how, (("", LEAF),), None, "a.py:3"))
    one.handle(Reduced(call_id=1, position=0, leaves=(array(9.0),)))
    how = Combination(CombineKind.ALL_REDUCE, ReduceOp.SUM)
    one.handle(EnterCombine(how, (("", LEAF),), (array(1.0),), None, "a.py:4"))
    one.handle(Reduced(call_id=1, position=1, leaves=(array(2.0),)))

    assert 9.0 == float(one.components.find(W).component())


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (combine([1.0]), "a v.sync of variable 'w' has a wrong shape"),
        (combine(number=9), "a sync names variable 9"),
        (combine(number=V), "that its replica must refuse"),
        (combine(leaves=(array(1.0), array(2.0))), "cannot have the arguments"),
        (
            combine(how=Combination(CombineKind.SCAN, ReduceOp.SUM, variable_id=W)),
            "cannot have the arguments",
        ),
        (
            combine(how=Combination(CombineKind.ALL_REDUCE, ReduceOp.ANY, variable_id=W)),
            "that its replica must refuse",
        ),
    ],
)
def test_wrong_syncs_are_refused(message: Message, reason: str):
    with pytest.raises(ProtocolError, match=reason):
        arrive(state(), 0, message)
