"""New states return the recorded actions for the events of a recorded run."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import cluster
from tests.replica_context import replica_id
from varsim.distribute.mirrored import MirroredStrategy
from varsim.sync.coordinator_events import ReductionDone
from varsim.testing import RecordedEvents, ReplayDiffers, read_logs, recorded_events, replay

pytestmark = [pytest.mark.processes, pytest.mark.thorough]

SUM = tf.VariableAggregation.SUM
LARGE = 2**20
"""Number of float32 elements of a variable whose merges are divided among the workers."""

BUILT_IN_PLACE = 2**17
"""Number of float32 elements of a smaller variable, which is also in shared memory."""


def program(strategy: MirroredStrategy) -> float:
    """Use every synchronization, large values and a component; one call fails."""
    kinds = tf.VariableSynchronization
    with strategy.scope():
        mean = tf.Variable(
            1.0, synchronization=kinds.ON_WRITE, aggregation=tf.VariableAggregation.MEAN
        )
        total = tf.Variable(0.0, synchronization=kinds.ON_READ, aggregation=SUM)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            local = tf.Variable(0, synchronization=kinds.NONE)
        late = tf.Variable(0.0, aggregation=SUM)
        large = tf.Variable(np.zeros(BUILT_IN_PLACE, np.float32), aggregation=SUM)
        shared = tf.Variable(
            np.zeros(LARGE, np.float32), synchronization=kinds.ON_WRITE, aggregation=SUM
        )
        table = tf.Variable(
            np.zeros((5_000, 4), np.float32), synchronization=kinds.ON_WRITE, aggregation=SUM
        )

    def step(number: int) -> float:
        mine = float(replica_id() + number)
        mean.assign_add(mine)
        total.assign_add(mine)
        local.assign_add(1)
        late.assign_add(mine)
        buffer = large.update_buffer()
        buffer[...] = mine
        large.assign_add(buffer)
        shared.assign_add(np.full(LARGE, mine, np.float32))
        rows = [number, replica_id(), 7][: 2 + replica_id()]
        table.scatter_add(tf.IndexedSlices(np.full((len(rows), 4), mine, np.float32), rows))
        assert table[[7]][0, 0] > 0
        context = tf.distribute.get_replica_context()
        with context.lock("a"), context.read_lock("b"):
            local.assign_add(1)
        context.barrier()
        if replica_id():
            context.send({"x": np.full(3, mine)}, to=0)
        else:
            assert mine + 1 == context.recv(1)["x"][0]
        return float(mean) + float(late) if number else float(shared[0])

    def fails() -> None:
        mean.assign_add(1.0)
        if replica_id():
            raise ValueError("on purpose")

    for number in range(3):
        strategy.run(step, args=(number,))
    with pytest.raises(ValueError, match="on purpose"):
        strategy.run(fails)
    mean.assign(2.0)
    total.assign(7.0)
    with suppress(ValueError):
        total.assign_add(1.0)
    local.values[1].assign(5)
    table.scatter_sub(tf.IndexedSlices(np.ones((2, 4), np.float32), [7, 7]))
    table.values[1].scatter_mul(tf.IndexedSlices(np.full((1, 4), 2, np.float32), [0]))
    strategy.run(step, args=(3,))
    seen = float(mean) + float(total) + float(late) + sum(map(int, local.values))
    return seen + float(large[1]) + float(shared[0]) + float(np.sum(table.values[1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the folder of the files of one run."""
    return tmp_path_factory.mktemp("events")


@pytest.fixture(scope="module")
def logs(folder: Path) -> list[RecordedEvents]:
    """Provide the records of the run's three processes."""
    with recorded_events(folder), cluster(2, auto="adaptive") as strategy:
        recorded = program(strategy)
    with cluster(2, auto="adaptive") as strategy:
        assert recorded == program(strategy), "recording changes nothing"
    return read_logs(folder)


def of_coordinator(logs: list[RecordedEvents]) -> RecordedEvents:
    (log,) = [log for log in logs if log.state == "CoordinatorState"]
    return log


def test_every_process_saves_its_log(logs: list[RecordedEvents]) -> None:
    assert ["CoordinatorState", "ReplicaState", "ReplicaState"] == [log.state for log in logs]
    assert {0, 1} == {log.parameters["replica_id"] for log in logs[1:]}
    assert all(len(log.entries) > 20 for log in logs)


@pytest.mark.parametrize("which", range(3), ids=["coordinator", "a replica", "the other replica"])
def test_a_new_state_returns_the_recorded_actions(logs: list[RecordedEvents], which: int) -> None:
    replay(logs[which])


def test_the_log_has_events_of_every_kind(logs: list[RecordedEvents]) -> None:
    log = of_coordinator(logs)
    events = {type(entry.event).__name__ for entry in log.entries}
    actions = {type(action).__name__ for entry in log.entries for action in entry.actions}
    assert {"MessageArrives", "ReductionDone", "ProgramCall", "ProgramRead"} <= events
    assert {"ProgramCreate", "ProgramFetch", "ProgramWrite", "ProgramWriteComponent"} <= events
    assert "ProgramScatter" in events
    assert {"Send", "Reduce", "Exchanged", "ProgramRefused", "Finish"} <= actions


def test_the_first_event_with_different_actions_is_named(logs: list[RecordedEvents]) -> None:
    log = of_coordinator(logs)
    entries = list(log.entries)
    indices = [i for i, entry in enumerate(entries) if isinstance(entry.event, ReductionDone)]
    entry = entries[indices[1]]
    event = ReductionDone(entry.event.token, entry.event.value + 1)
    entries[indices[1]] = replace(entry, event=event)

    with pytest.raises(ReplayDiffers, match=f"answers event {indices[1]} of .*value"):
        replay(replace(log, entries=tuple(entries)))


def test_a_killed_process_has_recorded_its_earlier_events(
    logs: list[RecordedEvents], folder: Path, tmp_path: Path
) -> None:
    first = next(iter(sorted(folder.iterdir())))
    (tmp_path / first.name).write_bytes(first.read_bytes()[:-10])
    (cut,) = read_logs(tmp_path)

    assert len(logs[0].entries) - 1 == len(cut.entries)
    replay(cut)
