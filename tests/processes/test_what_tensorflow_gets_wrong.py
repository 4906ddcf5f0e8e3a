"""Mistakes of TensorFlow that varsim avoids: at least one test for each."""

from __future__ import annotations

import asyncio
import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import Strategy, cluster, location_of, soon
from tests.processes.replicas import all_gather, all_reduce
from tests.replica_context import replica_id
from tests.waiting import MS
from varsim.errors import (
    AggregationError,
    CallTimeout,
    DistributedValueError,
    MismatchError,
    OperationError,
    ValueMismatchError,
    WorkerLost,
)

pytestmark = [pytest.mark.processes, pytest.mark.thorough]

Aggregation = tf.VariableAggregation
Synchronization = tf.VariableSynchronization


def make(strategy: Strategy, value: Any = 0.0, name: str = "v", **settings: Any) -> Any:
    settings = {"aggregation": Aggregation.SUM} | settings
    with strategy.scope():
        return tf.Variable(value, name=name, **settings)


def components(variable: Any) -> list[Any]:
    return [part.numpy().tolist() for part in variable.values]


# ---------------------------------------------------------------- 1, 2: an error, not a hang


def test_1_control_flow_that_depends_on_the_replica_does_not_hang(strategy: Strategy) -> None:
    loss = make(strategy, name="loss")

    def chief_logs() -> None:
        if replica_id() == 0:
            loss.assign_add(1.0)
            float(loss)

    with soon(), pytest.raises(MismatchError, match="replicas 1, 2: never arrived"):
        strategy.run(chief_logs)


def test_1_a_variable_that_one_worker_creates_does_not_hang(strategy: Strategy) -> None:
    def step() -> None:
        if replica_id() == 2:
            tf.Variable(1.0, name="extra")

    with soon(), pytest.raises(RuntimeError, match="replica 2 creates variable 'extra'"):
        strategy.run(step)


def test_2_the_error_of_a_timeout_says_where_each_replica_is(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with cluster(3, stall_warn_s=0, stall_fail_s=100 * MS) as strategy:
        loss = make(strategy, name="loss")

        def step() -> None:
            if replica_id() == 1:
                with gate.open():  # opening a FIFO waits until another process opens it
                    return
            loss.assign_add(1.0)
            float(loss)  # here

        with soon(), pytest.raises(CallTimeout) as caught:
            strategy.run(step)

    text = str(caught.value)
    assert re.match(r"replica 1 has made no progress for \d+\.\d s in call 1 of", text)
    waits = "wait in a read of loss, each after its own write to it"
    assert f"  replicas 0, 2: {waits} at {location_of(step, 'here')}" in text
    assert f"      {location_of(step, 'gate.open')} in step\n" in text  # the stack at this moment


# ---------------------------------------------------------------- 3: only equal operations


def test_3_writes_to_different_variables_are_not_paired(strategy: Strategy) -> None:
    v, u = make(strategy, name="v"), make(strategy, name="u")

    def step() -> None:
        v.assign_add(1.0) if replica_id() == 0 else u.assign_add(100.0)

    with soon(), pytest.raises(MismatchError, match=r"v\.assign_add(.|\n)*u\.assign_add"):
        strategy.run(step)
    assert [[0.0] * 3] * 2 == [components(v), components(u)]


def test_3_a_write_is_not_paired_with_a_reduction(strategy: Strategy) -> None:
    v = make(strategy)

    def step() -> None:
        v.assign(10.0) if replica_id() == 0 else all_reduce("SUM", 7.0)

    with soon(), pytest.raises(MismatchError):
        strategy.run(step)
    assert [0.0] * 3 == components(v)


def test_3_sum_is_not_paired_with_mean(strategy: Strategy) -> None:
    with soon(), pytest.raises(MismatchError, match=r"SUM(.|\n)*MEAN|MEAN(.|\n)*SUM"):
        strategy.run(lambda: all_reduce("SUM" if replica_id() else "MEAN", 10.0))


# ---------------------------------------------------------------- 4: how a peer ended is reported


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("exit", "exited with code 0"),
        ("kill", "was killed by SIGKILL"),
    ],
)
def test_4_the_end_of_a_peer_is_reported_immediately_and_correctly(
    mortal: Strategy, end: str, told: str
) -> None:
    def step() -> None:
        if replica_id() == 0:
            os._exit(0) if end == "exit" else os.kill(os.getpid(), 9)
        all_reduce("SUM", 1.0)

    with soon(), pytest.raises(WorkerLost, match=f"replica 0: worker {told}"):
        mortal.run(step)


def test_4_an_exception_of_a_peer_is_not_a_crash(strategy: Strategy) -> None:
    def step() -> None:
        if replica_id() == 0:
            raise ZeroDivisionError("division by zero")
        all_reduce("SUM", 1.0)

    with soon(), pytest.raises(ZeroDivisionError, match="division by zero"):
        strategy.run(step)


@pytest.mark.parametrize("kind", [GeneratorExit, asyncio.CancelledError, StopIteration])
def test_4_an_exception_of_any_class_is_not_a_crash(
    strategy: Strategy, kind: type[BaseException]
) -> None:
    def step() -> None:
        if replica_id() == 0:
            raise kind("no reason")
        all_reduce("SUM", 1.0)

    with soon(), pytest.raises(kind, match="no reason"):
        strategy.run(step)
    assert 3 == strategy.run(lambda: int(all_reduce("SUM", 1)))


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_4_a_replica_cannot_end_the_program(strategy: Strategy, kind: type[BaseException]) -> None:
    def step() -> None:
        if replica_id() == 0:
            raise kind
        all_reduce("SUM", 1.0)

    with soon(), pytest.raises(tf.errors.ReplicaError, match="ends the call but not the program"):
        strategy.run(step)
    assert 3 == strategy.run(lambda: int(all_reduce("SUM", 1)))


# ---------------------------------------------------------------- 5, 6, 7: values of a collective


def test_5_the_error_names_different_shapes_and_their_replicas(strategy: Strategy) -> None:
    rows = make(strategy, np.zeros(1), name="rows", shape=[None])

    def step() -> None:
        rows.assign(np.zeros(2 + replica_id()))
        rows.read_value()

    with soon(), pytest.raises(ValueMismatchError) as caught:
        strategy.run(step)
    text = str(caught.value)
    for i in range(3):
        wrote = f"rows.assign (float64 {2 + i}) at {location_of(step, 'rows.assign')}\n"
        assert f"  replica {i}: {wrote}" in text


def test_6_collectives_work_after_a_failed_reduction(strategy: Strategy) -> None:
    for _ in range(3):
        with soon(), pytest.raises(ValueMismatchError):
            strategy.run(lambda: all_reduce("SUM", np.zeros(1 + replica_id())))
        with soon(), pytest.raises(ValueMismatchError):
            strategy.run(lambda: all_gather(np.zeros((1, 1 + replica_id()))))
        assert 3 == strategy.run(lambda: int(all_reduce("SUM", 1)))


def test_6_collectives_work_after_a_refused_reduction(strategy: Strategy) -> None:
    with soon(), pytest.raises(AggregationError):
        strategy.run(lambda: all_reduce("SUM", True))
    assert 3 == strategy.run(lambda: int(all_reduce("SUM", 1)))


def test_7_empty_tensors_can_be_gathered(strategy: Strategy) -> None:
    empties = strategy.run(lambda: np.zeros((0, 2), "f"))
    assert (0, 2) == strategy.gather(empties, axis=0).shape
    assert "(0, 2)" == strategy.run(lambda: str(all_gather(np.zeros((0, 2))).shape))
    assert "[0 0 1]" == strategy.run(lambda: str(all_gather(np.arange(replica_id()))))


# ---------------------------------------------------------------- 8: divergence is not silent


def test_8_a_write_that_makes_copies_diverge_warns_with_the_location(strategy: Strategy) -> None:
    v = make(strategy, name="weights", aggregation=Aggregation.NONE)

    def step() -> None:
        v.assign(float(replica_id()))

    with pytest.warns(tf.VarsimWarning, match="weights(.|\n)*the components diverge") as caught:
        strategy.run(step)
    assert {location_of(step, "assign")} == {
        f"{os.path.relpath(warning.filename)}:{warning.lineno}" for warning in caught
    }
    assert [0.0, 1.0, 2.0] == components(v)


def test_8_only_first_replica_works_with_several_processes(strategy: Strategy) -> None:
    v = make(strategy, aggregation=Aggregation.ONLY_FIRST_REPLICA)
    assert 10.0 == strategy.run(lambda: float(v.assign(10.0 + replica_id())))
    assert [10.0] * 3 == components(v)


# ---------------------------------------------------------------- 9, 10: operations that must work


@pytest.mark.parametrize("value", [0, 0.0, 7.5, [1.5]], ids=repr)
def test_9_literals_can_be_assigned_with_any_aggregation(strategy: Strategy, value: Any) -> None:
    total = make(strategy, np.zeros_like(value, "d"), aggregation=Aggregation.SUM)
    mean = make(strategy, np.zeros_like(value, "d"), aggregation=Aggregation.MEAN)

    strategy.run(lambda: [total.assign(value) is mean.assign(value)])

    assert np.all(3 * np.asarray(value) == total.numpy())
    assert np.all(value == mean.numpy())


def test_9_errors_name_the_operand_that_is_not_allowed(strategy: Strategy) -> None:
    v = make(strategy, name="v")
    per_replica = strategy.run(lambda: np.float32(1))
    with pytest.raises(DistributedValueError, match="has one value per replica"):
        np.asarray(per_replica)
    with pytest.raises(OperationError, match="a slice of a distributed variable"):
        make(strategy, np.zeros(2))[0].assign(1.0)
    with pytest.raises(ValueError, match=r"variable 'v' at .*: expected a number or .*, got None"):
        strategy.run(lambda: v.assign(None) is None)


def test_10_a_write_is_allowed_in_any_control_flow(strategy: Strategy) -> None:
    v = make(strategy)

    @tf.function
    def step() -> float:
        for number in range(3):
            if number % 2:
                v.assign_add(float(number))
        return float(v)

    assert 3.0 == strategy.run(step)


def test_10_a_variable_with_synchronization_none_is_local_state(strategy: Strategy) -> None:
    with pytest.warns(tf.VarsimWarning, match="does not synchronise"):
        v = make(strategy, synchronization=Synchronization.NONE, aggregation=Aggregation.NONE)
    strategy.run(lambda: v.assign_add(float(replica_id())) is None)
    assert [0.0, 1.0, 2.0] == components(v)
    assert 3.0 == strategy.reduce("SUM", v, axis=None)


# ---------------------------------------------------------------- 11, 12, 13: exact and complete


def test_11_numbers_keep_all_digits() -> None:
    on_read = {"synchronization": Synchronization.ON_READ}
    with cluster(1) as single:
        count = make(single, np.int32(0), **on_read)
        count.assign(16777217)
        assert 16777217 == int(count)
        share = make(single, np.float64(0), **on_read)
        share.assign(0.1)
        assert 0.1 == float(share)


def test_11_a_truncated_integer_share_causes_a_warning(strategy: Strategy) -> None:
    count = make(strategy, np.int32(0), "count", synchronization=Synchronization.ON_READ)
    with pytest.warns(tf.VarsimWarning, match="count(.|\n)*loses its remainder"):
        count.assign(13)
    assert 12 == int(count)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        count.assign(12)


def test_11_a_mean_is_the_same_in_a_tf_function(strategy: Strategy) -> None:
    v = make(strategy, np.float32(0), aggregation=Aggregation.MEAN)
    numbers = np.float32([0.1, 0.7, 1.3])
    expected = ((numbers[0] + numbers[1]) + numbers[2]) / np.float32(3)

    def step() -> float:
        return float(v.assign(numbers[replica_id()]))

    assert float(expected) == strategy.run(step) == strategy.run(tf.function(step))


def test_12_a_wrong_number_of_values_changes_nothing(strategy: Strategy) -> None:
    v = make(strategy)
    for count in (2, 4):
        with pytest.raises(DistributedValueError, match=f"of {count} values"):
            v.assign(tf.distribute.PerReplica([np.float32(1)] * count))
    assert [0.0] * 3 == components(v)


def test_12_a_write_that_cannot_be_read_back_changes_nothing(strategy: Strategy) -> None:
    v = make(strategy, synchronization=Synchronization.ON_READ, aggregation=Aggregation.NONE)
    with pytest.raises(AggregationError):
        v.assign(1.0)
    assert [0.0] * 3 == components(v)


def test_12_an_update_that_fails_half_way_changes_nothing(strategy: Strategy) -> None:
    v = make(strategy)

    def update(component: Any, value: float) -> None:
        component.assign(value)
        assert value < 2

    def on_replicas() -> None:
        replica = tf.distribute.get_replica_context()
        replica.strategy.extended.update(v, update, args=(0.5 + replica_id(),))

    values = tf.distribute.PerReplica([0.5, 1.5, 2.5])
    for attempt in (
        lambda: strategy.extended.update(v, update, args=(values,)),
        lambda: strategy.run(on_replicas),
    ):
        with soon(), pytest.raises(AssertionError):
            attempt()
        assert [0.0] * 3 == components(v)


def test_12_a_value_that_fits_only_some_components_changes_none(mortal: Strategy) -> None:
    """This holds even if only the workers know the components."""
    v = make(mortal, np.zeros(2, "f"), aggregation=Aggregation.NONE)
    with pytest.warns(tf.VarsimWarning, match="components diverge"):
        mortal.run(lambda: v.assign(np.full(2, replica_id(), "f")) is None)

    uneven = tf.distribute.PerReplica([np.ones(2, "f"), np.ones(5, "f")])
    for value in (np.ones(5, "f"), uneven):
        with pytest.raises(ValueError, match="shapes must be equal"):
            v.assign_add(value)
    assert [[0, 0], [1, 1]] == components(v)
    assert mortal.run(lambda: True)


def test_12_components_of_different_shapes_are_not_mixed(strategy: Strategy) -> None:
    rows = make(strategy, np.zeros(1), shape=[None], synchronization=Synchronization.ON_READ)
    strategy.run(lambda: rows.assign(np.ones(1 if replica_id() else 3)) is None)
    with pytest.raises(ValueError, match="shape"):
        rows.numpy()


def test_13_contributions_are_counted_per_replica(strategy: Strategy) -> None:
    v = make(strategy, np.zeros(4, "f"), name="accounted")
    strategy.run(lambda: v.assign_add(np.ones(4, "f")) is None)
    (account,) = (one for one in strategy.statistics() if one.name == "accounted")
    assert (3, 1, 6, 96) == (
        account.writes,
        account.merges,
        account.messages,
        account.size_bytes,
    )
