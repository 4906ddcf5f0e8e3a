"""Each cell of the tables in docs/mixing.md: the right value, or an error with a remedy."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import pytest

import varsim as tf
from docs.mixing import (
    DEADLOCK,
    NEEDS_PROGRAM,
    NO_CONTEXT,
    ONE_COMPONENT,
    OPERATIONS,
    PARTS,
    PLACES,
    REFUSED,
    REPLICAS,
    Part,
    side_by_side,
    tools_of,
)
from docs.mixing_strategies import MIXTURES, Mixture, variable
from docs.mixing_strategies import REFUSED as NOT_MIXED
from varsim.errors import ContextError, DeadlockError, DistributedValueError, OperationError
from varsim.testing import simulated_cluster

pytestmark = pytest.mark.filterwarnings("ignore:variable ")

SYNC = tf.VariableSynchronization


def strategy_of(*devices: str) -> Any:
    return tf.distribute.MirroredStrategy(
        list(devices) or [f"cpu:{i}" for i in range(REPLICAS)], auto="adaptive"
    )


# ---------------------------------------------------------------- side by side


@pytest.mark.thorough
@pytest.mark.parametrize("first", PARTS, ids=lambda part: part.title)
def test_a_part_of_a_step_does_the_same_beside_any_other_part(first: Part) -> None:
    for second in PARTS:
        with simulated_cluster():
            seen = side_by_side(strategy_of(), first, second)
            assert [first.expected, second.expected] == seen, second.title


@pytest.mark.parametrize("seed", range(6))
def test_all_parts_together_do_the_same_in_any_order(seed: int) -> None:
    """The seed selects the order of the parts, and the order of messages."""
    parts = random.Random(seed).sample(PARTS, len(PARTS))
    with simulated_cluster(seed):
        assert [part.expected for part in parts] == side_by_side(strategy_of(), *parts)


@pytest.mark.processes
@pytest.mark.thorough
def test_all_parts_together_do_the_same_on_real_workers() -> None:
    with strategy_of() as strategy:
        assert [part.expected for part in PARTS] == side_by_side(strategy, *PARTS)


# ---------------------------------------------------------------- one inside the other

ERRORS = {
    NO_CONTEXT: (AttributeError, "'NoneType' object has no attribute"),
    NEEDS_PROGRAM: (ContextError, "merge_call"),
    DEADLOCK: (DeadlockError, r"which has held it since docs/mixing.py"),
    ONE_COMPONENT: (OperationError, "Call it outside the function"),
}
OUTSIDE = "outside"
ON_REPLICAS = ("strategy.run", "a lock", "run in merge_call")


def expected_of(place: str, operation: str) -> Any:
    """Return the result of an operation on each replica, or in the program."""
    match operation:
        case "v.read_value()":
            return 0.0
        case "all_reduce" if place != OUTSIDE:
            return float(REPLICAS)
        case "strategy.reduce":
            return float(REPLICAS)
        case "barrier" | "v.push(x)":
            return None
        case "join":
            return REPLICAS - 1.0 if place != OUTSIDE else 0.0
        case "v.sync(op)":
            return 0.0
    return 1.0


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_works_inside_other_code_or_is_refused(place: str, operation: str) -> None:
    with simulated_cluster():
        tools = tools_of(strategy_of())
        reason = REFUSED.get((place, operation))
        if reason is not None:
            kind, said = ERRORS[reason]
            with pytest.raises(kind, match=said):
                PLACES[place](tools, OPERATIONS[operation])
            return
        result = PLACES[place](tools, OPERATIONS[operation])

        expected = expected_of(place, operation)
        for one in tools.strategy.experimental_local_results(result):
            for value in tools.strategy.experimental_local_results(one):
                assert expected == (None if value is None else float(value))
        written = operation in ("v.assign(x)", "extended.update")
        assert float(written) == float(tools.written.read_value())
        times = REPLICAS if place in ON_REPLICAS else 1
        pushed = times * (operation == "v.push(x)")
        assert (pushed, float(pushed)) == (
            tools.private.pull().version,
            float(tools.private.pull().value),
        )


# ---------------------------------------------------------------- two strategies


@pytest.fixture
def two() -> Any:
    """Provide two strategies of two replicas."""
    with simulated_cluster():
        yield strategy_of("cpu:0", "cpu:1"), strategy_of("gpu:0", "gpu:1")


@pytest.mark.parametrize("mixture", MIXTURES, ids=lambda one: one.title)
def test_two_strategies_are_mixed_or_refused(mixture: Mixture, two: Any) -> None:
    """The error names both strategies, or both numbers of replicas."""
    if mixture.expected != NOT_MIXED:
        assert mixture.expected == mixture.program(*two)
        return
    with pytest.raises((ContextError, DistributedValueError)) as caught:
        mixture.program(*two)
    said = str(caught.value)
    if mixture.said:
        assert all(one in said for one in mixture.said), said
        return
    names = [repr(strategy) for strategy in two]
    devices = [", ".join(strategy.devices) for strategy in two]
    counts = ["3 values", "2 replicas"]
    assert any(all(one in said for one in both) for both in (names, devices, counts)), said


@pytest.mark.parametrize(
    "synchronization",
    [SYNC.ON_WRITE, SYNC.ON_READ, SYNC.NONE, SYNC.AUTO, tf.LocalSGD(2)],
    ids=str,
)
def test_the_error_names_the_variable_its_line_both_strategies_and_a_remedy(
    synchronization: Any, two: Any
) -> None:
    a, b = two
    x = variable(a, synchronization=synchronization)

    for use in (x.read_value, lambda: x.assign_add(1.0)):
        with pytest.raises(ContextError) as caught:
            b.run(use)
        said = str(caught.value)
        assert said.startswith("variable 'x' (docs/mixing_strategies.py:")
        assert f"of {a} is used in a call (replica 0) of {b}: two strategies cannot be" in said
        assert "Read it before, and give its value as an argument" in said
    assert 2.0 == float(x.values[0].numpy())


def test_a_coordinator_and_its_results_are_not_sent_to_replicas() -> None:
    """The replicas of a simulated cluster share the memory of the program."""
    with simulated_cluster(), tf.distribute.ParameterServerStrategy(workers=1) as strategy:
        coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
        result = coordinator.schedule(lambda: 1)
        with pytest.raises(ContextError, match="stays in the program's process: call its methods"):
            pickle.dumps(coordinator)
        with pytest.raises(ContextError, match=r"give its value, value.fetch\(\)"):
            pickle.dumps(result)


def test_strategies_of_the_same_devices_are_told_apart_in_the_error() -> None:
    with simulated_cluster():
        a, b = strategy_of("cpu:0", "cpu:1"), strategy_of("cpu:0", "cpu:1")
        with b.scope(), pytest.raises(ContextError, match="in the scope of another MirroredStr"):
            a.run(lambda: None)


def test_after_a_refused_mixture_both_strategies_still_work(two: Any) -> None:
    a, b = two
    x = variable(a)
    with pytest.raises(ContextError):
        b.run(lambda: x.assign_add(1.0))
    a.run(lambda: x.assign_add(1.0))
    y = variable(b)
    b.run(lambda: y.assign_add(1.0))

    assert (4.0, 4.0) == (float(x.read_value()), float(y.read_value()))


@pytest.mark.parametrize("method", ["reduce", "gather"])
def test_values_of_a_strategy_with_more_replicas_are_not_combined(method: str, two: Any) -> None:
    with strategy_of() as more:
        values = more.run(lambda: np.ones(1))
    combine = {
        "reduce": lambda: two[0].reduce("SUM", {"a": [values]}, axis=None),
        "gather": lambda: two[0].gather(values, 0),
    }[method]

    with pytest.raises(DistributedValueError, match="3 values cannot be used with 2 replicas"):
        combine()
