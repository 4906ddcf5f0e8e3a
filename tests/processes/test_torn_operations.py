"""Ctrl-C at any instruction of varsim: the program catches it, and uses the same strategy again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

import varsim as tf
from tests.effort import many
from tests.interrupter import Interrupter, raise_interrupt, send_interrupt
from tests.processes.conftest import Strategy, cluster
from tests.waiting import MS
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.interrupts import UNINTERRUPTED
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

pytestmark = pytest.mark.processes

REPLICAS = 2

SENDER = """
import os, select, signal, sys
for line in sys.stdin:
    select.select([], [], [], float(line))
    os.kill(int(sys.argv[1]), signal.SIGINT)
"""
"""A program that reads durations in seconds from stdin, and sends a SIGINT after each."""

LATEST_S = 0.03
"""The latest time of a SIGINT after the beginning of an operation: an operation takes about 5 ms,
so the SIGINT comes in one of the first operations."""

LOST_S = 10_000 * MS
"""A SIGINT without an effect for this time counts as lost."""


class Program:
    """A strategy with two variables, and operations of every kind on them."""

    def __init__(self, **options: Any) -> None:
        self.strategy: Strategy = cluster(REPLICAS, **options)
        with self.strategy.scope():
            self.weights = tf.Variable(
                np.zeros(8), name="weights", aggregation=tf.VariableAggregation.SUM
            )
            self.total = tf.Variable(
                0.0,
                name="total",
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )
        self.operate()  # from now on, the workers have the functions

    def step(self) -> float:
        """Add 1 in each replica, and return the new first element."""
        self.weights.assign_add(np.ones(8))
        self.total.assign_add(1.0)
        return float(np.asarray(self.weights.read_value())[0])

    def operate(self) -> None:
        self.strategy.run(self.step)
        self.weights.assign(np.ones(8))
        self.weights.scatter_add(tf.IndexedSlices(np.ones(2), [1, 2]))
        self.total.numpy()
        self.total.assign(2.0)
        self.strategy.reduce("SUM", self.strategy.run(np.ones, args=(2,)), axis=None)

    def operate_until_interrupted(self, send: Callable[[], object]) -> bool:
        """Operate until KeyboardInterrupt; return False if none is raised within `LOST_S`."""
        with suppress(KeyboardInterrupt):
            end_s = time.monotonic() + LOST_S
            send()
            while time.monotonic() < end_s:
                self.operate()
            return False
        return True

    def instructions(self) -> int:
        never = Interrupter(-1, send_interrupt)
        with never.active():
            self.operate()
        return -1 - never.left

    def agrees(self) -> bool:
        """Return whether the program, the mirror and all components have the same value."""
        before = float(self.weights.numpy()[0])
        self.total.assign(0.0)
        told = self.strategy.run(self.step)
        components = self.strategy.experimental_local_results(self.weights)
        seen = {float(np.asarray(component)[0]) for component in components}
        seen |= {float(one) for one in self.strategy.experimental_local_results(told)}
        return {before + REPLICAS} == seen and float(self.total.numpy()) == REPLICAS

    def after_interrupt(self) -> str:
        """Use the strategy again; return "whole", "silent" (it diverged) or "broken: …"."""
        try:
            return "whole" if self.agrees() else "silent"
        except (tf.VarsimError, AssertionError) as error:
            return f"broken: {error}"


class Tally:
    """Count the outcomes of interrupts. Unless the outcome is "whole", make a new strategy."""

    def __init__(self, folder: Path, interrupts: str) -> None:
        self._folder = folder
        self._interrupts = interrupts
        self._counts: Counter[str] = Counter()
        self._wrong: list[str] = []
        self._programs = 0
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.program.strategy.close()

    def count(self, outcome: str, location: str) -> None:
        """Count an outcome: "whole", or what is wrong with the strategy."""
        self._counts[outcome.partition(":")[0]] += 1
        if outcome != "whole":
            self._wrong.append(f"{outcome}, after an interrupt at {location}")
            self._judge()
            self._begin()

    def conclude(self) -> None:
        """Print the counts; fail if anything was wrong."""
        self._judge()
        kinds = ("whole", "broken", "silent", "lost", "INVALID records")
        counts = ", ".join(f"{self._counts[kind]} {kind}" for kind in kinds)
        print(f"\n{self._interrupts}: {counts}")
        assert [] == self._wrong

    def _begin(self) -> None:
        self._programs += 1
        self._directory = self._folder / str(self._programs)
        self.program = Program(trace=TraceOptions(self._directory))

    def _judge(self) -> None:
        self.program.strategy.close()
        merge(self._directory, self._directory)
        with open_history(self._directory) as history:
            for verdict in judge(history):
                if verdict.outcome is Outcome.INVALID:
                    self._counts["INVALID records"] += 1
                    self._wrong.append(f"INVALID record: {verdict}")


def test_sigint_at_any_instruction_leaves_strategy_and_record_whole(tmp_path: Path):
    random_numbers = random.Random(0)
    with Tally(tmp_path, "SIGINT at an instruction of varsim") as tally:
        instructions = tally.program.instructions()
        for _ in range(many(60)):
            at = random_numbers.randrange(1, instructions)
            interrupter = Interrupter(at, send_interrupt)
            with suppress(KeyboardInterrupt), interrupter.active():
                tally.program.operate()
            tally.count(tally.program.after_interrupt(), interrupter.location)
        tally.conclude()


@contextmanager
def sender() -> Iterator[Callable[[float], object]]:
    """Provide a function that makes another process send a SIGINT after some seconds."""
    process = subprocess.Popen(
        [sys.executable, "-c", SENDER, str(os.getpid())],
        stdin=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )
    assert process.stdin is not None
    pipe = process.stdin
    try:
        yield lambda seconds: pipe.write(f"{seconds}\n".encode())
    finally:
        process.communicate()


@pytest.mark.slow
def test_sigint_of_another_process_leaves_strategy_and_record_whole(tmp_path: Path):
    random_numbers = random.Random(0)
    with sender() as send_after, Tally(tmp_path, "SIGINT of another process") as tally:
        for number in range(many(60)):
            send = partial(send_after, random_numbers.uniform(0.0, LATEST_S))
            raised = tally.program.operate_until_interrupted(send)
            outcome = tally.program.after_interrupt() if raised else "lost"
            tally.count(outcome, f"a random time (interrupt {number})")
        tally.conclude()


@pytest.fixture
def _no_later_delay() -> Iterator[None]:
    """Restore the handling of SIGINT, even if an interrupt has left varsim's handler in place."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    UNINTERRUPTED.__init__()  # type: ignore[misc]  # all strategies share the object
    signal.signal(signal.SIGINT, handler)


@pytest.mark.thorough
@pytest.mark.usefixtures("_no_later_delay")
def test_an_interrupt_without_a_delay_breaks_the_strategy():
    """The exception comes from outside the signal handler, so varsim cannot delay it."""
    random_numbers = random.Random(0)
    program, broken = Program(), 0
    try:
        instructions = program.instructions()
        for _ in range(many(3)):
            at = random_numbers.randrange(1, instructions)
            interrupter = Interrupter(at, raise_interrupt)
            with suppress(KeyboardInterrupt), interrupter.active():
                program.operate()
            try:
                agrees = program.agrees()
            except tf.errors.ContextError as error:
                agrees = "broken: an interrupt" in str(error)
                broken += 1
                program.strategy.close()
                program = Program()
            assert agrees, interrupter.location
    finally:
        program.strategy.close()
    assert broken
