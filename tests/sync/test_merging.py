"""Merges of many writes together: each variable gets the same value as by a separate merge."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.sync.build import (
    ADD,
    ASSIGN,
    FIRST,
    MEAN,
    SUB,
    SUM,
    U,
    V,
    W,
    array,
    arrive,
    contribution,
    contributions,
    coordinator,
    describe,
    give_up,
    handle,
    reduced,
    returned,
    spec,
    written,
)
from tests.sync.cluster import StateCluster, commits
from varsim.errors import ShapeError
from varsim.protocol.messages import Commit
from varsim.sync.coordinator_events import ReductionDone

THREE = [spec(variable_id=i) for i in (W, V, U)]


def test_a_bucket_is_one_commit_to_each_replica():
    cluster = StateCluster(*THREE)
    cluster.start()
    for number, variable_id in enumerate((W, V, U)):
        cluster.write(variable_id, 1.0, 10.0 * number)
    cluster.leave()

    assert [0, 1] == [to for to, _ in cluster.sent]
    assert [[W, V, U]] == commits(cluster, 1)
    assert [[1.0] * 2, [11.0] * 2, [21.0] * 2] == [cluster.read(i) for i in (W, V, U)]


def test_a_sum_in_a_bucket_is_in_replica_order():
    values = {0: 1e8, 1: 1.0, 2: -1e8}
    expected = float(np.float32(np.float32(1e8) + np.float32(1.0)) + np.float32(-1e8))
    for order in itertools.permutations(range(3)):
        cluster = StateCluster(*THREE, num_replicas=3)
        cluster.start()
        for variable_id in (W, V):
            cluster.write(variable_id, *values.values())
        cluster.leave(*order)

        assert [expected] * 3 == cluster.read(W) == cluster.read(V)


def test_each_aggregation_has_its_own_bucket():
    specs = [
        spec(aggregation, variable_id=i)
        for i, aggregation in enumerate([SUM, MEAN, FIRST, SUM, MEAN, FIRST], 1)
    ]
    cluster = StateCluster(*specs)
    cluster.start()
    for number in range(1, 7):
        cluster.write(number, number, 3.0 * number)
    cluster.leave()

    assert [[1, 4], [2, 5], [3, 6]] == commits(cluster)
    assert [4.0, 4.0, 3.0, 16.0, 10.0, 6.0] == [cluster.read(i)[1] for i in range(1, 7)]


def test_only_the_first_replica_sends_its_bucket():
    cluster = StateCluster(*[spec(FIRST, variable_id=i) for i in (W, V)])
    cluster.start()
    for variable_id in (W, V):
        cluster.write(variable_id, 5.0, 7.0)
    cluster.leave()

    assert [2, 0] == [c.buckets[0].size for c in cluster.contributions()]
    assert [[5.0, 5.0]] * 2 == [cluster.read(W), cluster.read(V)]


def test_with_only_first_replica_the_values_may_differ_in_shape():
    """The values of the other replicas are not used."""
    cluster = StateCluster(spec(), spec(FIRST, shape=(None,), variable_id=V), spec(variable_id=U))
    cluster.start()
    cluster.write(W, 1.0, 1.0)
    cluster.write(V, [1.0, 2.0], [1.0])
    cluster.write(U, 1.0, 2.0)
    cluster.leave()

    assert [[1.0, 2.0]] * 2 == cluster.read(V)
    assert [3.0, 3.0] == cluster.read(U)


def test_the_last_buckets_commit_ends_the_waits():
    """A read may wait slightly too long for this commit, but never returns an incomplete value."""
    cluster = StateCluster(spec(), spec(MEAN, variable_id=V))
    cluster.start()
    cluster.write(W, 1.0, 1.0)
    cluster.write(V, 1.0, 1.0)
    cluster.leave()

    assert [0, 2] == [commit.settled for commit in cluster.told(Commit)]


# ---------------------------------------------------------------- writes merged in order


def test_a_variable_with_an_unknown_dimension_is_merged_in_order():
    cluster = StateCluster(*THREE[:2], spec(shape=(None,), variable_id=U))
    cluster.start()
    cluster.write(W, 1.0, 1.0)
    cluster.write(U, [1.0, 2.0], [3.0, 4.0])
    cluster.write(V, 1.0, 1.0)
    cluster.write(W, 5.0, 5.0)
    cluster.leave()

    assert [[W], [U], [V, W]] == commits(cluster)
    assert [10.0, 2.0, [4.0, 6.0]] == [cluster.read(i)[0] for i in (W, V, U)]


def test_a_failed_merge_keeps_earlier_merges_and_prevents_later_ones():
    """Both replicas add a value that does not fit, which only the merge can detect."""
    state = coordinator(*THREE[:2], spec(shape=(None,), variable_id=U))
    writes = contributions(
        written(1.0),
        written(1.0, variable_id=V),
        written([1.0, 2.0], ADD, variable_id=U),
        written(7.0),
    )
    handle(state, 1, writes)
    actions = handle(state, 0, writes)

    assert [
        "0 <- Commit w v1, v v1 assign [2., 2.]",
        "1 <- Commit w v1, v v1 assign [2., 2.]",
        "0 <- Abort",
        "1 <- Abort",
        "finish 1: ShapeError",
    ] == describe(actions)
    assert isinstance(actions[-1].error, ShapeError)
    assert [2.0, 2.0, [0.0]] == [state.registry.mirror(i).tolist() for i in (W, V, U)]


OTHER_WRITES = {
    "alone": [],
    "one in between": [V],
    "many in between": [V, U],
}


@pytest.mark.parametrize("between", OTHER_WRITES.values(), ids=OTHER_WRITES)
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(ASSIGN, ADD, 33.0), (ADD, ASSIGN, 30.0), (ASSIGN, SUB, -27.0), (ADD, ADD, 133.0)],
)
def test_two_writes_of_a_variable_equal_single_writes(first, second, expected, between):
    cluster = StateCluster(*THREE)
    cluster.perform(cluster.registry.write(W, ASSIGN, [array(100.0)] * 2, same=True))
    cluster.start()
    cluster.write(W, 1.0, 2.0, operation=first)
    for variable_id in between:
        cluster.write(variable_id, 5.0, 5.0, operation=ADD)
    cluster.write(W, 10.0, 20.0, operation=second)
    for variable_id in between:
        cluster.write(variable_id, 1.0, 1.0, operation=ADD)
    cluster.leave()

    assert [expected] * 2 == cluster.read(W)
    assert [12.0 if i in between else 0.0 for i in (V, U)] == [cluster.read(i)[1] for i in (V, U)]


# ---------------------------------------------------------------- mirrors that are not known


def test_a_bucket_with_a_diverged_variable_is_merged_singly():
    cluster = StateCluster(*THREE)
    cluster.perform([cluster.registry.write_component(V, 1, ASSIGN, array(100.0))])
    cluster.start()
    for variable_id in (W, V, U):
        cluster.write(variable_id, 1.0, 2.0, operation=ADD)
    commits(cluster)
    cluster.leave()

    assert [[W], [V], [U]] == commits(cluster)
    assert [[3.0, 3.0], [3.0, 103.0], [3.0, 3.0]] == [cluster.read(i) for i in (W, V, U)]


def test_after_an_assign_the_next_bucket_is_merged_as_one():
    cluster = StateCluster(*THREE)
    cluster.perform(cluster.registry.write(V, ASSIGN, [array(7.0), array(9.0)], same=False))
    cluster.start()
    told = []
    for _ in range(2):
        for variable_id in (W, V, U):
            cluster.write(variable_id, 1.0, 2.0)
        commits(cluster)
        cluster.leave()
        told.append(commits(cluster))

    assert [[[W], [V], [U]], [[W, V, U]]] == told
    assert [[3.0, 3.0]] * 3 == [cluster.read(i) for i in (W, V, U)]


def test_components_with_different_versions_are_merged_one_by_one():
    """An assign has made the components equal, but their versions still differ."""
    cluster = StateCluster(*THREE)
    cluster.perform([cluster.registry.write_component(V, 1, ASSIGN, array(100.0))])
    cluster.perform(cluster.registry.write(V, ASSIGN, [array(100.0)] * 2, same=True))
    cluster.start()
    for variable_id in (W, V, U):
        cluster.write(variable_id, 1.0, 2.0, operation=ADD)
    cluster.leave()

    assert [2, 3] == [state.components.variables[V].version for state in cluster.replicas]
    assert [[3.0] * 2, [103.0] * 2, [3.0] * 2] == [cluster.read(i) for i in (W, V, U)]


def test_components_with_equal_versions_again_are_merged_as_one():
    cluster = StateCluster(*THREE)
    for replica_id in (1, 0):
        cluster.perform([cluster.registry.write_component(V, replica_id, ASSIGN, array(100.0))])
    cluster.perform(cluster.registry.write(V, ASSIGN, [array(100.0)] * 2, same=True))
    commits(cluster)
    cluster.start()
    for variable_id in (W, V, U):
        cluster.write(variable_id, 1.0, 2.0, operation=ADD)
    cluster.leave()

    assert [[W, V, U]] == commits(cluster)
    assert [3, 3] == [state.components.variables[V].version for state in cluster.replicas]
    assert [[3.0] * 2, [103.0] * 2, [3.0] * 2] == [cluster.read(i) for i in (W, V, U)]


# ---------------------------------------------------------------- statistics


PATTERNS = {
    "each once": [(W, ASSIGN), (V, ASSIGN), (U, ASSIGN)],
    "each twice": [(W, ASSIGN), (V, ASSIGN), (W, ASSIGN), (V, ASSIGN)],
    "twice among different variables": [(W, ADD), (V, ADD), (W, ADD), (U, ADD)],
    "once alone": [(W, ADD), (V, ADD), (W, ASSIGN), (U, ADD)],
}


def statistics(pattern, *, packed):
    """Return the statistics after two steps whose writes are sent together or one by one."""
    specs = [spec(), spec(variable_id=V, shape=(3,)), spec(variable_id=U)]
    state = coordinator(*specs, num_replicas=3)
    shapes = {one.variable_id: one.shape for one in specs}
    writes = [written(np.ones(shapes[i]), operation, variable_id=i) for i, operation in pattern]
    for step in range(2):
        for later_s, replica_id in enumerate((2, 0, 1)):
            index, now_s = step * len(writes), 10.0 * step + later_s
            if packed:
                handle(state, replica_id, contributions(*writes, index=index), now_s)
                continue
            for k, write in enumerate(writes):
                handle(state, replica_id, contributions(write, index=index + k), now_s)
    return state.registry.statistics()


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_packed_writes_are_counted_like_separate_writes(pattern):
    assert statistics(pattern, packed=False) == statistics(pattern, packed=True)


def test_reading_the_statistics_changes_nothing():
    cluster = StateCluster(*THREE)
    cluster.start()
    for _ in range(3):
        for variable_id in (W, V, U):
            cluster.write(variable_id, 1.0, 1.0, operation=ADD)
        cluster.leave()
        cluster.registry.statistics()

    assert [3, 3, 3] == [account.merges for account in cluster.registry.statistics()]
    assert [6.0, 6.0] == cluster.read(V)


# ---------------------------------------------------------------- reductions


def test_a_merge_asks_for_a_reduction_and_commits_its_value():
    state = coordinator(spec(MEAN))
    handle(state, 0, contribution(1.0))

    layout, message = contribution(3.0).packed(state.registry.specs)
    arrive(state, 1, layout, 0.0)
    (reduction,) = arrive(state, 1, message, 0.0)

    assert ["reduce assign 1.0 3.0"] == describe([reduction])
    assert 0.0 == state.registry.mirror(W)
    done = ReductionDone(reduction.token, array(2.0))
    assert ["0 <- Commit w v1 assign 2.0", "1 <- Commit w v1 assign 2.0"] == (
        describe(state.handle(done))
    )
    assert [] == state.handle(done), "a second delivery changes nothing"


def suspended():
    """Return a state in the middle of a merge, and the requested reduction."""
    state = coordinator(spec(MEAN), spec(SUM, variable_id=V))
    handle(state, 0, contribution(1.0))
    for message in contribution(3.0).packed(state.registry.specs):
        actions = arrive(state, 1, message, 0.0)
    (reduction,) = actions
    state.validate()
    return state, reduction


def test_messages_wait_until_the_value_of_a_reduction_has_come():
    """A merge is atomic: no other event is handled during it."""
    state, reduction = suspended()
    for replica_id in (0, 1):
        for message in contribution(1.0, index=1, variable_id=V).packed(state.registry.specs):
            assert [] == arrive(state, replica_id, message, 1.0)
        assert [] == arrive(state, replica_id, returned(), 2.0)
    assert None is state.deadline_s

    actions = reduced(state, [reduction])

    assert [
        "0 <- Commit w v1 assign 2.0",
        "1 <- Commit w v1 assign 2.0",
        "0 <- Commit v v1 assign 2.0",
        "1 <- Commit v v1 assign 2.0",
        "finish 1",
    ] == describe(actions)


def test_a_call_is_abandoned_without_the_value_of_a_reduction():
    """The merge does not happen, even if the value arrives later."""
    state, reduction = suspended()
    assert [] == arrive(state, 0, returned(), 1.0)

    assert ["0 <- Abort", "1 <- Abort"] == describe(give_up(state, 1, "KeyboardInterrupt", 2.0))

    assert [1] == [one.replica_id for one in state.stragglers.among(range(2))], (
        "replica 0 has returned"
    )
    assert [] == reduced(state, [reduction])
    assert 0.0 == state.registry.mirror(W)
    state.validate()
