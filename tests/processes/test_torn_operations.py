"""Ctrl-C at any instruction of varsim: the program catches it, and uses the same strategy again."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.effort import many
from tests.processes.conftest import Strategy, cluster
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

pytestmark = pytest.mark.processes

PACKAGE = str(Path(tf.__file__).parent)
REPLICAS = 2


def send_interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def raise_interrupt() -> None:
    raise KeyboardInterrupt


class Interrupter:
    """Call `interrupt` before instruction number `at` of varsim in this process."""

    def __init__(self, at: int, interrupt: Callable[[], None]) -> None:
        self.left = at
        self.interrupt = interrupt
        self.location = "none"

    @contextmanager
    def active(self) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self._enters)
        try:
            yield
        finally:
            sys.settrace(before)

    def _enters(self, frame: FrameType, _event: str, _argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        return self._instruction

    def _instruction(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "opcode":
            self.left -= 1
            if not self.left:
                self.location = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                sys.settrace(None)
                self.interrupt()
        return self._instruction


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


def test_sigint_at_any_instruction_leaves_the_strategy_and_its_record_whole(tmp_path: Path):
    program = Program(trace=TraceOptions(tmp_path))
    random_numbers = random.Random(0)
    try:
        instructions = program.instructions()
        for _ in range(many(60)):
            at = random_numbers.randrange(1, instructions)
            interrupter = Interrupter(at, send_interrupt)
            with suppress(KeyboardInterrupt), interrupter.active():
                program.operate()
            assert program.agrees(), interrupter.location
    finally:
        program.strategy.close()
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        wrong = [one for one in judge(history) if one.outcome is Outcome.INVALID]
    assert [] == wrong


def test_an_interrupt_that_cannot_be_delayed_breaks_the_strategy_with_an_error():
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
