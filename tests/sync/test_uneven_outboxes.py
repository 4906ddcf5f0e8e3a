"""Outboxes with different lengths or writes on the replicas."""

from __future__ import annotations

import itertools

import pytest

from tests.sync.build import (
    ADD,
    SUB,
    U,
    V,
    W,
    arrive,
    contributions,
    coordinator,
    describe,
    handle,
    reduced,
    returned,
    spec,
    written,
)
from tests.sync.cluster import StateCluster, commits
from varsim.errors import MismatchError

THREE = [spec(variable_id=i) for i in (W, V, U)]


def test_a_read_between_writes_does_not_change_the_merges():
    cluster = StateCluster(*THREE, num_replicas=3)
    cluster.start()
    for variable_id in (W, V):
        cluster.write(variable_id, 1.0, 2.0, 3.0)
    cluster.leave(1)
    cluster.write(U, 1.0, 2.0, 3.0)
    cluster.leave()

    assert [[6.0] * 3] * 3 == [cluster.read(i) for i in (W, V, U)]


OUTBOXES = {0: (3, 2), 1: (5,), 2: (2, 3)}
"""For each replica, the sizes of the outboxes in which it sends five writes."""

ORDERS = sorted(set(itertools.permutations([0, 0, 1, 2, 2])))


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "".join(map(str, order)))
def test_outboxes_of_different_lengths_are_paired_in_every_order(order):
    """A position is complete as soon as all replicas have arrived at it or at a later one."""
    state = coordinator(*THREE, num_replicas=3)
    ranges = {i: iter(_ranges(lengths)) for i, lengths in OUTBOXES.items()}
    come = dict.fromkeys(OUTBOXES, 0)
    happened = 0
    for replica_id in order:
        index, stop = next(ranges[replica_id])
        writes = [
            written((k + 1) * 10.0**replica_id, ADD, variable_id=(W, V, U, W, V)[k])
            for k in range(index, stop)
        ]
        actions = handle(state, replica_id, contributions(*writes, index=index))
        come[replica_id] = stop
        expected = min(come.values())
        assert (expected - happened) * 3 == len(actions)
        assert expected == (actions[-1].message.settled if actions else happened)
        happened = expected

    mirrors = [float(state.registry.mirror(i)) for i in (W, V, U)]
    assert [111.0 * (1 + 4), 111.0 * (2 + 5), 111.0 * 3] == mirrors


def _ranges(lengths):
    stops = list(itertools.accumulate(lengths))
    return list(zip([0, *stops], stops, strict=False))


def test_outboxes_of_the_same_writes_may_begin_at_different_writes():
    """A loop writes W; the replicas read it after different numbers of writes."""
    state = coordinator(*THREE)
    for index in (0, 2):
        writes = [written(float(index + k), ADD) for k in (1, 2)]
        assert [] == handle(state, 0, contributions(*writes, index=index))
    seen = []
    for index, stop in ((0, 1), (1, 3), (3, 4)):
        writes = [written(10.0 * (k + 1), ADD) for k in range(index, stop)]
        handle(state, 1, contributions(*writes, index=index))
        seen.append(float(state.registry.mirror(W)))

    assert [11.0, 11.0 * (1 + 2 + 3), 11.0 * (1 + 2 + 3 + 4)] == seen


def test_outboxes_with_equal_layouts_are_packed_again():
    cluster = StateCluster(*THREE)
    cluster.start()
    for variable_id in (W, V, U):
        cluster.write(variable_id, 1.0, 1.0)
        cluster.leave(0)
    cluster.leave(1)
    assert [[W], [V], [U]] == commits(cluster)
    for variable_id in (W, V, U):
        cluster.write(variable_id, 2.0, 2.0)
    cluster.leave()

    assert [[W, V, U]] == commits(cluster)
    assert [4.0, 4.0] == cluster.read(V)


def test_locations_in_the_program_may_differ():
    """Both branches of the user's `if` do the same writes."""
    state = coordinator(*THREE)
    for replica_id in (0, 1):
        writes = contributions(written(1.0), written(1.0, variable_id=V))
        layout, contribution = writes.packed(state.registry.specs)
        moved = [type(w)(w.variable_id, w.operation, w.shape, "") for w in layout.writes]
        if replica_id:
            layout = type(layout)(layout_id=layout.layout_id, writes=tuple(moved))
        arrive(state, replica_id, layout, 0.0)
        actions = reduced(state, arrive(state, replica_id, contribution, 0.0))

    assert ["0 <- Commit w v1, v v1 assign [2., 2.]", "1 <- Commit w v1, v v1 assign [2., 2.]"] == (
        describe(actions)
    )


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_only_writes_before_the_first_different_write_are_merged(order):
    state = coordinator(*THREE)
    operations = {0: SUB, 1: ADD}
    for replica_id in order:
        writes = contributions(
            written(1.0, ADD),
            written(1.0, operations[replica_id], variable_id=V),
            written(1.0, ADD, variable_id=U),
        )
        actions = handle(state, replica_id, writes)

    finish = actions[-1]
    assert [
        "0 <- Commit w v1 assign 2.0",
        "1 <- Commit w v1 assign 2.0",
        "0 <- Abort",
        "1 <- Abort",
        "finish 1: MismatchError",
    ] == describe(actions)
    assert isinstance(finish.error, MismatchError)
    text = str(finish.error)
    assert "did different things at collective 2 of this call" in text
    assert "replica 0: v.assign_sub (float32 scalar) at train.py:11" in text
    assert "replica 1: v.assign_add (float32 scalar) at train.py:11" in text
    assert [2.0, 0.0, 0.0] == [float(state.registry.mirror(i)) for i in (W, V, U)]


ODD = sorted(set(itertools.permutations([0, 1, 1, 2])))


@pytest.mark.parametrize("order", ODD, ids=lambda order: "".join(map(str, order)))
def test_a_different_write_in_uneven_outboxes_is_found(order):
    """Replica 1 sends its four writes in two outboxes; the third write of replica 2 differs."""
    state = coordinator(*THREE, num_replicas=3)
    plain = [written(1.0, variable_id=i) for i in (W, V, U, W)]
    odd = [*plain[:2], written(1.0, ADD, variable_id=U), plain[3]]
    sent = {
        0: iter([contributions(*plain)]),
        1: iter([contributions(plain[0]), contributions(*plain[1:], index=1)]),
        2: iter([contributions(*odd)]),
    }
    actions = [action for i in order for action in handle(state, i, next(sent[i]))]

    assert "collective 3 of this call" in str(actions[-1].error)
    assert [3.0, 3.0, 0.0] == [float(state.registry.mirror(i)) for i in (W, V, U)]


def test_an_additional_write_in_an_outbox_is_found():
    state = coordinator(*THREE)
    handle(state, 0, contributions(written(1.0), written(1.0, variable_id=V)))
    handle(state, 1, contributions(written(1.0)))
    actions = handle(state, 1, returned())

    assert "collective 2 of this call" in str(actions[-1].error)
    assert [2.0, 0.0] == [float(state.registry.mirror(i)) for i in (W, V)]
