"""A seed seeds the global generators of the program and of each replica."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import varsim as tf
from tests.launch.programs import draw
from varsim.errors import DistributedValueError
from varsim.experiments.config import Experiment
from varsim.experiments.runner import run_experiment
from varsim.launch.seeding import AT_IMPORT, GeneratorState, seeded
from varsim.testing import simulated_cluster

HUGE = 2**100
STREAMS: tuple[tuple[int, ...], ...] = ((), AT_IMPORT, (0,), (1,), (2,))


def drawn(seed: int, *stream: int) -> tuple[float, float]:
    with seeded(seed, *stream).here():
        return draw()


def test_the_program_and_each_replica_have_their_own_numbers() -> None:
    all_drawn = [drawn(seed, *who) for seed in (0, 1, HUGE) for who in STREAMS]
    for one in zip(*all_drawn, strict=True):  # numbers of `random`, then of `numpy.random`
        assert len(all_drawn) == len(set(one))


def test_one_seed_gives_the_same_numbers_and_restores_the_state() -> None:
    before = GeneratorState()
    assert drawn(5, 1) == drawn(5, 1)
    expected = draw()
    before.restore()
    assert expected == draw()


def test_a_generator_state_that_is_used_again_continues_its_numbers() -> None:
    own = seeded(5)
    with own.here():
        first = draw()
    draw()
    with own.here():
        second = draw()
    with seeded(5).here():
        assert [first, second] == [draw(), draw()]


def draws_of(strategy: Any) -> list[Any]:
    return [strategy.experimental_local_results(strategy.run(draw)) for _ in range(2)]


@pytest.mark.processes
def test_worker_processes_draw_the_numbers_of_their_seed() -> None:
    """A simulated cluster draws the same numbers, because it also uses the state of `seeded`."""
    devices = ["cpu:0", "cpu:1"]
    with simulated_cluster():
        simulated = draws_of(tf.distribute.MirroredStrategy(devices, seed=5))
    with tf.distribute.MirroredStrategy(devices, seed=5) as strategy:
        first, second = draws_of(strategy)

    assert (drawn(5, 0), drawn(5, 1)) == first
    assert first != second
    assert [first, second] == simulated


@pytest.mark.parametrize("seed", [-1, 0.5, "1", True])
def test_a_seed_must_be_an_integer_from_0(seed: Any) -> None:
    with pytest.raises(DistributedValueError, match=f"seed={seed!r}: it must be None or an int"):
        tf.distribute.MirroredStrategy(["cpu:0"], seed=seed)


WORKLOAD = """
import random
import numpy as np

AT_IMPORT = random.random()


def run(job):
    drawn = [AT_IMPORT, random.random(), float(np.random.random())]
    noise = job.strategy.run(lambda: float(np.random.random()) + random.random())
    return {"drawn": drawn, "noise": list(job.strategy.experimental_local_results(noise))}
"""


def test_two_runs_with_one_seed_draw_equal_numbers(
    tmp_path: Path,
) -> None:
    path = tmp_path / "draws.py"
    path.write_text(WORKLOAD)

    def results(seed: int) -> Any:
        with simulated_cluster():
            asked = Experiment(workload=str(path), seed=seed, out=str(tmp_path / "runs"))
            return run_experiment(asked).result

    before = GeneratorState()
    expected = draw()
    before.restore()
    first = results(7)

    assert expected == draw()
    assert first == results(7)
    assert 5 == len({*first["drawn"], *first["noise"]})
    assert first != results(8)
