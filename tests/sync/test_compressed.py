"""Compressed: the contributions of one replica, merges by the coordinator, and settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.sync.build import (
    ADD,
    ASSIGN,
    MEAN,
    SUB,
    SUM,
    W,
    array,
    arrive,
    commit,
    coordinator,
    describe,
    reduced,
    replica,
    spec,
)
from varsim.distribute.policies import parse_synchronization
from varsim.errors import (
    AggregationError,
    ConfigError,
    DtypeError,
    ProtocolError,
    ShapeError,
    UnsupportedOperation,
)
from varsim.protocol.messages import (
    BY_PROGRAM,
    Abort,
    CompressedContribution,
    Contribution,
    Layout,
    Write,
)
from varsim.spec import Operation
from varsim.sync.actions import WAIT_AND_REPEAT, Proceed, Send
from varsim.sync.replica_events import ReplicaWrite
from varsim.testing import simulated_cluster

HALF = "compressed:on_write:top_k:0.5"


def on_write(aggregation=SUM, name=HALF, shape=(4,)):
    return spec(aggregation, parse_synchronization(name), shape=shape)


def sent(actions) -> list[tuple[str, Any]]:
    """Return operation and parts of the compressed contributions in actions."""
    messages = [one.message for one in actions if isinstance(one, Send)]
    return [
        (one.write.operation.value, [part.tolist() for part in one.parts])
        for one in messages
        if isinstance(one, CompressedContribution)
    ]


@pytest.fixture
def own():
    """Provide a replica with a variable of four numbers, two of which are sent."""
    return replica(on_write())


def add(own, *values, call=1, settled=1, version=1):
    """Let the replica add, send its outbox, and get a commit of zeros; return what was sent."""
    assert not own.write(W, ADD, array(values))
    parts = sent(own.wait(W))
    own.handle(commit(version, [0.0] * 4, call=call, settled=settled))
    return parts


# ---------------------------------------------------------------- ON_WRITE on one replica


def test_a_replica_sends_the_largest_elements(own):
    assert [("assign_add", [[1, 3], [5.0, -4.0]])] == add(own, 1, 5, 2, -4)


def test_what_was_not_sent_is_added_to_the_next_change(own):
    add(own, 1, 5, 2, -4)

    assert [("assign_add", [[0, 2], [2.0, 3.0]])] == add(own, 1, 0, 1, 1, settled=2, version=2)
    assert [("assign_add", [[0, 3], [0.0, 1.0]])] == add(own, 0, 0, 0, 0, settled=3, version=3)


def test_a_subtraction_sends_what_must_be_subtracted(own):
    add(own, 1, 5, 2, -4)

    own.write(W, SUB, array([0, 0, 5, 3]))

    assert [("assign_sub", [[2, 3], [3.0, 3.0]])] == sent(own.wait(W))
    own.handle(commit(2, [0.0] * 4, settled=2))
    assert [("assign_add", [[0, 1], [1.0, 0.0]])] == add(own, 0, 0, 0, 0, settled=3, version=3)


def test_an_assign_sends_the_whole_value_and_ends_the_residual(own):
    add(own, 1, 5, 2, -4)

    own.write(W, ASSIGN, array([1, 2, 3, 4]))

    assert [("assign", [[1.0, 2.0, 3.0, 4.0]])] == sent(own.wait(W))
    own.handle(commit(2, [1, 2, 3, 4], settled=2))
    assert [("assign_add", [[0, 1], [0.0, 0.0]])] == add(own, 0, 0, 0, 0, settled=3, version=3)


def test_the_sent_value_is_a_copy(own):
    value = array([1, 2, 3, 4])
    own.write(W, ASSIGN, value)
    value[:] = 0

    assert [("assign", [[1.0, 2.0, 3.0, 4.0]])] == sent(own.wait(W))


def test_a_second_write_waits_for_the_commit_of_the_first(own):
    own.write(W, ADD, array([1, 5, 2, -4]))
    second = ReplicaWrite(W, ADD, array([0, 0, 0, 0]), "")
    assert [WAIT_AND_REPEAT] == own.state.handle(second)
    own.block()

    assert Proceed() in own.handle(commit(1, [0.0] * 4))
    assert not own.state.handle(second)

    assert [("assign_add", [[0, 2], [1.0, 2.0]])] == sent(own.wait(W))


def test_a_contribution_without_a_commit_is_taken_back(own):
    add(own, 1, 5, 2, -4)
    own.write(W, ADD, array([9, 9, 0, 0]))
    own.handle(Abort(call_id=1, reason="another replica raised"))
    own.unwind()
    own.begin(2)

    assert [("assign_add", [[0, 2], [1.0, 2.0]])] == add(
        own, 0, 0, 0, 0, call=2, settled=1, version=2
    )


def test_a_contribution_is_taken_back_even_after_its_function_has_ended(own):
    own.write(W, ADD, array([1, 5, 2, -4]))
    own.end()
    own.handle(Abort(call_id=1, reason="another replica raised"))
    own.begin(2)

    assert [("assign_add", [[0, 1], [0.0, 0.0]])] == add(own, 0, 0, 0, 0, call=2)


def test_a_committed_contribution_stays_when_its_call_fails(own):
    add(own, 1, 5, 2, -4)
    own.handle(Abort(call_id=1, reason="another replica raised"))
    own.unwind()
    own.begin(2)

    assert [("assign_add", [[0, 2], [1.0, 2.0]])] == add(
        own, 0, 0, 0, 0, call=2, settled=1, version=2
    )


def test_a_write_of_the_program_ends_the_residual(own):
    add(own, 1, 5, 2, -4)
    own.handle(commit(2, [7.0] * 4, call=BY_PROGRAM))

    assert [("assign_add", [[0, 1], [0.0, 0.0]])] == add(own, 0, 0, 0, 0, settled=2, version=3)


def test_a_second_delivery_of_the_write_does_not_end_later_residuals(own):
    programs = commit(1, [7.0] * 4, call=BY_PROGRAM)
    own.handle(programs)
    add(own, 1, 5, 2, -4, version=2)
    own.handle(programs)

    assert [("assign_add", [[0, 2], [1.0, 2.0]])] == add(own, 0, 0, 0, 0, settled=2, version=3)


def test_a_sparse_write_sends_its_rows_and_keeps_the_residual(own):
    add(own, 1, 5, 2, -4)
    own.scatter(W, Operation.SCATTER_ADD, [0], [1.0])
    assert [] == sent(own.wait(W))
    own.handle(commit(2, [0.0] * 4, settled=2))

    assert [("assign_add", [[0, 2], [1.0, 2.0]])] == add(own, 0, 0, 0, 0, settled=3, version=3)


# ---------------------------------------------------------------- LocalSGD on one replica


@pytest.fixture
def local():
    """Provide a replica that exchanges the changes of every second write."""
    name = "compressed:local_sgd:2:top_k:0.5"
    return replica(spec(MEAN, parse_synchronization(name), shape=(4,)))


def exchange(local, first, second, *, version, value, call=1):
    """Let the replica add twice, and commit an exchange; return what was sent."""
    assert not local.write(W, ADD, array(first))
    assert not local.write(W, ADD, array(second))
    parts = sent(local.wait(W))
    local.handle(commit(version, value, settled=version if call == 1 else 1, call=call))
    return parts


def test_the_first_exchange_is_whole_and_later_ones_are_changes_since_the_last(local):
    first = exchange(local, [1, 0, 0, 0], [0, 2, 0, 0], version=1, value=[1, 1, 1, 1])
    second = exchange(local, [1, 0, 0, 0], [0, 5, 2, -4], version=2, value=[1, 6, 1, -3])
    third = exchange(local, [0, 0, 0, 0], [0, 0, 0, 1], version=3, value=[0, 0, 0, 0])

    assert [("assign", [[1.0, 2.0, 0.0, 0.0]])] == first
    assert [("assign", [[1, 3], [5.0, -4.0]])] == second
    assert [("assign", [[0, 2], [1.0, 2.0]])] == third


def test_the_exchange_after_a_write_of_the_program_is_whole(local):
    exchange(local, [1, 0, 0, 0], [0, 2, 0, 0], version=1, value=[1, 1, 1, 1])
    local.write(W, ADD, array([1, 0, 0, 0]))
    local.handle(commit(2, [7, 7, 7, 7], call=BY_PROGRAM))
    local.write(W, ADD, array([1, 0, 0, 0]))

    assert [("assign", [[8.0, 7.0, 7.0, 7.0]])] == sent(local.wait(W))


def test_a_failed_exchange_keeps_the_base_and_the_residual(local):
    exchange(local, [1, 0, 0, 0], [0, 2, 0, 0], version=1, value=[1, 1, 1, 1])
    exchange(local, [1, 0, 0, 0], [0, 5, 2, -4], version=2, value=[1, 6, 1, -3])
    for _ in range(2):
        local.write(W, ADD, array([0, 0, 0, 2]))
    local.handle(Abort(call_id=1, reason="another replica raised"))
    local.unwind()
    local.begin(2)

    # The component has the changes of the failed call, and the residual is that of the second one.
    assert [("assign", [[2, 3], [2.0, 4.0]])] == exchange(
        local, [0, 0, 0, 0], [0, 0, 0, 0], version=3, value=[0, 0, 0, 0], call=2
    )


# ---------------------------------------------------------------- the coordinator


def contribution(operation, *parts, position=0, shape=(4,), norms=(3.0, 4.0)):
    return CompressedContribution(
        call_id=1,
        position=position,
        write=Write(W, operation, shape, "train.py:9"),
        parts=parts,
        change_norm=norms[0],
        residual_norm=norms[1],
    )


def few(operation, pairs, position=0):
    """Return a contribution of two elements: index → value."""
    indices, values = zip(*pairs.items(), strict=True)
    return contribution(operation, array(indices, "int32"), array(values), position=position)


def test_a_commit_has_the_mean_of_the_restored_changes():
    state = coordinator(on_write(MEAN))

    assert [] == describe(arrive(state, 0, few(ADD, {0: 2.0, 1: 4.0})))
    both = describe(reduced(state, arrive(state, 1, few(ADD, {1: 2.0, 3: -2.0}))))

    assert [f"{i} <- Commit w v1 assign [ 1.,  3.,  0., -1.]" for i in (0, 1)] == both


def test_the_account_has_the_bytes_and_the_error():
    state = coordinator(on_write())
    for replica_id in (0, 1):
        reduced(state, arrive(state, replica_id, few(ADD, {0: 2.0, 1: 4.0})))

    (statistics,) = state.statistics()
    counts = statistics.compression

    assert (2, 2 * 16, 2 * 16) == (counts.contributions, counts.size_bytes, counts.whole_bytes)
    assert 4 / 3 == pytest.approx(counts.error)
    assert 2 * 16 + 2 * 16 == statistics.size_bytes
    assert (4, 1, 2) == (statistics.messages, statistics.merges, statistics.writes)


def test_an_error_of_changes_that_are_not_finite_is_unknown():
    state = coordinator(on_write())
    one = contribution(ADD, array([0, 1], "int32"), array([1, 1]), norms=(float("inf"), 0.0))
    for replica_id in (0, 1):
        reduced(state, arrive(state, replica_id, one))

    assert None is state.statistics()[0].compression.error


WRONG = {
    "a missing part": contribution(ADD, array([0, 1], "int32")),
    "too few elements": contribution(ADD, array([0], "int32"), array([1])),
    "an index out of range": contribution(ADD, array([0, 4], "int32"), array([1, 1])),
    "another dtype": contribution(ADD, array([0, 1], "int32"), array([1, 1], "float64")),
    "another shape": contribution(ADD, array([0, 1], "int32"), array([1, 1]), shape=(2, 2)),
    "a part of an assign": contribution(ASSIGN, array([0, 1], "int32"), array([1, 1])),
    "a short assign": contribution(ASSIGN, array([1, 1])),
    "a sparse operation": contribution(
        Operation.SCATTER_ADD, array([0, 1], "int32"), array([1, 1])
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_parts_are_refused(what):
    state = coordinator(on_write())
    with pytest.raises(ProtocolError):
        arrive(state, 0, WRONG[what])


def test_only_compressed_variables_have_compressed_contributions():
    plain = coordinator(spec(SUM, shape=(4,)))
    with pytest.raises(ProtocolError, match="is compressed"):
        arrive(plain, 0, few(ADD, {0: 1.0, 1: 1.0}))

    state = coordinator(on_write())
    arrive(state, 0, Layout(layout_id=0, writes=(Write(W, ADD, (4,), ""),)))
    with pytest.raises(ProtocolError, match="is not compressed"):
        arrive(state, 0, Contribution(call_id=1, position=0, layout_id=0, buckets=(np.ones(4),)))


def test_a_change_needs_an_exchange_before_it():
    name = parse_synchronization("compressed:local_sgd:2:top_k:0.5")
    state = coordinator(spec(MEAN, name, shape=(4,)))
    arrive(state, 0, few(ASSIGN, {0: 1.0, 1: 1.0}))
    with pytest.raises(ProtocolError, match="changes since no exchange"):
        reduced(state, arrive(state, 1, few(ASSIGN, {0: 1.0, 1: 1.0})))


def test_an_exchange_can_have_changes_and_whole_values():
    """The program has written one component, so only its replica sends a whole value."""
    name = parse_synchronization("compressed:local_sgd:1:top_k:0.5")
    state = coordinator(spec(MEAN, name, shape=(4,)))
    for replica_id in (0, 1):
        first = contribution(ASSIGN, array([2, 2, 2, 2]))
        reduced(state, arrive(state, replica_id, first))
    arrive(state, 0, contribution(ASSIGN, array([4, 2, 0, 2]), position=1))
    both = describe(reduced(state, arrive(state, 1, few(ASSIGN, {0: 2.0, 3: 4.0}, position=1))))

    assert [f"{i} <- Commit w v2 assign [4., 2., 1., 4.]" for i in (0, 1)] == both


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        (tf.Compressed(tf.VariableSynchronization.ON_WRITE), "compressed:on_write:fp16"),
        (tf.Compressed(tf.VariableSynchronization.AUTO, "one_bit"), "compressed:on_write:one_bit"),
        (tf.Compressed(tf.LocalSGD(8), by="top_k:.010"), "compressed:local_sgd:8:top_k:0.01"),
        (tf.Compressed("on_write", by="top_k:0.01"), "compressed:on_write:top_k:0.01"),
    ],
)
def test_a_name_is_read_as_the_same_policy(policy, name):
    assert name == policy.name
    assert name == parse_synchronization(name).name
    assert policy == type(policy).parse(name.split(":")[1:])


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        (tf.VariableSynchronization.ON_READ, "its writes stay local"),
        (tf.VariableSynchronization.NONE, "it exchanges nothing"),
        ("central", "one copy gets"),
        ("local_sgd", r"the number of writes k of LocalSGD\(k\) is missing"),
        ("local_sgd:fp16", r"the number of writes k of LocalSGD\(k\) is 'fp16'"),
        ("compressed:on_write:fp16", "it is compressed already"),
        ("bounded_staleness:3", "exchange no changes"),
        ("foo", r'only ON_WRITE and LocalSGD.* for example tf.Compressed\("on_write", by="fp16"'),
    ],
)
def test_another_inner_policy_is_refused_with_the_reason(inner, reason):
    with pytest.raises(ConfigError, match=reason):
        tf.Compressed(inner, by="fp16")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("compressed", "INNER and BY are missing"),
        ("compressed:on_write", "BY is missing after on_write"),
        ("compressed:on_write:zip", "unknown compressor 'zip': expected"),
        ("compressed:on_write:topk:0.1", r"'topk:0.1' \(did you mean top_k\?\): expected"),
        ("compressed:on_wirte:fp16", r"LocalSGD \(did you mean on_write\?\). Write"),
        ("compressed:fp16", "INNER is missing before the compressor fp16"),
        ("compressed:foo", "policy 'foo' cannot be compressed"),
        ("compressed:local_sgd:fp16", r"k of LocalSGD\(k\) is missing"),
        ("compressed:local_sgd:x:fp16", r"k of LocalSGD\(k\) is 'x'"),
        ("compressed:local_sgd:0:fp16", r"invalid LocalSGD\(0\)"),
        ("compressed:on_write:top_k", "invalid ratio in 'top_k'"),
    ],
)
def test_the_error_about_a_name_says_what_is_wrong_and_what_is_right(name, problem):
    with pytest.raises(ConfigError, match=problem) as raised:
        parse_synchronization(name)

    said = str(raised.value)
    assert "Write compressed:INNER:BY, where INNER is on_write or local_sgd:K, and BY is" in said
    assert "compressed:on_write:top_k:0.01" == said.rpartition("; for example ")[2]


def test_variables_that_cannot_be_compressed_are_refused():
    none, first = tf.VariableAggregation.NONE, tf.VariableAggregation.ONLY_FIRST_REPLICA
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
        with strategy.scope():
            half = {"synchronization": tf.Compressed("on_write"), "aggregation": SUM}
            for aggregation in (none, first):
                with pytest.raises(AggregationError, match="it needs SUM, MEAN"):
                    tf.Variable(0.0, **half | {"aggregation": aggregation})
            for dtype in ("int32", "float16", "bfloat16", "complex64"):
                with pytest.raises(DtypeError, match=rf"'v'.*dtype {dtype} cannot be compressed"):
                    tf.Variable(0, name="v", dtype=dtype, **half)
            with pytest.raises(ShapeError, match="needs a known shape"):
                tf.Variable(np.zeros(2, "f"), shape=(None,), **half)
            with pytest.raises(AggregationError, match="it needs MEAN"):
                tf.Variable(0.0, synchronization=tf.Compressed(tf.LocalSGD(2)), aggregation=SUM)


@pytest.mark.parametrize(
    ("operation", "reason"),
    [("scatter_mul", "would have to be multiplied"), ("scatter_update", "do not combine rows")],
)
def test_sparse_writes_that_change_residuals_are_refused(operation, reason):
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
        with strategy.scope():
            v = tf.Variable([1.0, 2.0], synchronization=tf.Compressed("on_write"), aggregation=SUM)
        with pytest.raises(UnsupportedOperation, match=reason):
            strategy.run(lambda: getattr(v, operation)(tf.IndexedSlices([2.0], [0])))
