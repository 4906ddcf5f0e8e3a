"""The messages of an outbox, and the layouts that both sides store."""

from __future__ import annotations

import pytest

from tests.sync.build import (
    ADD,
    ASSIGN,
    NOTHING,
    U,
    V,
    W,
    array,
    arrive,
    contribution,
    coordinator,
    give_up,
    replica,
    spec,
)
from tests.sync.cluster import StateCluster
from varsim.errors import ProtocolError
from varsim.protocol.buckets import PACK_LIMIT_BYTES
from varsim.protocol.codec import encode
from varsim.protocol.messages import Abort, Contribution, Forget, Layout, Merged
from varsim.spec import Operation
from varsim.sync import outbox
from varsim.sync.participant import MAX_LAYOUTS
from varsim.sync.pending_report import MAX_WARNINGS, PendingReport


def leave(state):
    """Return the messages of an outbox."""
    return [action.message for action in state.flush()]


def names(messages):
    return [message.name for message in messages]


def test_an_empty_outbox_sends_nothing():
    assert [] == leave(replica(spec()))


def test_all_writes_are_sent_as_one_contribution():
    state = replica(spec(), spec(variable_id=V), spec(variable_id=U, dtype="int64"))
    state.write(W, ASSIGN, array(1.0), "train.py:1")
    state.write(U, ADD, array(7, "int64"), "train.py:2")
    state.write(V, ASSIGN, array(2.0), "train.py:3")
    layout, contribution = leave(state)

    assert ["train.py:1", "train.py:2", "train.py:3"] == [w.location for w in layout.writes]
    assert [[1.0, 2.0], 7] == [bucket.tolist() for bucket in contribution.buckets]
    assert 0 == contribution.position


def test_the_index_of_a_contribution_is_that_of_its_first_write():
    state = replica(spec())
    for _ in range(3):
        state.write(W, ADD, array(1.0))
    leave(state)
    state.enter()
    state.handle(Merged(call_id=1, position=3, result=NOTHING))
    state.write(W, ADD, array(1.0))

    assert 4 == leave(state)[-1].position


def test_a_layout_is_sent_once():
    state = replica(spec(), spec(variable_id=V))
    sent = []
    for value in (1.0, 2.0):
        state.write(W, ASSIGN, array(value), "train.py:1")
        state.write(V, ASSIGN, array(value), "train.py:2")
        sent.append(leave(state))

    assert [["Layout", "Contribution"], ["Contribution"]] == [names(messages) for messages in sent]
    assert sent[0][1].layout_id == sent[1][0].layout_id


def test_a_layout_is_sent_although_its_call_has_failed():
    """A sparse write packs the dense writes before it, and the call then fails."""
    state = replica(spec(shape=(2,)))
    state.write(W, ADD, array([1.0, 2.0]), "train.py:1")
    state.scatter(W, Operation.SCATTER_ADD, [0], [1.0])
    state.handle(Abort(call_id=1, reason="another replica raised"))
    state.unwind()
    state.begin(2)
    state.write(W, ADD, array([3.0, 4.0]), "train.py:1")

    layout, contribution = leave(state)

    assert ["Layout", "Contribution"] == [layout.name, contribution.name]
    assert layout.layout_id == contribution.layout_id
    assert 0 == contribution.position


@pytest.mark.parametrize(
    ("variable_id", "operation", "shape", "location"),
    [
        (V, ASSIGN, (1,), "train.py:1"),
        (W, ADD, (1,), "train.py:1"),
        (W, ASSIGN, (2,), "train.py:1"),
        (W, ASSIGN, (1,), "train.py:2"),
    ],
    ids=["variable", "operation", "shape", "location"],
)
def test_other_writes_have_another_layout(variable_id, operation, shape, location):
    state = replica(spec(shape=(None,)), spec(variable_id=V, shape=(None,)))
    state.write(W, ASSIGN, array([0.0]), "train.py:1")
    first, _ = leave(state)
    state.write(variable_id, operation, array([0.0] * shape[0]), location)
    second, _ = leave(state)

    assert first.layout_id != second.layout_id


def step_of(cluster, number, replica_id):
    """Write W `number` times. Each number of writes has its own layout."""
    for location in range(number):
        cluster.replicas[replica_id].write(W, ADD, array(1.0), f"train.py:{location}")
    cluster.leave(replica_id)


def test_ids_of_layouts_are_reused_and_both_sides_agree():
    """Replica 1 sends each write alone, so its layouts differ from those of replica 0."""
    cluster = StateCluster(spec())
    cluster.start()
    numbers = [*range(1, MAX_LAYOUTS + 3), 1, 2, MAX_LAYOUTS + 2, 1]
    for number in numbers:
        step_of(cluster, number, 0)
        for location in range(number):  # one by one: each write has its own layout
            cluster.replicas[1].write(W, ADD, array(1.0), f"train.py:{location}")
            cluster.leave(1)

    assert [2.0 * sum(numbers)] * 2 == cluster.read(W)
    layouts = [message for message in cluster.left if isinstance(message, Layout)]
    assert set(range(MAX_LAYOUTS)) == {layout.layout_id for layout in layouts}


def test_the_oldest_layout_is_forgotten_first():
    state = replica(spec())

    def step(location):
        state.write(W, ADD, array(1.0), f"train.py:{location}")
        return names(leave(state))

    for location in range(MAX_LAYOUTS + 1):
        step(location)

    assert ["Contribution"] == step(MAX_LAYOUTS)
    assert ["Contribution"] == step(1)
    assert ["Layout", "Contribution"] == step(0)
    assert ["Layout", "Contribution"] == step(1)  # the layout of location 1 was replaced


def parts_of(messages):
    """Return the position and the locations of each contribution."""
    layouts = {one.layout_id: one.writes for one in messages if isinstance(one, Layout)}
    return [
        (one.position, [write.location for write in layouts[one.layout_id]])
        for one in messages
        if isinstance(one, Contribution)
    ]


def test_a_full_outbox_is_sent_in_several_contributions(monkeypatch):
    monkeypatch.setattr(outbox, "MAX_WRITES", 2)
    state = replica(spec())
    for line in "abcde":
        state.write(W, ADD, array(1.0), line)

    assert [(0, ["a", "b"]), (2, ["c", "d"]), (4, ["e"])] == parts_of(leave(state))

    for line in "abcde":
        state.write(W, ADD, array(1.0), line)
    again = leave(state)
    assert ["Contribution"] * 3 == names(again)
    assert [5, 7, 9] == [message.position for message in again]


def test_long_locations_are_sent_in_several_contributions():
    """Layouts with the longest paths of Linux are within the limits of a header."""
    state = replica(spec())
    lines = [f"{chr(0x4E00 + i % 20_000) * 1_300}.py:{i}" for i in range(300)]
    for line in lines:
        state.write(W, ADD, array(1.0), line)
    messages = leave(state)

    for message in messages:
        encode([message])
    assert lines == [line for _, part in parts_of(messages) for line in part]
    assert len(parts_of(messages)) > 1


def test_warnings_beyond_the_limit_are_in_the_next_report():
    report = PendingReport()
    report.add("", tuple((str(number), "train.py:1") for number in range(2 * MAX_WARNINGS)))

    first, second, third = report.take(), report.take(), report.take()

    assert [MAX_WARNINGS, MAX_WARNINGS, 0] == [len(one.warnings) for one in (first, second, third)]
    assert str(MAX_WARNINGS) == second.warnings[0][0]


def test_the_program_may_change_what_it_has_written():
    state = replica(spec(shape=(2,)))
    value = array([1.0, 2.0])
    state.write(W, ASSIGN, value)
    value.fill(9.0)

    assert [1.0, 2.0] == leave(state)[-1].buckets[0].tolist()


def test_the_program_may_change_a_written_value_of_any_size():
    size = PACK_LIMIT_BYTES
    state = replica(spec(shape=(size,)))
    value = array([1.0] * size)
    state.write(W, ASSIGN, value)
    value.fill(9.0)

    assert {1.0} == set(leave(state)[-1].buckets[0].tolist())


def test_a_large_value_in_a_buffer_is_not_copied():
    size = PACK_LIMIT_BYTES
    state = replica(spec(shape=(size,)))
    buffer = state.buffer(W)
    buffer.fill(3.0)
    state.write(W, ASSIGN, buffer)

    assert leave(state)[-1].buckets[0] is buffer
    assert not buffer.flags.writeable


def test_a_buffer_that_is_written_twice_is_copied_once():
    """The first write keeps the buffer, and the second write copies it."""
    size = PACK_LIMIT_BYTES
    state = replica(spec(shape=(size,)), spec(variable_id=V, shape=(size,)))
    buffer = state.buffer(W)
    buffer.fill(3.0)
    state.write(W, ASSIGN, buffer)
    state.write(V, ASSIGN, buffer)
    first, second = leave(state)[-1].buckets

    assert first is buffer
    assert second is not buffer
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3, 1)])
def test_a_value_without_elements_keeps_its_shape(shape):
    cluster = StateCluster(spec(shape=shape))
    cluster.start()
    cluster.write(W, *[array([]).reshape(shape)] * 2)
    cluster.leave()

    assert [shape, shape] == [state.read(W).shape for state in cluster.replicas]


def test_forgetting_a_variable_keeps_unsent_writes_of_others():
    state = replica(spec(), spec(variable_id=V))
    state.write(V, ASSIGN, array(1.0))
    state.handle(Forget(variable_ids=(W,)))

    assert ["Layout", "Contribution"] == names(leave(state))
    state.write(V, ASSIGN, array(1.0))
    assert ["Contribution"] == names(leave(state))


# ---------------------------------------------------------------- at the coordinator


def test_a_contribution_of_an_unknown_layout_is_a_protocol_error():
    state = coordinator(spec())
    _, message = contribution(1.0).packed(state.registry.specs)
    assert isinstance(message, Contribution)

    with pytest.raises(ProtocolError, match="replica 1 has not sent layout 0"):
        arrive(state, 1, message, 0.0)


def test_each_replica_has_its_own_layouts():
    state = coordinator(spec())
    layout, message = contribution(1.0).packed(state.registry.specs)
    arrive(state, 0, layout, 0.0)

    with pytest.raises(ProtocolError, match="replica 1 has not sent layout 0"):
        arrive(state, 1, message, 0.0)


def test_a_replica_of_a_failed_call_may_write_dropped_variables():
    """The replica does not know of the failure yet. Its message is ignored and causes no error."""
    state = coordinator(spec(), spec(variable_id=V))
    layout, message = contribution(1.0).packed(state.registry.specs)
    give_up(state, 1, "KeyboardInterrupt", 0.0)
    state.registry.forget(W)

    assert [] == arrive(state, 0, layout, 0.0)
    assert [] == arrive(state, 0, message, 0.0)
    state.validate()
