"""The record says where a program first uses the number of replicas, and only the program."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
import varsim.horovod as hvd
import varsim.torch_distributed as dist
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

Strategy = tf.distribute.MirroredStrategy
USES: list[Callable[[Strategy], Any]] = []


def use(program: Callable[[Strategy], Any]) -> Callable[[Strategy], Any]:
    """Decorate a program with one use, in a line that ends with `# use: ` and its name."""
    USES.append(program)
    return program


@use
def of_the_strategy(strategy: Strategy) -> None:
    assert 2 == strategy.num_replicas_in_sync  # use: num_replicas_in_sync


@use
def of_the_ids(strategy: Strategy) -> None:
    assert [0, 1] == list(strategy.local_replica_ids)  # use: local_replica_ids


@use
def of_the_devices(strategy: Strategy) -> None:
    assert 2 == len(strategy.extended.worker_devices)  # use: extended.worker_devices


@use
def on_a_replica(strategy: Strategy) -> None:
    def step() -> None:
        context = tf.distribute.get_replica_context()
        assert 2 == context.num_replicas_in_sync  # use: num_replicas_in_sync

    strategy.run(step)


@use
def of_horovod(strategy: Strategy) -> None:
    def step() -> None:
        hvd.init()
        hvd.size()  # use: hvd.size()

    strategy.run(step)


@use
def of_torch(strategy: Strategy) -> None:
    def step() -> None:
        dist.init_process_group()
        dist.get_world_size()  # use: dist.get_world_size()

    strategy.run(step)


@use
def of_a_distributed_dataset(strategy: Strategy) -> None:
    strategy.experimental_distribute_dataset([np.ones(4)])  # use: experimental_distribute_dataset


@use
def of_a_function_that_makes_a_dataset(strategy: Strategy) -> None:
    def dataset(context: tf.distribute.InputContext) -> list[np.ndarray]:
        size = context.get_per_replica_batch_size(8)  # use: InputContext.get_per_replica_batch_size
        return [np.ones(size)]

    strategy.distribute_datasets_from_function(dataset)


@use
def of_a_function_that_makes_values(strategy: Strategy) -> None:
    strategy.experimental_distribute_values_from_function(
        lambda context: 1 / context.num_replicas_in_sync  # use: ValueContext.num_replicas_in_sync
    )


def uses(program: Callable[[Strategy], Any], folder: Path) -> list[str]:
    """Return the uses in the record of a program."""
    traced = TraceOptions(folder)
    with (
        simulated_cluster(),
        tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=traced) as it,
    ):
        program(it)
        it.start()
    merge(folder, folder)
    with open_history(folder) as history:
        assert bool(history.run["counted"]) == history.counts_replicas
        return list(history.run["counted"])


@pytest.mark.parametrize("program", USES, ids=lambda one: one.__name__)
def test_a_use_is_recorded_with_its_line(program: Callable[[Strategy], Any], tmp_path: Path):
    (said,) = uses(program, tmp_path)
    what, _, location = said.partition(" at ")
    line = linecache.getline(__file__, int(location.rpartition(":")[2]))

    assert line.rstrip().endswith(f"# use: {what}")


def test_varsims_own_uses_are_not_recorded(tmp_path: Path):
    """Calls, collectives, checkpoints and datasets need the number, but the program does not."""

    def program(strategy: Strategy) -> None:
        with strategy.scope():
            v = tf.Variable(1.0, aggregation=tf.VariableAggregation.MEAN)
        strategy.run(lambda: v.assign_add(1.0) and None)
        results = strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("SUM", 1.0))
        assert 2 == len(strategy.experimental_local_results(results))
        strategy.reduce("MEAN", results, axis=None)
        strategy.save(tmp_path / "checkpoint")
        strategy.distribute_datasets_from_function(lambda _: [np.ones(2)])
        strategy.experimental_distribute_values_from_function(lambda _: 1.0)
        assert "cpu:0" in repr(strategy)

    assert [] == uses(program, tmp_path)
