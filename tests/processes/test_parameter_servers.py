"""ParameterServerStrategy on real workers and servers."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import warnings
from typing import Any

import numpy as np
import pytest

import varsim as tf
from varsim.errors import ContextError, ServerLost
from varsim.sync import scheduler_state
from varsim.testing import read_logs, recorded_events, replay
from varsim.tracing.served_record import server_records
from varsim.tracing.trace import TraceOptions

Strategy = tf.distribute.ParameterServerStrategy
Coordinator = tf.distribute.coordinator.ClusterCoordinator
worker_index = tf.distribute.coordinator.experimental_get_current_worker_index


def variable(strategy, initial_value, **kwargs):
    with strategy.scope():
        return tf.Variable(initial_value, **kwargs)


def run_all(coordinator, function, arguments):
    for one in arguments:
        coordinator.schedule(function, (one,))
    coordinator.join()


def test_workers_read_and_write_the_variables_of_two_servers():
    """Closures get large values, shards, per-worker iterators and plain variables."""
    partitioner = tf.distribute.experimental.partitioners.MaxSizePartitioner(2**20)
    with Strategy(None, partitioner, workers=2, servers=2) as strategy:
        coordinator, plain = Coordinator(strategy), tf.Variable(1.0)
        total = variable(strategy, 0.0, name="total")
        table = variable(strategy, np.zeros((400_000, 2), "f"), name="table")
        iterator = iter(coordinator.create_per_worker_dataset(lambda: itertools.count(1)))

        @tf.function
        def step(row, numbers):
            total.assign_add(float(next(numbers)))
            table.scatter_add(tf.IndexedSlices(np.ones((1, 2), "f"), [row]))
            plain.assign_add(1.0)
            return os.getpid(), worker_index(), float(table[row][0])

        with pytest.raises(ContextError, match="uses the ClusterCoordinator") as refused:
            coordinator.schedule(lambda: coordinator.schedule(step))
        assert 2 == len(refused.traceback)  # this line, and that of `schedule`
        values = [coordinator.schedule(step, (100_000 * i, iterator)) for i in range(4)]
        coordinator.join()
        found = coordinator.fetch(values)

        processes = {worker: process for process, worker, _ in found}
        assert len(processes) == len({*processes.values()} - {os.getpid()})
        assert [1.0] * 4 == [seen for _, _, seen in found]
        assert 4 == len(table.variables)
        assert [1.0, 1.0, 1.0, 1.0] == table.numpy()[::100_000, 1].tolist()
        assert 5.0 == plain.numpy()
        assert 6.0 <= total.numpy() <= 10.0  # 1 + 2 + 1 + 2, or more if a worker ran more


@pytest.mark.thorough
def test_after_the_loss_of_a_worker_another_one_runs_its_closures_again():
    with Strategy(workers=2) as strategy:
        coordinator, v = Coordinator(strategy), variable(strategy, 0.0)

        def closure(i):
            v.assign_add(1.0)
            if i == 0 and worker_index() == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        with pytest.warns(tf.VarsimWarning, match="worker 0 was killed by SIGKILL; 1 of 2"):
            run_all(coordinator, closure, range(20))

        assert 21.0 == v.numpy()
        assert 1 == coordinator.schedule(worker_index).fetch()


@pytest.mark.thorough
def test_the_loss_of_a_server_ends_the_wait_for_its_answer():
    with Strategy(workers=1, servers=2) as strategy:
        coordinator = Coordinator(strategy)
        v, w = variable(strategy, [0.0]), variable(strategy, 1.0)
        channel: Any = strategy.cluster.link.channel
        processes = channel._hosts._process_ids

        def closure(server):
            w.assign_add(1.0)
            os.kill(server, signal.SIGKILL)
            return v.numpy()

        with pytest.raises(ServerLost, match="parameter server 0 was killed by SIGKILL"):
            run_all(coordinator, closure, [processes[strategy.num_workers + v.server]])
        with pytest.raises(ServerLost):
            w.numpy()


@pytest.mark.thorough
def test_every_state_answers_its_recorded_events_in_the_same_way(tmp_path):
    with recorded_events(tmp_path), Strategy(workers=2, servers=2) as strategy:
        coordinator, v = Coordinator(strategy), variable(strategy, np.zeros(3, "f"))
        w = variable(strategy, 0.0)

        def closure(row):
            v.scatter_add(tf.IndexedSlices(np.ones(1, "f"), [row % 3]))
            w.assign(w + v.numpy().sum())

        run_all(coordinator, closure, range(20))
        with pytest.raises(IndexError):
            run_all(coordinator, lambda row: [][row], range(3))

    logs = read_logs(tmp_path)
    for log in logs:
        replay(log)
    assert ["SchedulerState", "ServerState", "ServerState"] == sorted(log.state for log in logs)


@pytest.mark.thorough
def test_after_an_interrupt_the_wait_can_go_on():
    with Strategy(workers=1) as strategy:
        coordinator, v = Coordinator(strategy), variable(strategy, 0.0)

        def closure(program):
            os.kill(program, signal.SIGINT)
            v.assign_add(1.0)

        def begin():
            coordinator.schedule(closure, (os.getpid(),))
            coordinator.join()  # the interrupt can come before this wait begins

        with pytest.raises(KeyboardInterrupt):
            begin()
        coordinator.join()

        assert 1.0 == v.numpy()


@pytest.mark.thorough
def test_a_closure_that_runs_for_long_is_reported_with_its_line(tmp_path, monkeypatch):
    """The closure ends when the warning is shown."""
    monkeypatch.setattr(scheduler_state, "SLOW_S", 0.5)
    shown, end = [], tmp_path / "end"

    def show(message, *_args, **_kwargs):
        shown.append(str(message))
        end.touch()

    def endless():
        while not end.exists():
            pass

    with Strategy(workers=1) as strategy, warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", show)
        coordinator = Coordinator(strategy)
        coordinator.schedule(endless)
        coordinator.join()

    (text,) = shown
    assert text.startswith("worker 0 has been running ")
    assert "endless (tests/processes/test_parameter_servers.py:" in text
    assert "it is now at tests/processes/test_parameter_servers.py:" in text


@pytest.mark.thorough
def test_the_record_is_whole_if_the_program_drops_its_strategy(tmp_path):
    """A program that ends without `close` drops its strategy, too."""

    def use_a_strategy():
        strategy = Strategy(workers=1, trace=TraceOptions(tmp_path))
        coordinator, v = Coordinator(strategy), variable(strategy, 0.0)
        run_all(coordinator, v.assign_add, [1.0, 2.0])
        assert 3.0 == v.numpy()

    use_a_strategy()
    gc.collect()
    (record,) = server_records(tmp_path)

    operations = [one.operation for one in record.operations()]
    assert ["create", "assign_add", "assign_add", "read"] == operations
    assert "" == record.missing


@pytest.mark.thorough
def test_a_run_has_the_records_of_its_servers(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import varsim as tf\n"
        "strategy = tf.distribute.ParameterServerStrategy(servers=2)\n"
        "coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)\n"
        "with strategy.scope():\n"
        "    v, w = tf.Variable(0.0, name='v'), tf.Variable(0.0, name='w')\n"
        "def step():\n"
        "    v.assign_add(1.0)\n"
        "    w.assign(v + 1.0)\n"
        "for _ in range(20):\n"
        "    coordinator.schedule(step)\n"
        "coordinator.join()\n"
    )
    with tf.run_experiment(script=program, workers=2, out=tmp_path / "runs") as run:
        v, w = run.summary.variables
        records = sorted(path.name for path in run.path.glob("server-*"))

        assert "VALID" == run.verdict.value
        assert ["server-0.trace", "server-1.trace"] == records
        assert ((20, 20, 0), (0, 20, 1)) == (
            (v.reads, v.writes, v.served.server),
            (w.reads, w.writes, w.served.server),
        )
        assert 20.0 == v.lens.value.elements
