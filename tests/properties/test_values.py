"""All replicas read the values of the model, bit for bit, in every random program."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import varsim as tf
from tests.effort import many
from tests.properties.comparing import same
from tests.properties.generation import programs
from tests.properties.programs import (
    Creation,
    Locals,
    MergeWrite,
    RandomProgram,
    RunStep,
    model_program,
    run_program,
)
from varsim.spec import Operation, VariableAggregation, VariableSynchronization
from varsim.testing import simulated_cluster

thorough = settings(max_examples=many(100), deadline=None, suppress_health_check=list(HealthCheck))
few = settings(thorough, max_examples=many(25))


@pytest.fixture(autouse=True)
def no_advice() -> Iterator[None]:
    """Ignore varsim's warnings, which are about intended operations of these programs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        yield


def check(program: RandomProgram, strategy: tf.distribute.Strategy) -> None:
    got = run_program(program, strategy)
    expected = model_program(program)
    for index, (should, did) in enumerate(zip(expected, got, strict=True)):
        at = index - len(program.creations)
        doing = program.creations[index] if at < 0 else program.steps[at]
        assert same(should, did), f"{doing}\n  expected {should!r}\n  got      {did!r}"


two_zeros = RandomProgram(
    num_replicas=2,
    creations=(
        Creation(VariableSynchronization.AUTO, VariableAggregation.NONE, np.zeros((), np.float16)),
    ),
    steps=(RunStep((MergeWrite(0, Operation.ASSIGN, (0.0, -0.0)),)), Locals(0)),
)


@thorough
@example(two_zeros)
@given(programs(st.integers(1, 4)))
@pytest.mark.thorough
def test_programs_read_the_values_of_the_model(program: RandomProgram) -> None:
    with simulated_cluster():
        check(program, strategy_of(program.num_replicas))


@thorough
@given(programs(st.integers(2, 4)), st.integers(0, 2**32))
def test_programs_equal_the_model_in_any_order_of_messages(
    program: RandomProgram, seed: int
) -> None:
    """Messages are delayed at random, and replicas run ahead of each other."""
    with simulated_cluster(seed):
        check(program, strategy_of(program.num_replicas))


Clusters = dict[tuple[int, str], tf.distribute.MirroredStrategy]


@pytest.fixture(scope="module")
def clusters() -> Iterator[Clusters]:
    """Provide (number of replicas, exchange) -> cluster of real workers, for all examples."""
    with ExitStack() as stack:
        started = {
            (n, exchange): stack.enter_context(strategy_of(n, exchange))
            for n in (2, 3)
            for exchange in ("star", "shared")
        }
        for strategy in started.values():
            strategy.start()
        yield started


@pytest.mark.thorough
@pytest.mark.processes
@few
@given(program=programs(st.sampled_from([2, 3])), exchange=st.sampled_from(["star", "shared"]))
def test_programs_on_real_workers_read_the_values_of_the_model(
    clusters: Clusters, program: RandomProgram, exchange: str
) -> None:
    check(program, clusters[program.num_replicas, exchange])


@pytest.mark.thorough
@pytest.mark.processes
@few
@given(program=programs(st.sampled_from([2, 3]), with_large=True))
def test_large_values_on_real_workers_are_those_of_the_model(
    clusters: Clusters, program: RandomProgram
) -> None:
    """Values are the same bit for bit through sockets and through shared memory."""
    for exchange in ("star", "shared"):
        check(program, clusters[program.num_replicas, exchange])


def strategy_of(num_replicas: int, exchange: str = "auto") -> tf.distribute.MirroredStrategy:
    return tf.distribute.MirroredStrategy(
        [f"cpu:{i}" for i in range(num_replicas)], exchange=exchange
    )
