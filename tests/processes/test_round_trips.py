"""Steps need few envelopes, and values are sent unchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import Strategy, cluster, soon
from tests.processes.replicas import all_gather, all_reduce
from tests.replica_context import replica_id

pytestmark = pytest.mark.processes

SUM = tf.VariableAggregation.SUM


def envelopes(strategy: Strategy, action: Callable[[], Any]) -> Counter[str]:
    """Return how many envelopes an action sends to, and receives from, all replicas."""
    link: Any = strategy.coordinator.link.channel
    count: Counter[str] = Counter()
    send, drain = link._listener.send, link._listener.drain

    def counted_send(*arguments: Any) -> Any:
        count["sent"] += 1
        return send(*arguments)

    def counted_drain() -> Any:
        arrived = drain()
        count["received"] += len(arrived)
        return arrived

    link._listener.send, link._listener.drain = counted_send, counted_drain
    try:
        action()
    finally:
        del link._listener.send, link._listener.drain
    return count


def assert_one_round_trip(count: Counter[str]) -> None:
    """Check that each replica sends one envelope, and gets one. Commits may need a second one."""
    assert 3 == count["received"]
    assert count["sent"] in (3, 6)


@pytest.fixture(scope="module")
def variables(strategy: Strategy) -> list[Any]:
    with strategy.scope():
        return [tf.Variable(float(i), name=f"v{i}", aggregation=SUM) for i in range(1000)]


def test_a_step_that_writes_a_thousand_variables_is_one_round_trip(
    strategy: Strategy, variables: list[Any]
) -> None:
    def step() -> None:
        for variable in variables:
            variable.assign_add(1.0)

    strategy.run(step)  # this sends the function
    with soon():
        count = envelopes(strategy, lambda: strategy.run(step))

    assert_one_round_trip(count)
    assert [i + 6.0 for i in range(1000)] == [float(variable) for variable in variables]


def test_a_read_of_a_mirror_needs_no_message(strategy: Strategy, variables: list[Any]) -> None:
    strategy.run(lambda: True)  # this sends the commits of the step before
    assert {} == envelopes(strategy, lambda: [float(variable) for variable in variables])


def test_a_read_fetches_each_needed_component_once(
    strategy: Strategy,
) -> None:
    on_read = {"synchronization": tf.VariableSynchronization.ON_READ}
    with strategy.scope():
        total = tf.Variable(0.0, aggregation=SUM, **on_read)
        first = tf.Variable(0.0, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA, **on_read)

    def step() -> None:
        for _ in range(10):
            total.assign_add(1.0)
            first.assign_add(1.0)

    strategy.run(step)
    assert {"sent": 3, "received": 3} == envelopes(strategy, lambda: strategy.run(step))
    assert {"sent": 3, "received": 3} == envelopes(strategy, lambda: float(total))
    assert {"sent": 1, "received": 1} == envelopes(strategy, lambda: float(first))
    assert (60.0, 20.0) == (float(total), float(first))


def test_a_read_after_a_write_costs_one_more_round_trip(
    strategy: Strategy, variables: list[Any]
) -> None:
    v, u = variables[:2]

    def step() -> None:
        v.assign_add(1.0)
        u.assign_add(1.0)
        float(v)
        float(u)

    strategy.run(step)
    assert {"sent": 6, "received": 6} == envelopes(strategy, lambda: strategy.run(step))


def test_many_writes_of_one_variable_are_one_round_trip(
    strategy: Strategy, variables: list[Any]
) -> None:
    v = variables[0]
    v.assign(0.0)

    def step() -> None:
        for _ in range(2000):
            v.assign_add(1.0)

    strategy.run(step)
    assert_one_round_trip(envelopes(strategy, lambda: strategy.run(step)))
    assert 12_000.0 == float(v)


def test_sparse_writes_of_small_tables_are_sent_with_the_dense_writes(
    strategy: Strategy, variables: list[Any]
) -> None:
    """Writes take effect in the order of the program, and need one round trip."""
    with strategy.scope():
        tables = [tf.Variable(np.zeros((4, 2), "f"), aggregation=SUM) for _ in range(20)]

    def step() -> None:
        own = tf.IndexedSlices(np.ones((1, 2), "f"), [replica_id()])
        for table, dense in zip(tables, variables, strict=False):
            table.scatter_add(own)
            dense.assign_add(1.0)
            table.assign_add(np.ones((4, 2), "f"))
            table.scatter_mul(tf.IndexedSlices(np.full((1, 2), 2, "f"), [3]))

    before = float(variables[1])
    strategy.run(step)
    with soon():
        count = envelopes(strategy, lambda: strategy.run(step))

    assert_one_round_trip(count)
    assert before + 6.0 == float(variables[1])
    # A step adds 3 to all rows, and 1 to each of the rows 0 to 2. All replicas double row 3.
    assert [[8.0] * 2] * 3 + [[216.0] * 2] == tables[19].numpy().tolist()


# ---------------------------------------------------------------- the same bits


def train(strategy: Strategy) -> tuple[bytes, ...]:
    """Do steps whose results differ in their last bits if the order of additions changes."""
    scale = np.float32(0.1)
    with strategy.scope():
        weights = tf.Variable(np.zeros((64, 3), "f"), aggregation=tf.VariableAggregation.MEAN)
        total = tf.Variable(
            np.float16(0), synchronization=tf.VariableSynchronization.ON_READ, aggregation=SUM
        )

    def step(number: int) -> Any:
        random = np.random.default_rng([number, replica_id()])
        weights.assign_sub(scale * random.standard_normal((64, 3), "f"))
        total.assign_add(random.standard_normal(1).astype(np.float16)[0])
        return all_reduce("MEAN", weights.read_value() @ random.standard_normal((3, 9), "f"))

    results = [strategy.run(step, args=(number,)).values[1].tobytes() for number in range(5)]
    return (weights.numpy().tobytes(), total.numpy().tobytes(), *results)


@pytest.mark.thorough
def test_results_are_bit_for_bit_equal_in_every_run_and_transport(strategy: Strategy) -> None:
    expected = train(strategy)
    assert expected == train(strategy)
    with cluster(3, transport="tcp") as encrypted:
        assert expected == train(encrypted)
    with cluster(3) as another:
        assert expected == train(another)


VALUES = [
    np.array(True),
    np.array([True, False]),
    np.array(1.5, np.float16),
    np.array([6e4, -0.0, np.nan, np.inf, 6e-8], np.float16),
    np.array(1 + 2j, np.complex64),
    np.array([[1 + 2j], [np.nan * 1j]], np.complex128),
    np.zeros((0,), np.float32),
    np.zeros((2, 0, 3), np.int8),
    np.array(2**63, np.uint64),
    np.array([-(2**63), 2**63 - 1], np.int64),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(12.0)[::-2],
    np.arange(4, dtype=">f8").astype("f8"),
    np.zeros((1,) * 32),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: f"{v.dtype}{list(v.shape)[:4]}")
def test_values_of_every_kind_are_sent_unchanged(strategy: Strategy, value: Any) -> None:
    first = tf.VariableAggregation.ONLY_FIRST_REPLICA
    with strategy.scope():
        merged = tf.Variable(np.zeros_like(value), aggregation=first)
        local = tf.Variable(
            np.zeros_like(value),
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=first,
        )

    def step(given: Any) -> tuple[Any, Any, Any]:
        merged.assign(given)
        local.assign(given)
        gathered = given if given.ndim == 0 or given.dtype == bool else all_gather(given)
        return merged.read_value(), local.read_value(), gathered

    seen, own, _ = strategy.run(step, args=(value,))

    def bits(array: Any) -> tuple[Any, ...]:
        return array.dtype, array.shape, array.tobytes()

    for array in (merged.numpy(), local.numpy(), *seen.values, *own.values):
        assert bits(value) == bits(array)


def test_as_in_tensorflow_an_overflow_causes_no_warning(strategy: Strategy) -> None:
    """The states compute the values, with NumPy's warnings switched off."""
    with strategy.scope():
        v = tf.Variable(np.float16(6e4), aggregation=SUM)
        mean = tf.Variable(np.float32(0), aggregation=tf.VariableAggregation.MEAN)

    def step() -> float:
        mean.assign(np.float32(3e38))
        return float(v.assign_add(np.float16(6e4)))

    assert np.inf == strategy.run(step)
    assert (np.inf, np.inf) == (float(v), float(mean))


def test_an_unknown_dimension_gets_the_size_of_the_last_assign(strategy: Strategy) -> None:
    with strategy.scope():
        rows = tf.Variable(np.zeros(2), shape=[None], aggregation=SUM)

    def step() -> str:
        rows.assign(np.ones(3))
        rows.assign_add(np.ones(3))
        return str(rows.read_value())

    assert "[6. 6. 6.]" == strategy.run(step)


@pytest.mark.parametrize("kind", ["string", "object", "datetime"])
def test_a_refused_all_reduce_leaves_no_replica_waiting(
    strategy: Strategy, variables: list[Any], kind: str
) -> None:
    v = variables[0]
    value = {
        "string": np.array(["a"]),
        "object": np.array([None]),
        "datetime": np.array(["2020-01-01"], "datetime64[D]"),
    }[kind]

    def step() -> float:
        v.assign(1.0)
        try:
            all_reduce("SUM", value)
        except (tf.VarsimError, TypeError):
            return float(v)
        return -1.0

    with soon():
        assert 3.0 == strategy.run(step)


def test_a_read_value_never_changes(strategy: Strategy) -> None:
    with strategy.scope():
        v = tf.Variable(np.zeros(3, "f"), aggregation=SUM)
        local = tf.Variable(
            np.zeros(3, "f"), synchronization=tf.VariableSynchronization.ON_READ, aggregation=SUM
        )

    def step() -> list[str]:
        mine = np.ones(3, "f")
        local.assign(mine)
        mine[:] = 9  # the variable has its own array
        first = local.read_value()
        local.assign_add(np.ones(3, "f"))
        seen = v.assign(np.ones(3, "f")).read_value()
        v.assign_add(np.ones(3, "f"))
        v.read_value()
        return [str(first), str(seen)]

    kept = v.read_value()
    assert ["[1. 1. 1.]", "[3. 3. 3.]"] == strategy.run(step)
    assert "[0. 0. 0.]" == str(kept)
    assert not kept.flags.writeable
