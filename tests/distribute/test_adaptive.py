"""Programs with auto="adaptive"; tests/properties compares their values with ON_WRITE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.errors import ContextError, MismatchError
from varsim.sync import deferred
from varsim.testing import simulated_cluster

AUTO = tf.VariableSynchronization.AUTO
SUM, MEAN = tf.VariableAggregation.SUM, tf.VariableAggregation.MEAN


@pytest.fixture(params=[None, 1, 2])
def strategy(request: pytest.FixtureRequest) -> Iterator[tf.distribute.MirroredStrategy]:
    with simulated_cluster(request.param):
        yield tf.distribute.MirroredStrategy(["a", "b"], auto="adaptive")


@pytest.fixture
def v(strategy: tf.distribute.MirroredStrategy) -> Any:
    with strategy.scope():
        return tf.Variable(0.0, name="v", aggregation=SUM)


def account(strategy: tf.distribute.MirroredStrategy) -> Any:
    return strategy.statistics()[0]


def test_adaptive_is_off_by_default():
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["a"])
        with strategy.scope():
            assert tf.VariableSynchronization.ON_WRITE is tf.Variable(0.0).synchronization


def test_an_unknown_value_of_auto_is_refused():
    with pytest.raises(ValueError, match="auto='always': expected one of on_write, adaptive"):
        tf.distribute.MirroredStrategy(["a"], auto="always")


def test_the_variable_has_the_synchronization_auto(strategy, v):
    assert AUTO is v.synchronization
    assert SUM is v.aggregation
    assert v.trainable
    assert strategy.extended.variable_created_in_scope(v)


def test_many_writes_need_one_exchange(strategy, v):
    def step() -> None:
        for _ in range(10):
            v.assign_add(1.0)

    for _ in range(5):
        strategy.run(step)

    assert 0 == account(strategy).messages
    assert 100.0 == float(v)
    assert (100, 1, 6) == (
        account(strategy).writes,
        account(strategy).merges,
        account(strategy).messages,
    )
    assert (50, 200) == (account(strategy).on_write.merges, account(strategy).on_write.messages)


def test_the_program_may_change_an_array_after_a_write(strategy):
    with strategy.scope():
        rows = tf.Variable(np.zeros(2, "f"), aggregation=SUM)

    def step() -> None:
        mine = np.ones(2, "f")
        rows.assign_add(mine)
        mine[:] = 50
        buffer = rows.update_buffer()
        buffer[:] = 2
        rows.assign_add(buffer)

    strategy.run(step)
    assert "[6. 6.]" == str(rows.numpy())


def test_a_read_value_never_changes(strategy, v):
    before = v.read_value()

    def step() -> str:
        first = v.read_value()
        v.assign_add(1.0)
        second = v.read_value()
        v.assign_add(1.0)
        v.read_value()
        return f"{first} {second}"

    assert "0.0 2.0" == strategy.run(step)
    assert 0.0 == float(before)


@pytest.mark.parametrize("limit", ["MAX_ENTRIES", "MAX_LOG_BYTES"])
def test_a_replica_with_too_many_deferred_writes_waits_for_an_exchange(
    strategy, v, monkeypatch, limit
):
    monkeypatch.setattr(deferred, limit, 3)

    def step() -> None:
        for _ in range(20):
            v.assign_add(1.0)

    strategy.run(step)

    assert account(strategy).merges >= 6
    assert 40.0 == float(v)


def test_a_component_is_written_after_the_deferred_writes_of_the_replicas(strategy, v):
    strategy.run(lambda: v.assign_add(1.0, read_value=False))
    v.values[0].assign(10.0)

    assert [10.0, 2.0] == [float(part.numpy()) for part in v.values]
    strategy.run(lambda: v.assign_add(1.0, read_value=False))
    assert [12.0, 4.0] == [float(part.numpy()) for part in v.values]


def test_another_component_has_the_same_number_of_writes(strategy, v):
    def step() -> float:
        v.assign_add(1.0)
        seen = float(v.values[1 - replica_id()].numpy())
        v.assign_add(1.0)
        return seen

    assert 2.0 == strategy.run(step)
    assert 4.0 == float(v)


def test_a_replica_writes_a_component_itself(strategy, v):
    def step() -> None:
        v.assign_add(1.0)
        if replica_id() == 0:
            v.values[1].assign(10.0)
        v.assign_add(1.0)

    strategy.run(step)
    assert [4.0, 12.0] == [float(part.numpy()) for part in v.values]


def test_a_call_in_a_merge_call_can_write(strategy, v):
    def inner() -> None:
        v.assign_add(10.0)

    def merged(strategy: Any) -> float:
        before = float(v)
        strategy.run(inner)
        strategy.run(inner)
        return before

    def outer() -> float:
        v.assign_add(1.0)
        before = tf.distribute.get_replica_context().merge_call(merged)
        v.assign_add(100.0)
        return float(before)

    assert 2.0 == strategy.run(outer)
    assert 242.0 == float(v)


def test_a_failed_inner_call_loses_only_its_own_writes(strategy, v):
    def inner(number: float) -> None:
        v.assign_add(number)
        if number == 100.0:
            raise KeyError("inner")

    def merged(strategy: Any) -> None:
        strategy.run(inner, args=(10.0,))
        with pytest.raises(KeyError):
            strategy.run(inner, args=(100.0,))

    def outer() -> None:
        v.assign_add(1.0)
        tf.distribute.get_replica_context().merge_call(merged)
        v.assign_add(2.0)

    strategy.run(outer)
    assert 26.0 == float(v)


def test_a_call_that_fails_loses_its_unread_writes(strategy, v):
    def step() -> None:
        v.assign_add(1.0)
        v.read_value()
        v.assign_add(10.0)
        raise KeyError

    for expected in (2.0, 4.0):
        with pytest.raises(KeyError):
            strategy.run(step)
        assert expected == float(v)


def test_a_waiting_read_does_not_return_if_its_call_fails(strategy, v):
    went_on = []

    def step() -> None:
        if replica_id() == 1:
            return
        v.assign_add(1.0)
        went_on.append(float(v))

    with pytest.raises(MismatchError, match=r"replica 0: 1 write; it waits in a read of v.*") as e:
        strategy.run(step)
    assert "test_adaptive.py:" in str(e.value)
    strategy.run(replica_id)  # this delivers the message that the first call has failed
    assert [] == went_on
    assert 0.0 == float(v)


def test_uneven_writes_are_found_at_the_end_of_the_call(strategy, v):
    def step() -> None:
        for _ in range(1 + replica_id()):
            v.assign_add(1.0)

    with pytest.raises(MismatchError, match="replica 1: 2 writes"):
        strategy.run(step)
    assert 0.0 == float(v)


def test_bools_are_refused_as_with_on_write(strategy):
    with strategy.scope():
        flag = tf.Variable(False, aggregation=SUM)
    with pytest.raises(tf.VarsimError, match="bools"):
        strategy.run(lambda: flag.assign(True))


def test_a_deep_copy_contains_deferred_writes(strategy, v):
    import copy

    strategy.run(lambda: v.assign_add(1.0, read_value=False))
    with strategy.scope():
        twin = copy.deepcopy(v)
    strategy.run(lambda: twin.assign_add(1.0, read_value=False))

    assert (2.0, 4.0, AUTO) == (float(v), float(twin), twin.synchronization)


def test_deferred_writes_to_a_freed_variable_are_not_exchanged(strategy):
    with strategy.scope():
        gone = tf.Variable(0.0, aggregation=MEAN)
        kept = tf.Variable(0.0, aggregation=MEAN)

    both = [gone, kept]
    strategy.run(lambda: [v.assign_add(1.0, read_value=False) for v in both])
    both.clear()
    del gone
    strategy.run(lambda: kept.assign_add(1.0, read_value=False))

    assert 2.0 == float(kept)


def test_unread_writes_are_lost_with_the_workers(strategy, v):
    strategy.run(lambda: v.assign_add(1.0, read_value=False))
    assert 2.0 == float(v)
    strategy.run(lambda: v.assign_add(1.0, read_value=False))
    strategy.close()

    with pytest.raises(ContextError, match="has been closed"):
        v.numpy()
