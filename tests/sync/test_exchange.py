"""Cells of policies that compute merges, or use one-sided operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from tests.sync.build import W, replica, spec
from varsim.errors import (
    AggregationError,
    OperationError,
    ProtocolError,
    ShapeError,
    SynchronizationError,
)
from varsim.protocol.messages import ComponentCommit
from varsim.spec import Operation
from varsim.sync.policies.cells import Broadcast, Cell, Exchange, Local
from varsim.sync.policies.copy import ReadCopy, ToAllAndCopy
from varsim.sync.policies.exchanging import ExchangeEvery
from varsim.sync.policies.on_read import Gather
from varsim.sync.policies.policy import on_every_write, rows
from varsim.testing import simulated_cluster

MEAN, FIRST = tf.VariableAggregation.MEAN, tf.VariableAggregation.ONLY_FIRST_REPLICA
ON_WRITE = tf.VariableSynchronization.ON_WRITE
LOCAL, GATHER, TO_ALL = Local(), Gather(), Broadcast(per_component=True)


@dataclass(frozen=True, slots=True)
class By(ExchangeEvery):
    """An exchange whose result is that of a function."""

    function: Callable[[Any, Any], Any] = lambda components, _: Exchange(components)

    def exchanged(self, spec, components, copy):
        return self.function(components, copy)


@dataclass(frozen=True, eq=False)
class Tried(tf.CustomPolicy):
    """A policy with any cells."""

    keyword: ClassVar[str] = "tried"
    aggregations: ClassVar = {one: one for one in (MEAN, FIRST)}
    write: Cell = LOCAL
    read: Cell = LOCAL
    outside: Cell = GATHER
    changes: Cell = TO_ALL
    keeps_copy: bool = False  # type: ignore[misc]  # each test chooses

    @property
    def name(self):
        return f"tried:{id(self)}"

    @property
    def rows(self):
        return rows(
            replica={Operation.READ: self.read, **on_every_write(self.write)},
            cross_replica={Operation.READ: self.outside, **on_every_write(self.changes)},
        )


@pytest.fixture
def made():
    """Provide a function that makes a variable of three replicas under a policy."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1", "cpu:2"])

        def make(policy, start=0.0, **options):
            with strategy.scope():
                options = {"aggregation": MEAN, "name": "v", **options}
                return tf.Variable(start, synchronization=policy, **options)

        yield make


def own():
    """Return 1, 2 or 3: the number that a replica writes."""
    return 1.0 + replica_id()


def components(v):
    return [one.numpy().tolist() for one in v.values]


# ---------------------------------------------------------------- exchanges


def test_each_replica_gets_its_own_result(made):
    v = made(Tried(By(1, lambda them, _: Exchange(them[::-1]))))

    v.strategy.run(lambda: v.assign(own(), read_value=False))

    assert [3.0, 2.0, 1.0] == components(v)
    assert 2.0 == float(v.read_value())


def test_a_read_after_the_exchange_waits_for_the_result(made):
    v = made(Tried(By(1, lambda them, _: Exchange(them[::-1]))))

    seen = v.strategy.run(lambda: float(v.assign(own())))

    assert (3.0, 2.0, 1.0) == v.strategy.experimental_local_results(seen)


def test_variables_with_and_without_an_exchange_are_written_side_by_side(made):
    """Their values are in one contribution."""
    v = made(Tried(By(1, lambda them, _: Exchange(them[::-1]))), [0.0])
    mirrored, averaged = made(ON_WRITE, [0.0]), made(tf.LocalSGD(1), [0.0])

    def step():
        for one in (averaged, v, mirrored):
            one.assign([own()], read_value=False)

    v.strategy.run(step)

    assert [[3.0], [2.0], [1.0]] == components(v)
    assert [[2.0]] * 3 == components(mirrored) == components(averaged)


def test_an_exchange_can_change_the_copy(made):
    policy = Tried(
        By(1, lambda them, copy: Exchange(them, copy + sum(them))),
        outside=ReadCopy(),
        changes=ToAllAndCopy(),
        keeps_copy=True,
    )
    v = made(policy, 10.0)

    v.strategy.run(lambda: v.assign(own(), read_value=False))
    assert 16.0 == float(v.read_value())

    v.assign_add(1.0)
    assert 17.0 == float(v.read_value())
    assert [2.0, 3.0, 4.0] == components(v)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda them, _: Exchange(them[1:]), "it returns 2 components for 3 replicas"),
        (
            lambda them, _: Exchange([one > 0 for one in them]),
            r"dtype bool instead of \(\) and",
        ),
        (
            lambda them, _: Exchange([one[None] for one in them]),
            r"shape \(1,\) and dtype float32 inst",
        ),
        (lambda them, _: Exchange(them, them[0]), "a copy, and the policy has no `keeps_copy`"),
        (lambda them, _: them[0].fill(7), "ValueError: assignment destination is read-only"),
        (lambda them, _: them[3], "IndexError: list index out of range"),
    ],
)
def test_a_wrong_result_is_an_error_that_names_the_policy(function, says, made):
    v = made(Tried(By(1, function)), 5.0)

    with pytest.raises(OperationError, match=rf"'v'.* its policy tried:\d+ .*{says}"):
        v.strategy.run(lambda: v.assign(own(), read_value=False))

    v.assign(4.0)
    assert [4.0] * 3 == components(v)


def test_settings_that_an_exchange_does_not_support_are_refused(made):
    with pytest.raises(AggregationError, match="ONLY_FIRST_REPLICA"):
        made(Tried(By(1)), aggregation=FIRST)
    with pytest.raises(ShapeError, match="needs a known shape"):
        made(Tried(keeps_copy=True, outside=ReadCopy()), [1.0], shape=(None,))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"replica_id": 1}, "the component of replica 1 was sent to replica 0"),
        ({"value": np.zeros(2, np.float32)}, "wrong shape or dtype"),
        ({"value": np.zeros((), np.float64)}, "wrong shape or dtype"),
        ({"version": 3}, "commit 3 came after 0"),
        ({"version": 2**63}, "came after 0"),
        ({"variable_id": 2**63}, "holds no variable"),
        ({"settled": 9}, "settles 9 collectives"),
    ],
)
def test_a_wrong_component_is_a_protocol_error(change, says):
    own = replica(spec())
    fields = {
        "call_id": 1,
        "settled": 0,
        "variable_id": W,
        "replica_id": 0,
        "version": 1,
        "value": np.array(7.0, np.float32),
    }

    with pytest.raises(ProtocolError, match=says):
        own.handle(ComponentCommit(**{**fields, **change}))

    own.handle(ComponentCommit(**fields))
    assert 7.0 == own.read(W)
    own.handle(ComponentCommit(**fields))
    assert 7.0 == own.read(W)


# ---------------------------------------------------------------- one-sided operations


@dataclass(frozen=True, slots=True)
class Pushed(Cell):
    """A write that goes to the copy; if `pulls` is true, the replica then pulls the copy."""

    pulls: bool = True
    writes_itself: ClassVar[bool] = True
    writes_alone: ClassVar[bool] = True

    def write(self, replica, variable, operation, operand, location):
        actions = replica.push(variable, np.array(operand), location)
        return [*actions, *replica.pull(variable, location)] if self.pulls else actions

    def obtained(self, replica, variable, value):
        return replica.adopt(variable, value)


@dataclass(frozen=True, slots=True)
class Pulled(Local):
    """A read that first pulls the copy."""

    reads_itself: ClassVar[bool] = True

    def read(self, replica, variable):
        return replica.pull(variable, "")

    def obtained(self, replica, variable, value):
        return replica.adopt(variable, value)


@dataclass(frozen=True, slots=True)
class SumOfPublished(Local):
    """A write that publishes, fetches the other components one by one, and adds them up."""

    writes_itself: ClassVar[bool] = True

    def write(self, replica, variable, operation, operand, location):
        replica.write_locally(variable, operation, operand)
        published = replica.publish(variable, location)
        return [*published, *replica.fetch(variable, 0, location)]

    def obtained(self, replica, variable, value):
        had_one = variable.component() < 100.0
        adopted = replica.adopt(variable, variable.component() + value)
        return [*adopted, *replica.fetch(variable, 1, "")] if had_one else adopted


def shared(**cells):
    return Tried(outside=ReadCopy(), changes=ToAllAndCopy(), keeps_copy=True, **cells)


def test_a_write_can_push_and_pull(made):
    v = made(shared(write=Pushed()), 100.0)

    seen = v.strategy.run(lambda: float(v.assign_add(own())))

    assert v.strategy.experimental_local_results(seen) == tuple(components(v))
    assert 106.0 == float(v.read_value()) == max(components(v))


def test_a_write_can_push_without_a_wait_and_a_read_can_pull(made):
    v = made(shared(write=Pushed(pulls=False), read=Pulled()), [100.0, 0.0])

    def step():
        v.assign_add([own(), 0.0], read_value=False)
        tf.distribute.get_replica_context().all_reduce("SUM", 0.0)
        return float(v.read_value()[0]), float(v[[0]][0])

    seen = v.strategy.run(step)

    assert ((106.0, 106.0),) * 3 == v.strategy.experimental_local_results(seen)
    assert [106.0, 0.0] == v.read_value().tolist()


def test_a_cell_can_fetch_again_when_it_has_an_answer(made):
    v = made(shared(write=SumOfPublished()), 100.0)

    def step():
        if replica_id() == 2:
            v.assign(1.0, read_value=False)
        return float(v.read_value())

    assert (100.0, 100.0, 201.0) == v.strategy.experimental_local_results(v.strategy.run(step))


def test_the_program_itself_cannot_use_the_copy_of_a_policy(made):
    v = made(shared(write=Pushed()))

    for operation in (lambda: v.push(1.0), v.pull, lambda: v.sync("MEAN")):
        with pytest.raises(OperationError, match="its policy itself decides when"):
            operation()
        with pytest.raises(OperationError, match="its policy itself decides when"):
            v.strategy.run(operation)


def test_joined_replicas_are_refused_unless_a_replica_writes_alone(made):
    one = tf.distribute.PerReplica([1.0, 2.0], 1)
    made(shared(write=Pushed())).strategy.run(lambda _: None, (one,))
    exchanged = made(Tried(By(1)))

    with pytest.raises(SynchronizationError, match="every replica"):
        exchanged.strategy.run(lambda _: None, (one,))
