"""Workers of the simulated cluster can be lost, at a message that the test chooses or at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import varsim as tf
from tests.effort import many
from tests.replica_context import replica_id
from tests.testing import programs
from tests.testing.programs import PROGRAMS, REPLICAS, create_without_warnings, three_replicas
from varsim.analysis.outcome import Outcome, overall
from varsim.analysis.verdict import judge
from varsim.errors import WorkerLost
from varsim.testing import SimulatedCluster, simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

KILLED = "was killed by SIGKILL"

every_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)


def deaths_of(seed: int) -> dict[int, int]:
    """Return which replica dies, and after how many messages. Seeds choose the replicas in turn."""
    return {seed % REPLICAS: seed // REPLICAS}


@every_program
def test_a_program_gets_an_error_or_reads_the_right_values(program: Callable[[], str]) -> None:
    """A replica that dies after its last message does not change the result."""
    with simulated_cluster():
        expected = program()

    outcomes, ends = set(), set()
    for seed in range(many(20)):
        try:
            with simulated_cluster(seed, deaths=deaths_of(seed)):
                outcomes.add(program())
        except WorkerLost as lost:
            outcomes.add("lost")
            ends.add((lost.replica_id - seed % REPLICAS, lost.reason))
    assert {(0, KILLED)} == ends
    assert outcomes in ({"lost"}, {"lost", expected})


def error_of(seed: int | None, deaths: dict[int, int]) -> tuple[str, int]:
    """Return the error of a program, and how many messages were delivered until then."""
    with simulated_cluster(seed, deaths=deaths) as simulated, pytest.raises(WorkerLost) as caught:
        programs.merge_calls()
    return str(caught.value), simulated.networks[0].delivered


@pytest.mark.parametrize("seed", [None, 3])
def test_the_same_death_gives_the_same_run(seed: int | None) -> None:
    runs = [error_of(seed, {1: after}) for after in (0, 3, 6)]

    assert 3 == len(set(runs))
    assert runs == [error_of(seed, {1: after}) for after in (0, 3, 6)]


def test_the_seed_decides_which_last_messages_of_a_lost_replica_arrive() -> None:
    """The replica sends its write, and is lost while it waits for the commit."""

    def total(seed: int) -> float:
        with simulated_cluster(seed, deaths={1: 2}):
            strategy = three_replicas()
            v = create_without_warnings(strategy, 0.0, "ON_WRITE", "SUM")
            with pytest.raises(WorkerLost):
                strategy.run(lambda: v.assign_add(1.0).read_value())
            return float(v)

    assert {0.0, 3.0} == {total(seed) for seed in range(40)}


# ---------------------------------------------------------------- at once


@contextmanager
def counting() -> Iterator[tuple[SimulatedCluster, Any, Any]]:
    """Provide a cluster, its strategy, and a variable that each replica has changed by 1."""
    with simulated_cluster() as simulated:
        strategy = three_replicas()
        v = create_without_warnings(strategy, 0, "ON_READ", "SUM")
        strategy.run(lambda: v.assign_add(1) and None)
        yield simulated, strategy, v


def check_rest(v: Any, *values: int) -> None:
    """Check the components of replicas 0 and 2, and that the component of replica 1 is lost."""
    assert [*values] == [int(v.values[i].numpy()) for i in (0, 2)]
    with pytest.raises(WorkerLost, match="the component of replica 1 is lost"):
        v.read_value()


def test_an_idle_worker_is_lost() -> None:
    with counting() as (simulated, strategy, v):
        simulated.lose(1, "exited with code 3")
        simulated.lose(1)  # has no effect: the worker has ended

        with pytest.raises(WorkerLost, match="replica 1: worker exited with code 3"):
            strategy.run(int)
        check_rest(v, 1, 1)


def test_a_replica_kills_itself_at_an_operation() -> None:
    """The code after the operation has no effect, even if it catches every exception."""
    with counting() as (simulated, strategy, v):

        def step() -> None:
            v.assign_add(1)
            try:
                if replica_id() == 1:
                    simulated.lose(1)
            except BaseException:  # as a program may do; its replica must stay dead
                v.assign_add(100)
            v.assign_add(10)

        with pytest.raises(WorkerLost, match=KILLED):
            strategy.run(step)
        assert 12 == int(v.values[0].numpy())


def test_a_replica_is_killed_in_a_merge_call() -> None:
    with counting() as (simulated, strategy, v):

        def merge(_: Any) -> int:
            simulated.lose(1)
            return int(v.values[0].numpy())

        with pytest.raises(WorkerLost, match="its last message: merge_call at"):
            strategy.run(lambda: tf.distribute.get_replica_context().merge_call(merge))
        check_rest(v, 1, 1)


def test_a_replica_is_killed_by_another_replica() -> None:
    with counting() as (simulated, strategy, v):
        with pytest.raises(WorkerLost, match=KILLED):
            strategy.run(lambda: replica_id() == 2 and simulated.lose(1))
        check_rest(v, 1, 1)


# ---------------------------------------------------------------- the record


@every_program
def test_the_record_of_a_lost_worker_is_judged_and_says_where_it_ends(
    program: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(many(2)):
        options = TraceOptions(tmp_path / str(seed))
        devices = [f"cpu:{i}" for i in range(REPLICAS)]
        strategy = tf.distribute.MirroredStrategy
        monkeypatch.setattr(programs, "three_replicas", partial(strategy, devices, trace=options))
        with simulated_cluster(seed, deaths=deaths_of(seed)), pytest.raises(WorkerLost):
            program()
        merge(options.directory, options.directory)
        with open_history(options.directory) as history:
            assert Outcome.INVALID is not overall(judge(history)), f"seed {seed}"
            assert not history.run["complete"]
            assert {str(seed % REPLICAS)} == set(history.run["cut_short"])
            (lost,) = history.events("kind = 'lost'")
            assert (seed % REPLICAS, KILLED) == (lost.replica, lost.note)
