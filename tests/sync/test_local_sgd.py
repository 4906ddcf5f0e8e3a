"""LocalSGD: the writes of one replica, and the values in a cluster."""

from __future__ import annotations

import numpy as np
import pytest

import varsim as tf
from tests.sync.build import ADD, ASSIGN, MEAN, W, array, commit, replica, spec
from varsim.distribute.policies import parse_synchronization
from varsim.errors import AggregationError, ConfigError, MismatchError
from varsim.protocol.messages import Abort, Contribution
from varsim.spec import Operation, Rows
from varsim.sync.actions import WAIT_AND_REPEAT, Proceed, Send
from varsim.sync.replica_events import ReplicaScatter, ReplicaWrite
from varsim.testing import simulated_cluster


def contributions(actions):
    messages = [one.message for one in actions if isinstance(one, Send)]
    return [one for one in messages if isinstance(one, Contribution)]


@pytest.fixture
def own():
    """Provide a replica that exchanges every second write."""
    return replica(spec(MEAN, parse_synchronization("local_sgd:2")))


# ---------------------------------------------------------------- one replica


def test_the_first_write_stays_local(own):
    assert not own.write(W, ADD, array(3.0))

    assert 3.0 == own.read(W)
    assert [] == contributions(own.enter())


def test_the_second_write_contributes_the_new_component(own):
    own.write(W, ADD, array(3.0))
    assert not own.write(W, ADD, array(4.0))

    (contribution,) = contributions(own.enter())
    assert [7.0] == [float(bucket) for bucket in contribution.buckets]


def test_a_read_waits_for_the_average_and_then_shows_it(own):
    own.write(W, ADD, array(3.0))
    own.write(W, ADD, array(4.0))
    assert own.waits_for(W)
    own.wait(W)

    own.handle(commit(1, 5.0))

    assert not own.waits_for(W)
    assert 5.0 == own.read(W)


def test_a_third_write_waits_for_the_average(own):
    own.write(W, ADD, array(3.0))
    own.write(W, ADD, array(4.0))
    third = ReplicaWrite(W, ADD, array(1.0), "")
    assert [WAIT_AND_REPEAT] == own.state.handle(third)
    own.block()

    assert Proceed() in own.handle(commit(1, 5.0))
    assert not own.state.handle(third)

    assert 6.0 == own.read(W)


def test_writes_are_counted_once_whether_they_are_exchanged_or_not(own):
    """The merge counts the exchanged write for all replicas."""
    for value in (3.0, 4.0):
        own.write(W, ASSIGN, array(value))
    assert ((W, 1, 0),) == own.report().accesses


def test_a_sparse_write_counts_as_a_dense_one():
    table = replica(spec(MEAN, parse_synchronization("local_sgd:2"), shape=(3,)))

    table.scatter(W, Operation.SCATTER_ADD, [0, 0], [1.0, 2.0])
    assert [] == contributions(table.enter())
    table.write(W, ADD, array([10.0, 10.0, 10.0]))

    (contribution,) = contributions(table.enter())
    assert [[13.0, 10.0, 10.0]] == [bucket.tolist() for bucket in contribution.buckets]


def test_a_sparse_write_waits_for_the_average():
    table = replica(spec(MEAN, parse_synchronization("local_sgd:1"), shape=(2,)))
    table.scatter(W, Operation.SCATTER_ADD, [1], [1.0])
    one = Rows(np.array([1]), np.array([1.0], np.float32))
    second = ReplicaScatter(W, Operation.SCATTER_ADD, one, "")

    assert [WAIT_AND_REPEAT] == table.state.handle(second)
    table.block()
    assert Proceed() in table.handle(commit(1, [5.0, 7.0]))
    assert not table.state.handle(second)

    (contribution,) = contributions(table.enter())
    assert [[5.0, 8.0]] == [bucket.tolist() for bucket in contribution.buckets]


def test_after_a_failed_call_a_replica_counts_from_zero(own):
    own.write(W, ADD, array(1.0))
    own.handle(Abort(call_id=1, reason="another replica raised"))
    own.unwind()
    own.begin(2)

    own.write(W, ADD, array(1.0))

    assert [] == contributions(own.enter())
    assert 2.0 == own.read(W)


# ---------------------------------------------------------------- settings


def test_the_aggregation_must_be_mean_which_is_the_default():
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
        with strategy.scope():
            assert MEAN is tf.Variable(0.0, synchronization=tf.LocalSGD(8)).aggregation
            with pytest.raises(AggregationError, match="it needs MEAN"):
                tf.Variable(
                    0.0,
                    synchronization=tf.LocalSGD(8),
                    aggregation=tf.VariableAggregation.SUM,
                )
            with pytest.raises(AggregationError, match="a mean of integers"):
                tf.Variable(0, synchronization=tf.LocalSGD(8))


@pytest.mark.parametrize("every", [0, -1, 2.0, "8"])
def test_the_number_of_writes_is_a_positive_integer(every):
    with pytest.raises(ConfigError, match="expected a positive integer, the number of writes"):
        tf.LocalSGD(every)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("local_sgd", "K is missing"),
        ("local_sgd:", "K is missing"),
        ("local_sgd:x", "K is 'x', which is not an integer"),
        ("local_sgd:1:2", "2 parameters instead of 1"),
        ("local_sgd:0", "expected a positive integer"),
    ],
)
def test_the_error_about_a_name_says_what_is_wrong_and_what_is_right(name, problem):
    with pytest.raises(ConfigError, match=problem) as raised:
        parse_synchronization(name)

    assert "Write local_sgd:K, where K is a positive integer" in str(raised.value)
    assert str(raised.value).endswith("for example local_sgd:8")


# ---------------------------------------------------------------- calls


def test_variables_of_several_policies_are_written_side_by_side():
    """Their values are sent in one contribution, with those of ON_WRITE variables."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
        with strategy.scope():
            often, seldom = (tf.Variable([0.0], synchronization=tf.LocalSGD(k)) for k in (1, 2))
            mirrored = tf.Variable([0.0], aggregation=MEAN)

        def step():
            mine = 1.0 + 2.0 * tf.distribute.get_replica_context().replica_id_in_sync_group
            for v in (often, mirrored, seldom):
                v.assign([mine], read_value=False)

        strategy.run(step)
        seen = [[one.numpy().tolist() for one in v.values] for v in (often, mirrored, seldom)]
        assert [[[2.0]] * 2, [[2.0]] * 2, [[1.0], [3.0]]] == seen

        strategy.run(step)
        assert [[2.0]] * 2 == [one.numpy().tolist() for one in seldom.values]


def test_a_replica_that_writes_less_often_is_named():
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
        with strategy.scope():
            v = tf.Variable(0.0, name="v", synchronization=tf.LocalSGD(2))

        def step():
            for _ in range(tf.distribute.get_replica_context().replica_id_in_sync_group + 1):
                v.assign_add(1.0)

        with pytest.raises(MismatchError, match=r"synchronization=local_sgd:2") as caught:
            strategy.run(step)

    assert [(0,), (1,)] == [group.replica_ids for group in caught.value.groups]
