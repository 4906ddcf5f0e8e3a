"""Threads that a replica's function starts, and a second thread of the program."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import varsim as tf
from tests.processes import foreign_threads as foreign
from tests.processes.conftest import Strategy, cluster, location_of
from tests.waiting import MS
from varsim.errors import ContextError
from varsim.testing import simulated_cluster
from varsim.transport.one_thread import OneThread

WHAT_TO_DO = (
    "  Compute in the thread, pass the result to the replica's function (a list and "
    "thread.join(), or future.result()), and let the function read, write or reduce."
)


@pytest.fixture(scope="module", params=["processes", "simulated"])
def strategy(request: pytest.FixtureRequest) -> Any:
    if request.param == "simulated":
        with simulated_cluster():
            yield Strategy(["cpu:0", "cpu:1"])
    else:
        with cluster(2) as started:
            yield started


@pytest.mark.parametrize("way", foreign.WAYS, ids=lambda way: way.__name__)
def test_every_operation_in_another_thread_is_refused(
    strategy: Strategy, way: Callable[..., Any]
) -> None:
    with strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.SUM)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)  # warnings about hidden errors
        every = strategy.experimental_local_results(strategy.run(foreign.outcomes, (v, way)))

    for replica_id, one in enumerate(every):
        wrong = {
            operation: said
            for operation, said in one.items()
            if f" of replica {replica_id} uses varsim" not in said or not said.endswith(WHAT_TO_DO)
        }
        assert {} == wrong
        assert (
            f"uses varsim at {location_of(foreign.operations, 'float(v)')}, but only"
            in one["float"]
        )
    assert 0.0 == float(v)


def test_the_error_names_the_thread_and_the_replica(strategy: Strategy) -> None:
    with pytest.raises(ContextError, match=r"^thread 'mine' of replica 0 uses varsim at .*\.py:\d"):
        strategy.run(foreign.thread, (tf.distribute.get_replica_context,))


def test_the_fix_in_the_error_works(strategy: Strategy) -> None:
    assert 4.0 == strategy.run(foreign.computes)


def test_a_forked_process_can_compute_without_varsim() -> None:
    with cluster(2) as strategy:
        with pytest.raises(ContextError, match=r"^a process that the function of replica \d has"):
            strategy.run(foreign.in_forked_pool, (foreign.reduce_one,))
        assert 2.0 == strategy.run(foreign.in_forked_pool, (abs,))


def test_a_forked_process_does_not_continue_as_the_replica() -> None:
    with cluster(2) as strategy:
        assert "parent" == strategy.run(foreign.returns_twice)
        assert 2.0 == strategy.run(foreign.reduce_one, (1.0,))


def test_a_fork_cannot_use_the_strategy() -> None:
    with cluster(2) as strategy:
        with strategy.scope():
            v = tf.Variable(3.0, name="v")
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            signal.setitimer(signal.ITIMER_REAL, 10_000 * MS)  # ends the child if it waits
            try:
                strategy.run(foreign.computes)
            except ContextError:
                os.write(writing, f"refused {v.numpy()}".encode())
            finally:
                os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        with os.fdopen(reading) as said:
            assert "refused 3.0" == said.read()
        assert 4.0 == strategy.run(foreign.computes)


def test_an_error_that_ended_its_thread_causes_one_warning(strategy: Strategy) -> None:
    with warnings.catch_warnings(record=True) as caught, quiet_threads():
        warnings.simplefilter("always")
        for _ in range(3):
            strategy.run(foreign.asks_and_returns)

    (warning,) = [one for one in caught if one.category is tf.VarsimWarning]
    at = location_of(foreign.reported, "target=")
    assert str(warning.message).startswith(
        f"a thread that a replica's function started used varsim at {at}, and varsim "
        "raised an error in this thread; the function has returned without the error\n"
        "  thread 'mine' of replica 0"
    )
    assert at == f"{warning.filename}:{warning.lineno}"


@pytest.mark.parametrize("error", [IndexError, foreign.FrozenIndexError])
def test_a_later_exception_mentions_the_error_of_the_thread(
    strategy: Strategy, error: type[IndexError]
) -> None:
    with quiet_threads(), pytest.raises(error) as caught:
        strategy.run(foreign.asks_and_raises, args=(error,))

    (note,) = caught.value.__notes__
    assert note.startswith("before that, thread 'mine' of replica 0 uses varsim at ")


def test_a_thread_of_the_program_has_its_own_context(strategy: Strategy) -> None:
    """Outside replicas, a thread has the default strategy, as in TensorFlow."""
    strategy.run(foreign.computes)
    seen = foreign.thread(lambda: repr(tf.distribute.get_replica_context()))
    assert "ReplicaContext(replica 0 of 1)" == seen


class quiet_threads:  # noqa: N801  # used like a function
    """In the block, suppress the output and pytest's warning for an exception in a thread."""

    def __enter__(self) -> None:
        self._hook, threading.excepthook = threading.excepthook, lambda _: None

    def __exit__(self, *exc_info: object) -> None:
        threading.excepthook = self._hook


# ---------------------------------------------------------------- the program's threads


def test_the_error_in_a_second_thread_names_the_running_call() -> None:
    inside, told = threading.Event(), threading.Event()

    def merge(strategy: Any) -> None:
        inside.set()
        assert told.wait(5_000 * MS)

    def step() -> None:
        tf.distribute.get_replica_context().merge_call(merge)

    refused: list[str] = []

    def second(own: Strategy) -> None:
        inside.wait(5_000 * MS)
        for use in (lambda: own.run(print), own.close):
            try:
                use()
            except ContextError as error:
                refused.append(str(error))
        told.set()

    with simulated_cluster():
        own = Strategy(["cpu:0", "cpu:1"])
        other = threading.Thread(target=second, args=(own,), name="second")
        other.start()
        own.run(step)
    other.join()

    this = test_the_error_in_a_second_thread_names_the_running_call
    defined, called = location_of(this, "def step"), location_of(this, "own.run(step)")
    assert 2 == len(refused)
    first, *_, last = refused[0].splitlines()
    assert first.startswith(
        "this strategy is in use by thread 'MainThread', which has been running "
        f"step ({defined}), called by strategy.run at {called}, for "
    )
    assert first.endswith(" s; this is thread 'second'.")
    assert last.endswith("or give each thread its own strategy.")


def test_the_error_names_a_thread_that_only_reads() -> None:
    use, refused = OneThread(), []

    def second() -> None:
        try:
            with use:
                pass
        except ContextError as error:
            refused.append(str(error))

    with use:
        other = threading.Thread(target=second, name="second")
        other.start()
        other.join()

    assert "thread 'MainThread', which is reading or writing a variable; this is" in refused[0]
