"""Blocks of variables that are written together, and operations on a single member."""

from __future__ import annotations

import pytest

from tests.sync.build import (
    ADD,
    ASSIGN,
    MEAN,
    NONE,
    ON_READ,
    SUM,
    U,
    V,
    W,
    array,
    give_up,
    spec,
)
from tests.sync.cluster import StateCluster, commits
from tests.sync.program import sent
from varsim.distribute.policies import parse_synchronization

THREE = [spec(variable_id=i) for i in (W, V, U)]


@pytest.fixture
def cluster():
    """Provide a cluster after a call. W, V and U hold 2, 4 and 6.

    They are in one block on the coordinator, and in one block on each replica.
    """
    made = StateCluster(*THREE)
    made.start()
    for number, variable_id in enumerate((W, V, U), 1):
        made.write(variable_id, number, number)
    made.leave()
    made.end()
    commits(made)
    return made


def step(cluster):
    """Add 2 to all variables, and return the variables of each commit."""
    cluster.start()
    for variable_id in (W, V, U):
        cluster.write(variable_id, 1.0, 1.0, operation=ADD)
    cluster.leave()
    cluster.end()
    return commits(cluster)


def values(cluster):
    cluster.start()
    found = [cluster.read(i) for i in (W, V, U)]
    cluster.end()
    return found


def test_a_block_exists_while_its_members_are_written_together(cluster):
    assert [[W, V, U]] == step(cluster) == step(cluster)
    assert [[6.0] * 2, [8.0] * 2, [10.0] * 2] == values(cluster)


def test_an_assign_by_the_program_changes_only_one_member(cluster):
    cluster.perform(cluster.registry.write(V, ASSIGN, [array(100.0)] * 2, same=True))
    assert [2.0, 100.0, 6.0] == [float(cluster.registry.mirror(i)) for i in (W, V, U)]
    assert [[V]] == commits(cluster)

    assert [[W, V, U]] == step(cluster)
    assert [[4.0] * 2, [102.0] * 2, [8.0] * 2] == values(cluster)


def test_an_add_by_the_program_uses_the_members_value(cluster):
    cluster.perform(cluster.registry.write(V, ADD, [array(100.0)] * 2, same=True))

    assert [[2.0] * 2, [104.0] * 2, [6.0] * 2] == values(cluster)


def test_a_write_to_one_component_makes_only_its_variable_diverge(cluster):
    cluster.perform([cluster.registry.write_component(V, 1, ADD, array(100.0))])
    commits(cluster)

    assert [[W], [V], [U]] == step(cluster)
    assert [[4.0] * 2, [6.0, 106.0], [8.0] * 2] == values(cluster)


def test_forgetting_a_member_keeps_the_other_members(cluster):
    cluster.perform(cluster.registry.forget(V))
    cluster.start()
    for variable_id in (W, U):
        cluster.write(variable_id, 1.0, 1.0, operation=ADD)
    cluster.leave()

    assert [[W, U]] == commits(cluster)
    assert [[4.0] * 2, [8.0] * 2] == [cluster.read(i) for i in (W, U)]


def test_a_member_may_be_fetched(cluster):
    request, actions = cluster.registry.fetch(V, [1, 0])
    cluster.perform(actions)

    assert (4.0, 4.0) == request.answer
    assert [[W, V, U]] == step(cluster)


def test_a_member_with_a_local_write_is_merged_alone(cluster):
    """Replica 1 runs `v.values[1].assign`, and reports that the variable has diverged."""
    cluster.start()
    cluster.replicas[1].write_component(V, ASSIGN, array(100.0))
    cluster.end()

    assert [4.0, 100.0] == cluster.look(V)
    assert [[W], [V], [U]] == step(cluster)
    assert [[4.0] * 2, [6.0, 102.0], [8.0] * 2] == values(cluster)


def test_a_member_can_join_another_block_later(cluster):
    cluster.start()
    for variable_id in (V, U):
        cluster.write(variable_id, 1.0, 1.0, operation=ADD)
    cluster.leave()
    cluster.end()
    assert [[V, U]] == commits(cluster)

    assert [[W, V, U]] == step(cluster)
    assert [[4.0] * 2, [8.0] * 2, [10.0] * 2] == values(cluster)


def test_remaining_members_of_a_block_are_a_new_block(cluster):
    """W leaves the block of three. Then U and V form a block, and later W and U."""
    cluster.perform(cluster.registry.write(W, ASSIGN, [array(100.0)] * 2, same=True))
    assert [[W]] == commits(cluster)
    for variable_ids in ((U, V), (W, U)):
        cluster.start()
        for variable_id in variable_ids:
            cluster.write(variable_id, 1.0, 1.0, operation=ADD)
        cluster.leave()
        cluster.end()
        assert [[*variable_ids]] == commits(cluster)

    assert [102.0, 6.0, 10.0] == [float(cluster.registry.mirror(i)) for i in (W, V, U)]
    assert [2, 2, 3] == [account.merges for account in cluster.registry.statistics()]


def test_a_value_read_from_a_member_never_changes(cluster):
    before = [cluster.registry.mirror(i) for i in (W, V, U)]
    step(cluster)

    assert [2.0, 4.0, 6.0] == [float(value) for value in before]
    assert [4.0, 6.0, 8.0] == [float(cluster.registry.mirror(i)) for i in (W, V, U)]


def test_local_variables_are_in_no_block():
    local = StateCluster(spec(NONE), spec(SUM, ON_READ, variable_id=V))
    local.start()
    local.write(W, 1.0, 1.0)
    local.write(V, 1.0, 1.0)
    local.leave()
    local.end()

    assert [] == commits(local)
    assert [] == local.contributions()


def test_unreported_local_writes_of_a_failed_call_are_read():
    """Before the call, both variables were averaged as one block."""
    local_sgd = parse_synchronization("local_sgd:2")
    cluster = StateCluster(*(spec(MEAN, local_sgd, variable_id=i) for i in (W, V)))
    cluster.start()
    for _ in range(2):
        for variable_id in (W, V):
            cluster.write(variable_id, 1.0, 3.0, operation=ADD)
    cluster.leave()
    cluster.end()
    assert [[W, V]] == commits(cluster)

    cluster.start()
    cluster.write(V, 10.0, 20.0, operation=ADD)
    cluster.perform(give_up(cluster.coordinator, call_id=2))
    for replica_id, state in enumerate(cluster.replicas):
        cluster.arrive(replica_id, *sent(state.unwind()))

    assert [14.0, 24.0] == cluster.look(V)
