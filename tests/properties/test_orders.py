"""The results of replicas do not depend on the speed of replicas or messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.effort import many
from tests.replica_context import replica_id
from varsim.errors import MismatchError
from varsim.testing import simulated_cluster

SEEDS = range(many(100))
"""Each seed gives another order in which messages arrive and replicas run."""

Strategy = tf.distribute.MirroredStrategy


def in_all_orders(program: Callable[[Strategy], Any]) -> dict[str, list[int]]:
    """Return the outcomes of a program, with the seeds that lead to them."""
    seen: dict[str, list[int]] = {}
    for seed in SEEDS:
        with simulated_cluster(seed):
            seen.setdefault(str(program(Strategy(["a", "b", "c"]))), []).append(seed)
    return seen


def check(expected: Any, program: Callable[[Strategy], Any]) -> None:
    seen = in_all_orders(program)
    assert {str(expected): list(SEEDS)} == seen


def total(strategy: Strategy, **settings: Any) -> Any:
    with strategy.scope():
        return tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM, **settings)


def test_a_plain_variable_is_used_by_one_replica_after_the_other() -> None:
    def program(strategy: Strategy) -> float:
        plain = tf.Variable(1.0)

        def step() -> None:
            plain.assign(2 * plain.read_value() + replica_id())

        strategy.run(step)
        return float(plain)

    check(2 * (2 * 2.0 + 1) + 2, program)


def test_no_write_to_another_replicas_component_is_lost() -> None:
    def program(strategy: Strategy) -> float:
        v = total(strategy, synchronization=tf.VariableSynchronization.ON_READ)

        def step() -> None:
            if replica_id():
                v.values[0].assign_add(1.0)

        strategy.run(step)
        return float(v.values[0].numpy())

    check(2.0, program)


def test_a_complete_write_survives_a_later_exception() -> None:
    def program(strategy: Strategy) -> float:
        v = total(strategy)

        def step() -> None:
            v.assign(1.0)
            if replica_id() == 1:
                raise LookupError

        with pytest.raises(LookupError):
            strategy.run(step)
        return float(v)

    check(3.0, program)


def test_an_inner_call_reads_dense_and_sparse_writes() -> None:
    """Both commits can arrive in one envelope, before the replica blocks."""

    def program(strategy: Strategy) -> list[float]:
        dense = total(strategy)
        with strategy.scope():
            rows = tf.Variable([0.0, 0.0], aggregation=tf.VariableAggregation.SUM)

        def inner() -> float:
            dense.assign_add(1.0)
            rows.scatter_add(tf.IndexedSlices([1.0], [0]))
            return float(dense.read_value()) + float(rows.read_value()[0])

        def merge(strategy: Strategy) -> Any:
            return strategy.experimental_local_results(strategy.run(inner))

        def step() -> Any:
            return tf.distribute.get_replica_context().merge_call(merge)

        strategy.run(step)
        return [float(dense), float(rows.numpy()[0])]

    check([3.0, 3.0], program)


def test_host_requests_wait_for_writes_of_the_other_replicas() -> None:
    """Replica 0 can read another component only after the other replicas have written, too."""

    def program(strategy: Strategy) -> list[float]:
        plain, seen = tf.Variable(0.0), []
        v = total(strategy)

        def step() -> None:
            plain.assign_add(1.0)
            v.assign_add(1.0)
            seen.append(float(v.values[(replica_id() + 1) % 3].numpy()))

        strategy.run(step)
        return [float(plain), *seen]

    check([3.0] * 4, program)
    check([3.0] * 4, lambda strategy: program(adaptive(strategy)))


def adaptive(strategy: Strategy) -> Strategy:
    return Strategy([f"cpu:{i}" for i in range(strategy.num_replicas_in_sync)], auto="adaptive")


def test_components_share_no_memory() -> None:
    def program(strategy: Strategy) -> list[float]:
        v = total(strategy, synchronization=tf.VariableSynchronization.NONE)
        v.assign_add(1.0)
        strategy.run(lambda: v.assign_add(float(replica_id())) is None)
        return [float(np.asarray(part)) for part in v.values]

    with pytest.warns(tf.VarsimWarning):
        check([1.0, 2.0, 3.0], program)


def test_the_text_of_a_mismatch_does_not_depend_on_the_order() -> None:
    """The replica that differs is listed first, for every order in which replicas arrive."""

    def program(strategy: Strategy) -> list[str]:
        v = total(strategy, name="v")

        def step() -> None:
            if replica_id() != 1:
                v.assign(1.0)
            v.assign_add(1.0)

        with pytest.raises(MismatchError) as caught:
            strategy.run(step)
        return [str(group).partition(" (")[0] for group in caught.value.groups]

    check(["replica 1: v.assign_add", "replicas 0, 2: v.assign"], program)
