"""Programs from bug reports about other libraries can be written, and have the right values."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.analysis.examination import examine
from varsim.analysis.findings.divergence import DIVERGENCE
from varsim.distribute.discarded import dropped
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

F = np.float32
SYNC, AGG = tf.VariableSynchronization, tf.VariableAggregation


def context() -> Any:
    return tf.distribute.get_replica_context()


def variable(value: Any, name: str, aggregation: tf.VariableAggregation = AGG.MEAN) -> Any:
    return tf.Variable(value, name=name, synchronization=SYNC.ON_READ, aggregation=aggregation)


def components(variable: Any) -> list[Any]:
    return [one.numpy().tolist() for one in variable.values]


# ---------------------------------------------------------------- groups


def test_barriers_and_reductions_in_groups(simulated):
    """pytorch#130102 and #134314: groups {0, 3} and {1, 2} do not wait for each other."""
    strategy = tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(4)])
    groups = strategy.group([0, 3]), strategy.group([1, 2])

    def step() -> list[float]:
        group = groups[0] if replica_id() in groups[0] else groups[1]
        sums = []
        for _ in range(3 if group is groups[0] else 1):
            context().barrier(group=group)
            sums.append(float(context().all_reduce("SUM", F(replica_id()), group=group)))
        return [sum(sums), len(sums)]

    assert [9.0, 3.0, 3.0, 9.0] == [
        own[0] for own in strategy.experimental_local_results(strategy.run(step))
    ]


# ---------------------------------------------------------------- a copy that is discarded


def reduced(gradient: Any, *, uses_result: bool) -> Any:
    """Average a gradient; the collective works on a contiguous copy."""
    if gradient.flags["C_CONTIGUOUS"] or uses_result:
        return context().all_reduce("MEAN", gradient)
    context().all_reduce("MEAN", np.ascontiguousarray(gradient))
    return gradient


def train(*, uses_result: bool) -> Any:
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    with strategy.scope():
        w = variable(np.zeros((3, 2), F), "w", AGG.ONLY_FIRST_REPLICA)

    def step() -> None:
        gradient = (np.arange(6, dtype=F).reshape(2, 3) * F(replica_id() + 1)).T
        w.assign_sub(F(0.1) * reduced(gradient, uses_result=uses_result))

    for _ in range(4):
        strategy.run(step)
    return w


def test_the_discarded_result_of_a_reduction_is_reported(simulated):
    """Megatron-LM#5337: the unreduced original is used."""
    with pytest.warns(tf.VarsimWarning) as caught:
        w = train(uses_result=False)

    (warning,) = caught
    assert str(warning.message).startswith("the result of all_reduce at ")
    assert "is not used: a collective returns the combined value" in str(warning.message)
    assert Path(__file__).name == Path(warning.filename).name
    own = np.arange(6, dtype=F).reshape(2, 3).T
    for component, factor in zip(components(w), (1, 2), strict=True):
        np.testing.assert_allclose(component, -0.4 * factor * own, rtol=1e-6)


def test_the_program_that_uses_the_result_keeps_equal_copies(simulated):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        w = train(uses_result=True)

    first, second = components(w)
    assert first == second
    np.testing.assert_allclose(first, -0.6 * np.arange(6).reshape(2, 3).T, rtol=1e-6)


@pytest.mark.parametrize("method", ["all_reduce", "all_gather", "broadcast", "scan"])
def test_any_discarded_array_is_reported_once(strategy, method):
    def step() -> None:
        for _ in range(2):
            match method:
                case "all_reduce":
                    context().all_reduce("SUM", F([1, 2]))
                case "all_gather":
                    context().all_gather(F([1, 2]), axis=0)
                case "broadcast":
                    context().broadcast(F([1, 2]))
                case "scan":
                    context().scan("SUM", value=F([1, 2]))

    with pytest.warns(tf.VarsimWarning, match=f"the result of {method} at") as caught:
        strategy.run(step)
    assert 1 == len(caught)
    strategy.run(step)  # the warning is not repeated, and would be an error


def test_a_number_may_be_discarded_and_a_used_array_is_not_reported(strategy):
    def step() -> Any:
        context().all_reduce("SUM", 1.0)  # only to wait for the other replica
        pair = [context().all_reduce("SUM", F([1, 2]))]
        _ = context().all_gather(F([1, 2]), axis=0)
        return pair

    strategy.run(step)


# ---------------------------------------------------------------- an averager that forgets


ROWS = np.random.default_rng(0).normal(size=(64, 3)).astype(F)
GOALS = ROWS @ F([1.0, -2.0, 0.5]) + F(0.3)
EVERY, STEPS = 4, 16


def post_local_sgd(folder: Path, averaged: tuple[str, ...]) -> dict[str, list[Any]]:
    """Train on each replica's rows; average some variables at every fourth step.

    Returns:
        The components of all variables.
    """
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(folder))
    with strategy.scope():
        w, b = variable(np.zeros(3, F), "w"), variable(F(0), "b")
        m = variable(np.zeros(3, F), "momentum")
    everything = {"w": w, "b": b, "momentum": m}

    def step(number: int) -> None:
        x, y = ROWS[replica_id() :: 2], GOALS[replica_id() :: 2]
        error = x @ w.read_value() + b.read_value() - y
        m.assign(F(0.9) * m.read_value() + 2 * x.T @ error / F(len(x)))
        w.assign_sub(F(0.02) * m.read_value())
        b.assign_sub(F(0.04) * error.mean())
        if number % EVERY == EVERY - 1:
            for name in averaged:
                own = everything[name]
                own.assign(context().all_reduce("MEAN", own.read_value(), name=name))

    for number in range(STEPS):
        strategy.run(step, (number,))
    found = {name: components(one) for name, one in everything.items()}
    strategy.close()
    return found


def model(averaged: tuple[str, ...]) -> dict[str, list[Any]]:
    """Compute the same with NumPy alone, in double precision."""
    w, b, m = np.zeros((2, 3)), np.zeros(2), np.zeros((2, 3))
    for number in range(STEPS):
        for i in range(2):
            x, y = ROWS[i::2].astype(float), GOALS[i::2].astype(float)
            error = x @ w[i] + b[i] - y
            m[i] = 0.9 * m[i] + 2 * x.T @ error / len(x)
            w[i] -= 0.02 * m[i]
            b[i] -= 0.04 * error.mean()
        if number % EVERY == EVERY - 1:
            for name, own in (("w", w), ("b", b), ("momentum", m)):
                own[:] = own.mean(axis=0) if name in averaged else own
    return {"w": w.tolist(), "b": b.tolist(), "momentum": m.tolist()}


@pytest.mark.parametrize("averaged", [("w", "b", "momentum"), ("w", "b"), ("w",)])
def test_post_local_sgd_averages_exactly_what_it_names(averaged, tmp_path: Path):
    """pytorch#74157: the averager skips parameters, whose copies then part: a divergence."""
    with simulated_cluster():
        found = post_local_sgd(tmp_path, averaged)

    for name, expected in model(averaged).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5)
        first, second = found[name]
        assert (first == second) == (name in averaged)
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        findings = examine(history).findings
    parted = {one.variable for one in findings if one.kind is DIVERGENCE}
    assert found.keys() - set(averaged) == parted


def probe(found: list[bool]) -> int:
    """Record whether the calling line drops the result of this call."""
    found.append(dropped("probe", 2) is not None)
    return 1


def drops(found: list[bool]) -> None:
    probe(found)


def names_it(found: list[bool]) -> None:
    unused = probe(found)  # noqa: F841  # the case under test


def means_it(found: list[bool]) -> None:
    _ = probe(found)


def uses_it(found: list[bool]) -> list[int]:
    used = probe(found)
    return [used]


def replaces_it(found: list[bool]) -> list[int]:
    value = 2
    value = value + probe(found)
    return [value]


def keeps_it_for_an_inner_function(found: list[bool]) -> Any:
    kept = probe(found)
    return lambda: kept


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (drops, True),
        (names_it, True),
        (means_it, False),
        (uses_it, False),
        (replaces_it, False),
        (keeps_it_for_an_inner_function, False),
    ],
)
def test_a_local_name_that_is_never_used_drops_the_result(function, expected):
    found: list[bool] = []
    function(found)
    assert [expected] == found
