"""Random generators of the program that are copied to replicas cause one warning."""

from __future__ import annotations

import functools
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import Strategy, cluster, location_of
from varsim.distribute.faults import parse_fault
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
    """Return the beginnings of the warnings of `run`, up to the text that is always the same."""
    return [str(one.message).partition(": every replica")[0] for one in warned(run)]


class Trainer:
    def __init__(self) -> None:
        self.noise = np.random.RandomState(3)

    def step(self) -> float:
        return float(self.noise.random_sample())


def test_the_warning_names_the_captured_generator_its_function_and_fixes(
    strategy: Strategy,
) -> None:
    rng = np.random.default_rng(3)

    def draw() -> float:
        return float(rng.random())

    def runs() -> None:
        for _ in range(3):
            assert isinstance(strategy.run(draw), float)  # both replicas drew the same value

    (warning,) = warned(runs)

    here = test_the_warning_names_the_captured_generator_its_function_and_fixes
    assert location_of(here, "strategy.run(draw)") == f"{warning.filename}:{warning.lineno}"
    assert str(warning.message).splitlines()[0] == (
        "random generator 'rng' (numpy's Generator): every replica gets a copy of it with draw "
        f"({location_of(here, 'def draw')}), so all replicas that draw from it draw the same "
        "numbers"
    )
    assert "np.random.default_rng([seed, replica_id])" in str(warning.message)


def test_a_generator_is_found_wherever_a_function_uses_it(strategy: Strategy) -> None:
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


def test_a_call_with_a_fault_does_not_repeat_the_warning(strategy: Strategy) -> None:
    rng = np.random.default_rng(3)

    def draw() -> float:
        return float(rng.random())

    strategy.inject(
        [parse_fault(f"delay replica=1 ms=0 call={strategy.incarnations.calls + 1}")], 0
    )
    try:
        assert ["random generator 'rng' (numpy's Generator)"] == said(lambda: strategy.run(draw))
        assert [] == said(lambda: strategy.run(draw))
        assert strategy.faults is not None
        assert [] == strategy.faults.missed()
    finally:
        strategy.faults = None


def test_a_generator_in_the_arguments_causes_a_warning(strategy: Strategy) -> None:
    def draw(rng: Any, more: Any = None) -> float:
        return float(rng.random())

    (warning,) = warned(lambda: strategy.run(draw, (np.random.default_rng(3),)))
    assert "gets a copy of it with the arguments of draw (" in str(warning.message)
    mixed = (tf.distribute.PerReplica([random.Random(1), random.Random(2)]), random.Random(3))
    assert ["random generator (random's Random)"] == said(lambda: strategy.run(draw, mixed))


def test_a_generator_per_replica_causes_no_warning(strategy: Strategy) -> None:
    def draw(rng: Any) -> float:
        return float(rng.random())

    each = strategy.experimental_distribute_values_from_function(
        lambda context: np.random.default_rng([5, context.replica_id_in_sync_group])
    )
    results: list[Any] = []
    assert [] == said(lambda: results.append(strategy.run(draw, (each,))))
    first, second = strategy.experimental_local_results(results[0])
    assert first != second


def test_a_function_that_creates_its_generator_causes_no_warning(strategy: Strategy) -> None:
    def draw() -> float:
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        return float(np.random.default_rng([5, me]).random()) + random.random()

    assert [] == said(lambda: strategy.run(draw))


def test_a_function_can_use_the_job_on_replicas_except_for_progress(strategy: Strategy) -> None:
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
