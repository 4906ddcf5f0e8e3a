"""The program fetches only components that may have changed since their last known value."""

from __future__ import annotations

import pytest

from tests.sync.build import (
    ADD,
    ASSIGN,
    FIRST,
    LOCAL,
    MEAN,
    NONE,
    ON_READ,
    ON_WRITE,
    SUM,
    V,
    W,
    array,
    give_up,
    spec,
)
from tests.sync.cluster import StateCluster
from tests.sync.program import sent
from varsim.protocol.messages import Fetch


def three(one=None):
    return StateCluster(one or spec(SUM, ON_READ), num_replicas=3)


def fetched_from(cluster):
    """Return the replicas that have got a fetch since the last call of this function."""
    found = [to for to, message in cluster.sent if isinstance(message, Fetch)]
    cluster.sent.clear()
    return found


def in_call(cluster, **values):
    """Run a call in which replicas write values: with `by_1=2.0`, replica 1 writes 2.0."""
    cluster.start()
    for name, value in values.items():
        cluster.write(W, value, by=int(name[-1]))
    cluster.end()


def spared(cluster):
    return cluster.registry.statistics()[0].spared


def test_unwritten_components_are_known():
    cluster = three()
    in_call(cluster)

    assert [0.0, 0.0, 0.0] == cluster.look(W)
    assert [] == fetched_from(cluster)
    assert 3 == spared(cluster)


@pytest.mark.parametrize(
    "one",
    [
        spec(SUM, ON_READ),
        spec(MEAN, ON_READ),
        spec(FIRST, ON_READ),
        spec(NONE, ON_READ),
        spec(NONE, ON_WRITE),
        spec(SUM, LOCAL),
    ],
    ids=lambda one: f"{one.synchronization.name} {one.aggregation.name}",
)
def test_only_the_replica_that_wrote_is_fetched_from(one):
    cluster = three(one)
    in_call(cluster, by_1=5.0)

    assert [0.0, 5.0, 0.0] == cluster.look(W)
    assert [1] == fetched_from(cluster)
    assert 2 == spared(cluster)


def test_fetched_components_are_known_until_the_next_write():
    cluster = three()
    in_call(cluster, by_1=5.0)
    cluster.look(W)
    assert [1] == fetched_from(cluster)
    in_call(cluster)
    assert [0.0, 5.0, 0.0] == cluster.look(W)
    assert [] == fetched_from(cluster)
    in_call(cluster, by_1=6.0, by_2=7.0)
    assert [0.0, 6.0, 7.0] == cluster.look(W)

    assert [1, 2] == fetched_from(cluster)
    assert 2 + 3 + 1 == spared(cluster)


def test_only_requested_components_are_fetched():
    cluster = three()
    in_call(cluster, by_0=1.0, by_1=2.0, by_2=3.0)

    assert [3.0] == cluster.look(W, [2])
    assert [2] == fetched_from(cluster)
    assert [2.0, 3.0, 1.0] == cluster.look(W, [1, 2, 0])
    assert [1, 0] == fetched_from(cluster)


def test_a_read_by_a_replica_changes_nothing():
    cluster = three()
    cluster.start()
    cluster.read(W)
    cluster.end()

    cluster.look(W)
    assert [] == fetched_from(cluster)


def test_an_assign_by_the_program_makes_all_components_known():
    cluster = three()
    in_call(cluster, by_0=1.0, by_1=2.0)
    cluster.perform(cluster.registry.write(W, ASSIGN, [array(4.0)] * 3, same=True))

    assert [4.0, 4.0, 4.0] == cluster.look(W)
    assert [] == fetched_from(cluster)


def test_after_an_add_only_unknown_components_are_fetched():
    cluster = three()
    in_call(cluster, by_1=5.0)
    cluster.perform(cluster.registry.write(W, ADD, [array(1.0)] * 3, same=True))

    assert [1.0, 6.0, 1.0] == cluster.look(W)
    assert [1] == fetched_from(cluster)


def test_a_per_replica_assign_makes_all_components_known():
    cluster = three()
    in_call(cluster, by_1=5.0)
    values = [array(1.0), array(2.0), array(3.0)]
    cluster.perform(cluster.registry.write(W, ASSIGN, values, same=False))
    cluster.perform(cluster.registry.write(W, ADD, values, same=False))

    assert [2.0, 4.0, 6.0] == cluster.look(W)
    assert [] == fetched_from(cluster)


@pytest.mark.parametrize(("operation", "fetched"), [(ASSIGN, []), (ADD, [1])])
def test_a_component_that_the_program_assigned_is_known(operation, fetched):
    cluster = three()
    in_call(cluster, by_1=5.0)
    cluster.perform([cluster.registry.write_component(W, 1, operation, array(1.0))])

    assert [0.0, 1.0 if operation is ASSIGN else 6.0, 0.0] == cluster.look(W)
    assert fetched == fetched_from(cluster)


def test_merged_components_are_known_without_reports():
    """No replica can have changed its component alone."""
    cluster = three(spec(SUM))
    cluster.perform([cluster.registry.write_component(W, 2, ASSIGN, array(9.0))])
    cluster.start()
    cluster.write(W, 1.0, by=0)
    cluster.perform(give_up(cluster.coordinator, 1))

    assert [0.0, 0.0, 9.0] == cluster.look(W)
    assert [] == fetched_from(cluster)


def test_a_merge_updates_known_components():
    cluster = three(spec(SUM))
    cluster.perform([cluster.registry.write_component(W, 2, ASSIGN, array(9.0))])
    cluster.start()
    cluster.write(W, 1.0, 2.0, 3.0, operation=ADD)
    cluster.end()

    assert [6.0, 6.0, 15.0] == cluster.look(W)
    assert [] == fetched_from(cluster)
    assert 0 == spared(cluster)  # components of a mirrored variable never need a fetch


def test_after_a_call_without_reports_all_components_are_fetched():
    """The program abandons the call, so no replica reports its writes."""
    cluster = three()
    cluster.start()
    cluster.write(W, 3.0, by=2)
    cluster.perform(give_up(cluster.coordinator, 1))
    for state in cluster.replicas:
        assert "the program raised KeyboardInterrupt" == state.aborted
        cluster.arrive(state.state.replica_id, *sent(state.unwind()))

    assert [0.0, 0.0, 3.0] == cluster.look(W)
    assert [0, 1, 2] == fetched_from(cluster)
    cluster.look(W)
    assert [] == fetched_from(cluster)


def test_inside_a_merge_call_all_components_are_fetched_each_time():
    """Replicas may have written before the merge_call, and may write after it."""
    cluster = three()
    cluster.start()
    cluster.write(W, 5.0, by=1)
    cluster.enter()
    assert [0.0, 5.0, 0.0] == cluster.look(W)
    assert [0, 1, 2] == fetched_from(cluster)
    cluster.look(W)
    assert [0, 1, 2] == fetched_from(cluster)
    assert 0 == spared(cluster)

    cluster.write(W, 6.0, by=1)
    cluster.end()
    assert [0.0, 6.0, 0.0] == cluster.look(W)
    assert [1] == fetched_from(cluster)


def test_components_written_before_an_assign_in_a_merge_call_are_fetched():
    """A report does not say when a write happened, so the component is fetched again."""
    cluster = three()
    cluster.start()
    cluster.write(W, 5.0, by=1)
    cluster.enter()
    cluster.perform(cluster.registry.write(W, ASSIGN, [array(4.0)] * 3, same=True))
    cluster.write(W, 6.0, by=2)
    cluster.end()

    assert [4.0, 4.0, 6.0] == cluster.look(W)
    assert [1, 2] == fetched_from(cluster)


def test_after_an_add_in_a_merge_call_all_components_are_fetched():
    """The program did not know the components to which it added."""
    cluster = three()
    cluster.start()
    cluster.enter()
    cluster.perform(cluster.registry.write(W, ADD, [array(1.0)] * 3, same=True))
    cluster.end()

    assert [1.0, 1.0, 1.0] == cluster.look(W)
    assert [0, 1, 2] == fetched_from(cluster)


def test_a_fetched_component_older_than_a_write_is_not_kept():
    """The program abandons a fetch and then writes. The component arrives after the write."""
    cluster = three(spec(NONE, LOCAL))
    in_call(cluster, by_1=5.0)
    state = cluster.replicas[1]
    _, (sent,) = cluster.registry.fetch(W, [1])
    (late,) = state.handle(sent.message)
    cluster.perform([cluster.registry.write_component(W, 1, ADD, array(1.0))])
    cluster.arrive(1, late.message)

    assert [6.0] == cluster.look(W, [1])
    assert [1] == fetched_from(cluster)


def test_only_fetches_cost_messages():
    cluster = StateCluster(spec(SUM, ON_READ, shape=(4,)), spec(variable_id=V), num_replicas=3)
    cluster.start()
    cluster.write(W, [1.0] * 4, by=1)
    cluster.end()
    cluster.look(W)
    cluster.look(W)

    (account, _) = cluster.registry.statistics()
    assert (2, 16, 5) == (account.messages, account.size_bytes, account.spared)
