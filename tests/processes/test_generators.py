"""Random generators of the program that travel to replicas: a copy for each is a warning, once."""

from __future__ import annotations

import functools
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import Strategy, cluster, place
from varsim.workloads.job import Job

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def strategy() -> Iterator[Strategy]:
    with cluster(2) as started:
        yield started


def warned(run: Callable[[], Any]) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [one for one in caught if issubclass(one.category, tf.VarsimWarning)]


def said(run: Callable[[], Any]) -> list[str]:
    """What the first lines of its warnings say, before the colon."""
    return [str(one.message).partition(": every replica")[0] for one in warned(run)]


class Trainer:
    def __init__(self) -> None:
        self.noise = np.random.RandomState(3)

    def step(self) -> float:
        return float(self.noise.random_sample())


def test_a_captured_generator_is_named_with_its_function_and_what_to_do(strategy: Strategy) -> None:
    rng = np.random.default_rng(3)

    def draw() -> float:
        return float(rng.random())

    def runs() -> None:
        for _ in range(3):
            assert isinstance(strategy.run(draw), float)  # one value: that of both

    (warning,) = warned(runs)

    here = test_a_captured_generator_is_named_with_its_function_and_what_to_do
    assert place(here, "strategy.run(draw)") == f"{warning.filename}:{warning.lineno}"
    assert str(warning.message).splitlines()[0] == (
        "random generator 'rng' (numpy's Generator): every replica gets a copy of it with draw "
        f"({place(here, 'def draw')}), so that all of them draw the same numbers from it"
    )
    assert "np.random.default_rng([seed, replica_id])" in str(warning.message)


def test_it_is_found_wherever_a_function_may_have_it_from(strategy: Strategy) -> None:
    rng = random.Random(3)
    held = {"deep": [rng]}
    legacy = np.random.RandomState(3).random_sample

    def by_default(mine: random.Random = rng) -> float:
        return mine.random()

    def deep() -> float:
        return held["deep"][0].random()

    def by_its_method() -> float:
        return float(legacy())

    functions: dict[str, Callable[[], Any]] = {
        "random generator 'mine' (random's Random)": by_default,
        "random generator (random's Random)": deep,
        "random generator 'self.noise' (numpy's RandomState)": Trainer().step,
        "random generator 'legacy' (numpy's RandomState)": by_its_method,
    }
    for expected, function in functions.items():
        partial = functools.partial(function)
        assert [expected] == said(lambda: strategy.run(function))  # noqa: B023  # called at once
        assert [] == said(lambda: strategy.run(function))  # noqa: B023
        assert [] == said(lambda: strategy.run(partial))  # noqa: B023  # the same function


def test_one_among_the_arguments_is_told_too(strategy: Strategy) -> None:
    def draw(rng: Any, more: Any = None) -> float:
        return float(rng.random())

    (warning,) = warned(lambda: strategy.run(draw, (np.random.default_rng(3),)))
    assert "gets a copy of it with the arguments of draw (" in str(warning.message)
    mixed = (tf.distribute.PerReplica([random.Random(1), random.Random(2)]), random.Random(3))
    assert ["random generator (random's Random)"] == said(lambda: strategy.run(draw, mixed))


def test_a_generator_for_each_replica_is_right(strategy: Strategy) -> None:
    def draw(rng: Any) -> float:
        return float(rng.random())

    each = strategy.experimental_distribute_values_from_function(
        lambda context: np.random.default_rng([5, context.replica_id_in_sync_group])
    )
    results: list[Any] = []
    assert [] == said(lambda: results.append(strategy.run(draw, (each,))))
    first, second = strategy.experimental_local_results(results[0])
    assert first != second


def test_what_makes_its_own_is_not_warned(strategy: Strategy) -> None:
    def draw() -> float:
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        return float(np.random.default_rng([5, me]).random()) + random.random()

    assert [] == said(lambda: strategy.run(draw))


def test_a_job_travels_with_a_function_that_uses_it(strategy: Strategy) -> None:
    def report(step: int, total: int, **metrics: float) -> None:
        raise AssertionError((step, total, metrics))

    job = Job(strategy, 7, None, report)

    def step() -> int:
        assert job.strategy.num_replicas_in_sync == 2
        return job.seed

    assert 7 == strategy.run(step)
    with pytest.raises(
        RuntimeError, match=r"job\.progress cannot be called on a replica: call it outside"
    ):
        strategy.run(lambda: job.progress(1, 2))
