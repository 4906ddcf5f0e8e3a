"""Real workers without progress: varsim reports them with their stacks, and ends them."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import varsim as tf
from tests.processes.conftest import Strategy, cluster, location_of
from tests.processes.replicas import all_reduce, ask_forever, compute_slowly
from tests.replica_context import replica_id
from tests.waiting import MS, wait_for_exit
from varsim.errors import CallTimeout, WorkerLost

pytestmark = pytest.mark.processes

WARN_S = 300 * MS
FAIL_S = 600 * MS


@contextmanager
def warned() -> Iterator[list[str]]:
    """Collect the warnings of the block."""
    texts: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: texts.append(str(message))
        yield texts


def process_ids(strategy: Strategy) -> list[int]:
    return [int(one) for one in strategy.experimental_local_results(strategy.run(os.getpid))]


@contextmanager
def quick(limit_s: float = 1_000 * MS) -> Iterator[None]:
    """Fail if the block takes longer than `limit_s`: it would then have waited for a limit."""
    started_s = time.monotonic()
    yield
    assert time.monotonic() - started_s < limit_s


@pytest.mark.thorough
def test_the_error_names_each_replicas_kind_of_stall() -> None:
    """In one call, replicas 1 to 4 have different kinds of stall, and replica 0 waits for them."""
    strategy = cluster(5, stall_warn_s=WARN_S, stall_fail_s=FAIL_S)
    with strategy.scope():
        total = tf.Variable(0.0, name="total", aggregation=tf.VariableAggregation.SUM)
    processes = process_ids(strategy)

    def stall() -> None:
        match replica_id():
            case 1:
                while True:  # computes
                    pass
            case 2:
                lock = threading.Lock()
                lock.acquire()
                lock.acquire()  # blocks
            case 3:
                one, other = socket.socketpair()
                one.recv(1)  # waits in C
                other.close()
        total.assign_add(1.0)
        total.read_value()

    os.kill(processes[4], signal.SIGSTOP)
    with warned() as texts, pytest.raises(CallTimeout) as caught:
        strategy.run(stall)

    text = str(caught.value)
    assert (1, 2, 3, 4) == caught.value.replica_ids
    kinds = {1: "computing", 2: "blocked", 3: "blocked", 4: "stopped by a signal"}
    for number, kind in kinds.items():
        assert f"  replica {number} (process {processes[number]}) is {kind} (" in text
        assert f"  replica {number} (process {processes[number]}) is " in "".join(texts)
    for line in ("lock.acquire()  # blocks", "one.recv"):
        assert f"      {location_of(stall, line)} in stall\n" in text
    assert "  replica 0: waits in a read of total" in text

    assert 0.0 == float(total)  # no worker is needed for this value
    with quick(), pytest.raises(WorkerLost, match="was ended by varsim, because it made no progre"):
        strategy.run(replica_id)
    for number in (1, 2, 3, 4):
        wait_for_exit(processes[number])
    with quick():
        strategy.close()


@pytest.fixture(scope="module")
def pair() -> Iterator[Strategy]:
    """Provide two workers that several tests share, so a test must leave them usable."""
    with cluster(2) as started:
        yield started


LIMITS = tf.distribute.RunOptions(stall_warn_s=WARN_S, stall_fail_s=FAIL_S)


@pytest.mark.slow
def test_a_call_without_a_limit_may_take_long(pair: Strategy) -> None:
    def slow() -> str:
        compute_slowly(1.2 * FAIL_S * (replica_id() == 1))
        all_reduce("SUM", 1.0)
        return "done"

    options = tf.distribute.RunOptions(stall_warn_s=WARN_S, stall_fail_s=0)
    with warned() as texts:
        assert "done" == pair.run(slow, options=options)

    (text,) = texts
    assert text.startswith("replica 1 has made no progress for ")
    assert "The call waits without a limit" in text


@pytest.mark.slow
def test_many_short_steps_are_progress(pair: Strategy) -> None:
    def steps() -> None:
        for _ in range(10):
            compute_slowly(FAIL_S / 4)
            all_reduce("SUM", 1.0)

    with warned() as texts:
        pair.run(steps, options=LIMITS)

    assert [] == texts


@pytest.mark.slow
def test_a_replica_that_only_sends_requests_is_ended() -> None:
    with cluster(2, stall_warn_s=0, stall_fail_s=FAIL_S) as strategy:
        with strategy.scope():
            total = tf.Variable(0.0, name="total", aggregation=tf.VariableAggregation.SUM)

        def ask() -> None:
            if replica_id() == 1:
                ask_forever(total)
            total.assign_add(1.0)
            total.read_value()

        with quick(10 * FAIL_S), pytest.raises(CallTimeout) as caught:
            strategy.run(ask)

    assert (1,) == caught.value.replica_ids, str(caught.value)
    assert "its last message: a request to the program" in str(caught.value)


@pytest.mark.slow
def test_requests_of_one_replica_hide_no_blocked_replica() -> None:
    with cluster(2, stall_warn_s=0, stall_fail_s=FAIL_S) as strategy:
        with strategy.scope():
            total = tf.Variable(0.0, name="total", aggregation=tf.VariableAggregation.SUM)

        def ask() -> None:
            if replica_id() == 0:
                ask_forever(total)
            threading.Event().wait()

        with quick(10 * FAIL_S), pytest.raises(CallTimeout) as caught:
            strategy.run(ask)

    assert 1 in caught.value.replica_ids


@pytest.mark.slow
def test_a_read_reports_a_stopped_process() -> None:
    with cluster(2, stall_warn_s=WARN_S, stall_fail_s=FAIL_S) as strategy:
        with strategy.scope():
            seen = tf.Variable(
                0.0,
                name="seen",
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
        strategy.run(lambda: seen.assign_add(1.0) and None)
        os.kill(process_ids(strategy)[1], signal.SIGSTOP)

        with warned() as texts, pytest.raises(CallTimeout, match=r"replica 1 .* is stopped by"):
            seen.read_value()
        assert 1 == len(texts)
        with quick(), pytest.raises(WorkerLost):
            seen.read_value()


@pytest.mark.slow
def test_a_call_continues_after_a_short_stop(pair: Strategy) -> None:
    options = tf.distribute.RunOptions(stall_warn_s=0, stall_fail_s=FAIL_S)
    stopped = process_ids(pair)[1]
    os.kill(stopped, signal.SIGSTOP)
    timer = threading.Timer(FAIL_S / 2, os.kill, (stopped, signal.SIGCONT))
    timer.start()
    try:
        total = pair.run(all_reduce, args=("SUM", 1.0), options=options)
    finally:
        timer.join()
    assert [2.0, 2.0] == [float(one) for one in pair.experimental_local_results(total)]
