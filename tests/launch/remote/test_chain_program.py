"""A program whose large variables are reduced by hosts has the values of one without hosts."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import varsim as tf
from varsim.errors import WorkerLost
from varsim.launch.remote.remote_hosts import RemoteHosts
from varsim.spec import Operation
from varsim.sync.policies.cells import Broadcast, Exchange, Local
from varsim.sync.policies.exchanging import ExchangeEvery, WritesSinceExchange
from varsim.sync.policies.on_read import Gather
from varsim.sync.policies.policy import on_every_write, rows
from varsim.testing import simulated_cluster

pytestmark = pytest.mark.processes

SIZE = 70_000
"""The number of elements of a variable: 273 KiB of float32, which hosts reduce."""

SUM, MEAN, FIRST = (a for a in tf.VariableAggregation if a is not tf.VariableAggregation.NONE)
ON_WRITE, ON_READ = tf.VariableSynchronization.ON_WRITE, tf.VariableSynchronization.ON_READ


class Middle(ExchangeEvery):
    """A cell that reads the contributions."""

    def exchanged(self, spec: Any, components: Any, copy: Any) -> Exchange:
        del copy
        middle = np.sort(np.stack(components), axis=0)[1:-1]
        return Exchange([middle.mean(axis=0, dtype=spec.dtype)] * len(components))


@dataclass(frozen=True)
class MiddleMean(tf.CustomPolicy):
    """Every second write: all components become the mean of the middle ones."""

    keyword: ClassVar[str] = "middle_mean"
    summary: ClassVar[str] = "Every second write: all components become a mean."
    meaning_of_parameters: ClassVar[str] = ""
    aggregations: ClassVar[Any] = {tf.VariableAggregation.NONE: MEAN, MEAN: MEAN}

    @property
    def state(self) -> WritesSinceExchange:
        """Count the writes since the last exchange."""
        return WritesSinceExchange(2)

    @property
    def rows(self) -> Any:
        """Return the cells."""
        return rows(
            replica={Operation.READ: Local(), **on_every_write(Middle(2))},
            cross_replica={Operation.READ: Gather(), **on_every_write(Broadcast())},
        )


def variables_of(strategy: tf.distribute.Strategy) -> list[Any]:
    kinds: list[tuple[Any, Any, Any]] = [
        (ON_WRITE, SUM, np.float32),
        (ON_WRITE, MEAN, np.float32),  # merged together with the next one
        (ON_WRITE, MEAN, np.float32),
        (ON_WRITE, FIRST, np.float64),
        (ON_WRITE, SUM, np.int32),
        (ON_READ, MEAN, np.float32),
        (MiddleMean(), MEAN, np.float32),
        (tf.LocalSGD(2), MEAN, np.float32),
    ]
    with strategy.scope():
        return [
            tf.Variable(np.arange(SIZE).astype(dtype), synchronization=sync, aggregation=how)
            for sync, how, dtype in kinds
        ]


def trained(strategy: tf.distribute.Strategy) -> list[bytes]:
    """Return what all replicas read in some steps, and what the program reads between them."""
    variables = variables_of(strategy)

    def step(number: int, written: Any) -> list[np.ndarray[Any, Any]]:
        context = tf.distribute.get_replica_context()
        assert context is not None
        chance = np.random.default_rng((number, context.replica_id_in_sync_group))
        for one in variables:
            if written is None or one is variables[written]:
                change = (10 * chance.normal(size=SIZE)).astype(one.dtype)
                one.assign_add(change)
        variables[0].assign(np.float32(0.5) * variables[1].numpy())
        return [one.numpy() for one in variables]

    seen: list[np.ndarray[Any, Any]] = []
    for number, written in enumerate([None, None, 1, None]):
        results = strategy.run(step, args=(number, written))
        for own in strategy.experimental_local_results(results):
            seen += own
        if number == 1:
            variables[0].assign(variables[0].numpy() * np.float32(0.5))
        seen += [one.numpy() for one in variables]
    return [one.tobytes() for one in seen]


@pytest.fixture(autouse=True)
def _near_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the hosts seem to be far away, and reduce only larger variables."""
    monkeypatch.setattr(RemoteHosts, "round_trip_s", lambda _: 0.0)


def on_hosts(commands: Path) -> tf.distribute.MirroredStrategy:
    assert (commands / "ssh").exists()
    launcher = {"ssh": {"hosts": ["one", "two"], "listen": "127.0.0.1"}}
    return tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(4)], launcher=launcher)


def test_hosts_reduce_the_large_variables_of_a_program(commands: Path) -> None:
    with simulated_cluster():
        expected = trained(tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(4)]))
    with on_hosts(commands) as strategy:
        assert expected == trained(strategy)
        link = strategy.coordinator.link
        assert "chain" == link.exchange_name
        exchange: Any = link.exchange
        up, down = (exchange.direct[pair].size_bytes for pair in ((0, 1), (1, 0)))
        assert 3 * 8 * SIZE == up - down, "the values of replica 0 only go up"
        assert 18 * 4 * SIZE == down


@pytest.mark.thorough
def test_a_killed_host_ends_the_program_of_a_large_variable(commands: Path) -> None:
    with on_hosts(commands) as strategy:
        with strategy.scope():
            variable = tf.Variable(
                np.zeros(SIZE, np.float32), synchronization=ON_WRITE, aggregation=SUM
            )

        def step(kills: bool) -> None:
            context = tf.distribute.get_replica_context()
            assert context is not None
            if kills and context.replica_id_in_sync_group == 3:
                status = Path(f"/proc/{os.getppid()}/stat").read_text()
                os.kill(int(status.rpartition(")")[2].split()[1]), signal.SIGKILL)  # the agent
            variable.assign_add(np.ones(SIZE, np.float32))

        strategy.run(step, args=(False,))
        assert 4.0 == variable.numpy()[-1]
        with pytest.raises(WorkerLost, match="was on host two"):
            strategy.run(step, args=(True,))
