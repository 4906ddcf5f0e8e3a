"""Replicas that do different operations get a clear error immediately, and can be used again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import Strategy, cluster, location_of, soon
from tests.processes.replicas import all_gather, all_reduce, merge_call
from tests.replica_context import replica_id
from varsim.errors import DtypeError, MismatchError, ShapeError, ValueMismatchError
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

pytestmark = pytest.mark.processes

Aggregation = tf.VariableAggregation


@dataclass
class MismatchCluster:
    """A cluster with variables that a failing call must not change."""

    strategy: Strategy
    v: Any
    u: Any
    wide: Any

    def fails(
        self, kind: type[Exception], function: Callable[[], Any], *, definite: bool = True
    ) -> str:
        """Return the error's text. Check that it comes soon and that no variable changed."""
        before = self.values()
        with soon(), pytest.raises(kind) as caught:
            self.strategy.run(function)
        assert definite == getattr(caught.value, "definite", definite)
        assert before == self.values()
        self.works()
        return str(caught.value)

    def values(self) -> list[list[float]]:
        """Return every component of every variable."""
        return [
            [part.numpy().tolist() for part in variable.values]
            for variable in (self.v, self.u, self.wide)
        ]

    def works(self) -> None:
        """Check that the cluster can be used: no replica is still in a call."""
        v, before = self.v, float(self.v)
        with soon():
            assert [before + 6.0] * 3 == local(self.strategy, lambda: float(v.assign_add(2.0)))
        v.assign_sub(6.0)


def local(strategy: Strategy, function: Callable[[], Any]) -> list[Any]:
    result = strategy.run(function)
    if isinstance(result, tf.distribute.PerReplica):
        return list(strategy.experimental_local_results(result))
    return [result] * strategy.num_replicas_in_sync


@pytest.fixture(scope="module")
def made(strategy: Strategy) -> MismatchCluster:
    with strategy.scope():
        v = tf.Variable(1.0, name="v", aggregation=Aggregation.SUM)
        u = tf.Variable(2.0, name="u", aggregation=Aggregation.MEAN)
        wide = tf.Variable(np.zeros(2), shape=[None], name="wide", aggregation=Aggregation.SUM)
    return MismatchCluster(strategy, v, u, wide)


@pytest.fixture
def stage(made: MismatchCluster) -> Iterator[MismatchCluster]:
    yield made
    made.works()


# ---------------------------------------------------------------- one replica does not arrive


@pytest.mark.parametrize(
    ("aggregation", "why"),
    [
        (Aggregation.SUM, "the sum of all replicas' values"),
        (Aggregation.MEAN, "the mean of all replicas' values"),
        (Aggregation.ONLY_FIRST_REPLICA, "replica 0's value on all replicas"),
    ],
)
def test_a_replica_that_skips_a_write_is_named(
    stage: MismatchCluster, aggregation: tf.VariableAggregation, why: str
) -> None:
    name = f"weights_{aggregation.name.lower()}"  # the cluster is the same for all cases
    with stage.strategy.scope():
        w: Any = tf.Variable(0.0, name=name, aggregation=aggregation)  # made here

    def step() -> None:
        if replica_id() != 1:
            w.assign_sub(1.0)

    text = stage.fails(MismatchError, step)

    writes = f"{name}.assign_sub (float32 scalar) at {location_of(step, 'assign_sub')}"
    assert f"  replicas 0, 2: {writes}\n" in text
    assert "  only replica 1: never arrived; its function returned after 0 collectives\n" in text
    assert f"'{name}' (synchronization=ON_WRITE" in text
    assert (
        f"created at {location_of(test_a_replica_that_skips_a_write_is_named, 'made here')}" in text
    )
    assert f"makes the replicas wait: in replica context, a write to it uses {why}." in text
    assert [0.0] * 3 == [float(part) for part in w.values]


def test_a_skipped_write_is_found_if_others_wait_for_the_value(stage: MismatchCluster) -> None:
    v = stage.v

    def step() -> float:
        return float(v.assign(1.0)) if replica_id() else 0.0

    text = stage.fails(MismatchError, step)

    assert f"v.assign (float32 scalar) at {location_of(step, 'assign')}" in text
    assert "  only replica 0: never arrived; its function returned after 0 collectives\n" in text


def test_an_additional_step_of_one_replica_is_a_mismatch(stage: MismatchCluster) -> None:
    """Merges before the mismatch keep their effect; the other writes have no effect."""
    v, u = stage.v, stage.u
    u.assign(0.0)

    def epoch() -> None:
        for step in range(2 + (replica_id() == 2)):
            if step < 2:
                u.assign_add(1.0)
            else:
                v.assign_add(1.0)
            float(u)

    before = float(v)
    with soon(), pytest.raises(MismatchError) as caught:
        stage.strategy.run(epoch)

    text = str(caught.value)
    assert "at collective 3 of this call" in text
    assert (
        f"  only replica 2: v.assign_add (float32 scalar) at {location_of(epoch, 'v.assign')}"
        in text
    )
    ended = "never arrived; their functions returned after 2 collectives"
    assert f"  replicas 0, 1: {ended}\n" in text
    assert [2.0] * 3 == [float(part) for part in u.values]
    assert [before] * 3 == [float(part) for part in v.values]


@pytest.mark.parametrize("what", ["all_reduce", "all_gather", "merge_call", "read"])
def test_a_replica_that_returns_early_is_named(stage: MismatchCluster, what: str) -> None:
    v = stage.v
    waits = {
        "all_reduce": lambda: all_reduce("SUM", 1.0),
        "all_gather": lambda: all_gather(np.zeros(1)),
        "merge_call": lambda: merge_call(lambda strategy: None),
        "read": lambda: float(v.assign(1.0)),
    }[what]

    def step() -> Any:
        return None if replica_id() == 2 else waits()

    text = stage.fails(MismatchError, step)

    assert ": " + ("v.assign " if what == "read" else what) in text
    assert "  only replica 2: never arrived; its function returned after 0 collectives\n" in text


def test_an_exception_frees_the_replicas_that_wait(stage: MismatchCluster) -> None:
    v = stage.v

    def step() -> float:
        if replica_id() == 2:
            raise LookupError("no such row")
        return float(v.assign_add(1.0))

    assert "no such row" == stage.fails(LookupError, step)


# ---------------------------------------------------------------- the operations differ


def test_writes_of_two_variables_in_opposite_order_are_a_mismatch(stage: MismatchCluster) -> None:
    v, u = stage.v, stage.u

    def step() -> None:
        if replica_id() == 2:
            u.assign(1.0)
            v.assign(1.0)
        else:
            v.assign(1.0)  # as the others do
            u.assign(1.0)

    text = stage.fails(MismatchError, step)

    assert "at collective 1 of this call" in text
    assert f"v.assign (float32 scalar) at {location_of(step, 'as the others do')}" in text
    assert f"  only replica 2: u.assign (float32 scalar) at {location_of(step, 'u.assign')}" in text
    assert "makes the replicas wait" in text


def test_different_operations_on_a_variable_are_a_mismatch(stage: MismatchCluster) -> None:
    v = stage.v

    def step() -> None:
        v.assign(1.0) if replica_id() else v.assign_add(1.0)

    text = stage.fails(MismatchError, step)

    assert "  only replica 0: v.assign_add (float32 scalar)" in text
    assert "v.assign (float32 scalar)" in text


def test_written_values_of_different_shapes_are_refused(stage: MismatchCluster) -> None:
    wide = stage.wide

    def step() -> None:
        wide.assign(np.ones(3 if replica_id() == 1 else 2))

    text = stage.fails(ValueMismatchError, step)

    assert f"wide.assign (float64 3) at {location_of(step, 'assign')}" in text
    assert f"wide.assign (float64 2) at {location_of(step, 'assign')}" in text


def test_a_shape_that_does_not_fit_the_variable_is_refused(stage: MismatchCluster) -> None:
    v = stage.v

    def step() -> float:
        return float(v.assign(np.ones(2, "f") if replica_id() == 1 else np.float32(1)))

    assert "assign of a value of shape [2]" in stage.fails(ShapeError, step)


def test_a_dtype_that_does_not_fit_the_variable_is_refused(stage: MismatchCluster) -> None:
    v = stage.v

    def step() -> float:
        return float(v.assign(np.ones((), "d" if replica_id() == 1 else "f")))

    assert "holds float32, and the value is an array of float64" in stage.fails(DtypeError, step)


@pytest.mark.parametrize(
    ("kind", "odd", "others"),
    [
        (ValueMismatchError, ("SUM", np.zeros(2)), ("SUM", np.zeros(3))),
        (ValueMismatchError, ("SUM", np.zeros(2, "f")), ("SUM", np.zeros(2))),
        (ValueMismatchError, ("SUM", [np.zeros(2)]), ("SUM", np.zeros(2))),
        (MismatchError, ("MEAN", np.zeros(2)), ("SUM", np.zeros(2))),
    ],
    ids=["shape", "dtype", "structure", "operation"],
)
def test_all_reduce_with_different_operations_or_values_is_refused(
    stage: MismatchCluster, kind: type[Exception], odd: tuple[str, Any], others: tuple[str, Any]
) -> None:
    def step() -> object:
        return all_reduce(*(odd if replica_id() == 0 else others))

    text = stage.fails(kind, step)

    assert f"  only replica 0: all_reduce({odd[0]}, " in text
    assert f"all_reduce({others[0]}, " in text
    assert "Every replica must take part in this collective" in text


def test_all_gather_with_different_widths_or_axes_is_refused(stage: MismatchCluster) -> None:
    def widths() -> object:
        return all_gather(np.zeros((2, 2 + replica_id())))

    def axes() -> object:
        return all_gather(np.zeros((2, 2)), axis=0 if replica_id() else 1)

    stage.fails(ValueMismatchError, widths)
    stage.fails(MismatchError, axes)


def test_different_kinds_of_collectives_are_a_mismatch(stage: MismatchCluster) -> None:
    v = stage.v

    def step() -> None:
        if replica_id() == 0:
            v.assign_add(1.0)
            float(v)
        elif replica_id() == 1:
            all_reduce("SUM", 1.0)
        else:
            merge_call(lambda strategy: None)

    text = stage.fails(MismatchError, step)

    assert "  replica 1: all_reduce(SUM, float32[])" in text or "  replica 2: merge_call" in text


def test_replicas_that_create_different_variables_get_an_error(stage: MismatchCluster) -> None:
    def step() -> float:
        return float(tf.Variable(1.0, name=f"made by {replica_id()}"))

    for _ in range(20):
        text = stage.fails(RuntimeError, step)

    assert "creates variable 'made by 1'" in text
    assert "but replica 0 created 'made by 0'" in text


def test_a_replica_that_catches_the_error_cannot_continue(stage: MismatchCluster) -> None:
    """The call has ended for every replica, even for one that catches all exceptions."""
    v = stage.v

    def step() -> None:
        if replica_id() == 0:
            return
        for _ in range(3):
            try:
                float(v.assign_add(1.0))
            except Exception:  # careless code does this
                continue

    stage.fails(MismatchError, step)


def test_the_record_is_complete_after_a_mismatch_and_a_close(
    tmp_path: Path,
) -> None:
    """Waiting replicas leave the call and close their traces before they end."""
    with cluster(3, trace=TraceOptions(tmp_path)) as started, pytest.raises(MismatchError):
        started.run(lambda: all_reduce("SUM", np.zeros(replica_id())))

    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        assert [] == history.run["missing"]
