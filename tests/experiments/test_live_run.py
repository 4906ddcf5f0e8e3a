"""What the live view of a run shows, in a simulated cluster, and that it changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.experiments.test_runner import Seen
from varsim.experiments import live_run
from varsim.experiments.live_run import Waits, distance_text, follow
from varsim.experiments.loading import load_experiment
from varsim.experiments.runner import run_experiment
from varsim.report.live_frame import LiveFrame
from varsim.report.summary import Summary
from varsim.testing import simulated_cluster

Write = Callable[[str, str], Any]

PROGRAM = """
import numpy as np
import varsim as tf

def run(job):
    with job.strategy.scope():
        w = tf.Variable([0.0], name="w", aggregation=tf.VariableAggregation.MEAN)
        m = tf.Variable(
            0.0,
            name="m",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def step():
        m.assign_add(float(tf.distribute.get_replica_context().replica_id_in_sync_group))
        w.assign_add([1.0])
        return w.read_value().sum()

    for number in range(4):
        job.strategy.run(step)
        if number == 1:
            m.numpy()
        job.progress(number + 1, 4)
"""

SERVED = """
import varsim as tf
strategy = tf.distribute.ParameterServerStrategy(workers=2, servers=1)
coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
with strategy.scope():
    v = tf.Variable(0.0, name="v")
for _ in range(5):
    coordinator.schedule(lambda: v.assign_add(1.0))
coordinator.join()
"""


@pytest.fixture(autouse=True)
def _frame_at_every_wait(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(live_run, "FRAME_S", 0.0)
    monkeypatch.setattr(live_run, "time", SimpleNamespace(perf_counter=lambda: 0.0))
    with simulated_cluster():
        yield


class Following(Seen):
    """A watcher that keeps the frames of the run."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[LiveFrame] = []

    def follow(self, strategy: Any, number: int) -> Any:
        return follow(strategy, self.frames.append, f"strategy {number}: ")


def played(watcher: Seen, **keys: Any) -> Summary:
    from varsim.experiments.loading import Override

    overrides = [Override((key,), value, key) for key, value in keys.items()]
    return run_experiment(load_experiment(None, overrides), watcher)


def test_a_frame_says_who_waits_for_whom_and_for_which_variable(write: Write):
    write("program.py", PROGRAM)
    watcher = Following()
    played(watcher, workload="program.py", workers=3)
    said = {(one.number, one.kind, one.rest) for frame in watcher.frames for one in frame.replicas}

    assert (0, "waits", "for replicas 1, 2: read of w (program.py:18)") in said
    assert (1, "waits", "for replica 2: read of w (program.py:18)") in said
    assert (0, "returned", "(the call waits for replicas 1, 2)") in said
    assert watcher.frames[0].facts[0] == "strategy 1: call 1"
    assert watcher.frames[-1].facts[0] == "strategy 1: call 4"


def test_a_distance_is_that_of_the_components_that_the_program_read(write: Write):
    """The coordinator has no others. They stay shown, with a note, when replicas write again."""
    write("program.py", PROGRAM)
    watcher = Following()
    played(watcher, workload="program.py", workers=3)
    told = [
        ({one.name: one.apart for one in frame.variables}, frame.facts[0][-1], frame.note)
        for frame in watcher.frames
    ]

    assert ({"w": "0", "m": "0"}, "1", "") not in told
    assert ({"w": "0", "m": "unread"}, "2", "unread: only a read by the program would show it") in (
        told
    )
    assert ({"w": "0", "m": "4"}, "4", "apart: as the program last read the components") in told


def test_to_follow_a_run_changes_nothing(write: Write):
    write("program.py", PROGRAM)
    plain, followed = (
        played(watcher, workload="program.py", workers=3) for watcher in (Seen(), Following())
    )

    assert plain.variables == followed.variables
    assert plain.verdict == followed.verdict


def test_workers_of_parameter_servers_show_their_closures(write: Write):
    write("served.py", SERVED)
    watcher = Following()
    played(watcher, script="served.py")
    said = {(one.number, one.kind, one.rest) for frame in watcher.frames for one in frame.replicas}

    assert (0, "computes", "closure 1") in said
    assert {frame.noun for frame in watcher.frames} == {"worker"}
    assert watcher.frames[-1].facts[0].startswith("strategy 1: ")
    assert "report at the end" in watcher.frames[-1].note


def test_waits_are_weighted_by_their_time_and_fade():
    waits = Waits()
    assert waits.share(0) is None
    waits.add([(0, (1, 2))], 1.0)
    waits.add([(0, (2,)), (1, ())], 1.0)
    waits.add([], 2.0)

    assert (0.5, 0.25, 0.0) == tuple(waits.share(i) for i in range(3))
    assert (2, None, None) == tuple(waits.most_for(i) for i in range(3))
    waits.fade(3.0)
    waits.add([(1, (0,))], 2.0)
    assert (0.25, 0.625) == (waits.share(0), waits.share(1))
    assert waits.most_for(1) == 0


def test_a_slow_frame_delays_the_next_one(monkeypatch: pytest.MonkeyPatch):
    """Frames take at most 2 % of the time, whatever the terminal and the number of variables."""
    monkeypatch.setattr(live_run, "FRAME_S", 0.25)
    clock = iter([0.0, 0.001, 0.0, 0.1])
    monkeypatch.setattr(live_run, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    with tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"]) as strategy:
        followed = follow(strategy, lambda _: None)

        assert pytest.approx([0.25, 5.0]) == [followed.before(0.0), followed.before(1.0)]


@pytest.mark.parametrize(
    ("components", "text"),
    [
        ([[1.0, 2.0], [1.0, 4.5]], "2.5"),
        ([[1.0], [1.0, 2.0]], "shapes"),
        (np.arange(20_000.0).reshape(2, 10_000), "≥1e+04"),
    ],
)
def test_the_distance_of_large_components_is_a_lower_bound(components: Any, text: str):
    assert text == distance_text([np.asarray(one) for one in components])
