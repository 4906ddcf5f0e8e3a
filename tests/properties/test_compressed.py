"""Compressed variables in random programs: values of a plain model, and the judge's verdict.

`VARSIM_TEST_EFFORT=200 python -m pytest tests/properties/test_compressed.py` runs 3,000 programs of
each kind, each with another order of events.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.effort import many
from tests.judged import judged, not_valid
from tests.properties.compression_model import NAMES, Sender, aggregate
from varsim.analysis.outcome import Outcome, Verdict
from varsim.errors import MismatchError
from varsim.sync import compression
from varsim.sync.compression import Half, OneBit, Packed, TopK
from varsim.sync.policies import compressed as engine
from varsim.testing import simulated_cluster
from varsim.tracing.trace import TraceOptions

SUM, MEAN = tf.VariableAggregation.SUM, tf.VariableAggregation.MEAN
SIZES = (1, 2, 5, 9)
WRITES = ("assign_add", "assign_add", "assign_sub", "assign")

Step = tuple[str, Any]
"""The operation of all replicas, and the value of each replica."""


def written(rng: Random, size: int) -> Any:
    """Return a value in which elements of equal size are frequent."""
    return np.array([rng.choice([0, 1, -1, rng.gauss(0, 3)]) for _ in range(size)], np.float32)


class Program:
    """A random program: calls in which all replicas write, and writes of the program."""

    def __init__(self, rng: Random, *, local: bool) -> None:
        self.count = rng.choice([2, 2, 3])
        self.size = rng.choice(SIZES)
        self.by = rng.choice(NAMES)
        self.every = rng.randint(1, 3) if local else 0
        self.aggregation = MEAN if local else rng.choice([SUM, MEAN])
        self.initial = written(rng, self.size)
        self.calls = [self._call(rng) for _ in range(rng.randint(2, 6))]
        self.after = [self._by_program(rng) for _ in self.calls]

    def _call(self, rng: Random) -> list[Step]:
        steps = []
        for _ in range(rng.randint(1, 4)):
            operation = rng.choice((*WRITES, "scatter_add", "read_value"))
            steps.append((operation, [written(rng, self.size) for _ in range(self.count)]))
        return steps

    def _by_program(self, rng: Random) -> Step | None:
        if rng.random() < 0.7:
            return None
        return rng.choice(WRITES), written(rng, self.size)

    @property
    def policy(self) -> tf.Compressed:
        return tf.Compressed(tf.LocalSGD(self.every) if self.every else "on_write", by=self.by)

    def variable(self) -> tf.Variable:
        return tf.Variable(
            self.initial, name="v", synchronization=self.policy, aggregation=self.aggregation
        )


def own_id() -> int:
    replica_id: int = tf.distribute.get_replica_context().replica_id_in_sync_group
    return replica_id


def act(v: tf.Variable, operation: str, value: Any) -> None:
    """Perform one write or read on a replica."""
    if operation == "read_value":
        v.read_value()
    elif operation == "scatter_add":
        rows = tf.IndexedSlices(value[:1], np.array([0]))
        v.scatter_add(rows)
    else:
        getattr(v, operation)(value, read_value=False)


# ---------------------------------------------------------------- values of a plain model


class Model:
    """The components of a program's variable, in plain Python."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._senders = [Sender(program.by, program.size) for _ in range(program.count)]
        self.components = [list(program.initial)] * program.count
        self._agreed: list[Any] | None = None  # the value of the last exchange
        self._writes = 0  # since the last exchange

    def _combined(self, values: Sequence[Sequence[Any]]) -> list[Any]:
        return aggregate(values, mean=self._program.aggregation is MEAN)

    def step(self, operation: str, values: Sequence[Any]) -> None:
        if operation == "read_value":
            return
        if self._program.every:
            both = zip(self.components, values, strict=True)
            self.components = [changed(before, operation, value) for before, value in both]
            self._writes += 1
            if self._writes == self._program.every:
                self._exchange()
            return
        if operation == "assign":
            total = self._combined([list(value) for value in values])
            for sender in self._senders:
                sender.end()
        elif operation == "scatter_add":
            after = self.components[0]
            for value in values:
                one = value[:1] / np.float32(len(values) if self._mean else 1)
                after = changed(after, operation, one)
            self.components = [after] * len(values)
            return
        else:
            subtracts = operation == "assign_sub"
            sent = zip(self._senders, values, strict=True)
            total = self._combined([one.send(list(v), subtracts=subtracts) for one, v in sent])
        self.components = [changed(self.components[0], operation, total)] * len(values)

    @property
    def _mean(self) -> bool:
        return self._program.aggregation is MEAN

    def _exchange(self) -> None:
        self._writes = 0
        agreed = self._agreed
        if agreed is None:
            for sender in self._senders:
                sender.end()
            new = self._combined(self.components)
        else:
            changes = [
                [one - other for one, other in zip(own, agreed, strict=True)]
                for own in self.components
            ]
            pairs = zip(self._senders, changes, strict=True)
            new = changed(agreed, "assign_add", self._combined([s.send(c) for s, c in pairs]))
        self._agreed = new
        self.components = [new] * self._program.count

    def by_program(self, operation: str, value: Any) -> None:
        self.components = [changed(one, operation, value) for one in self.components]
        self._agreed = None
        for sender in self._senders:
            sender.end()


def changed(before: Sequence[Any], operation: str, value: Sequence[Any]) -> list[Any]:
    """Return a component after a write; a scatter_add has a value for row 0 only."""
    if operation == "assign":
        return list(value)
    if operation == "scatter_add":
        return [before[0] + value[0], *before[1:]]
    sign = -1 if operation == "assign_sub" else 1
    return [one + sign * other for one, other in zip(before, value, strict=True)]


def check_program(program: Program, strategy: tf.distribute.Strategy) -> None:
    """Compare the components of a program with the model after each call."""
    model = Model(program)
    with strategy.scope():
        v = program.variable()

    def step(call: list[Step]) -> None:
        for operation, values in call:
            act(v, operation, values[own_id()])

    tolerance = 1e-4 if program.by == "one_bit" else 0  # the engine sums in another order
    for call, after in zip(program.calls, program.after, strict=True):
        strategy.run(step, args=(call,))
        for operation, values in call:
            model.step(operation, values)
        if after is not None:
            getattr(v, after[0])(after[1])
            model.by_program(*after)
        for own, expected in zip(v.values, model.components, strict=True):
            found = own.read_value()
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def check_values(seed: int, *, local: bool) -> None:
    """Check one program in a simulated cluster."""
    rng = Random(seed)
    program = Program(rng, local=local)
    with simulated_cluster(rng.choice([None, seed])):
        devices = [f"cpu:{i}" for i in range(program.count)]
        check_program(program, tf.distribute.MirroredStrategy(devices))


@pytest.mark.parametrize("local", [False, True], ids=["on_write", "local_sgd"])
def test_components_equal_a_plain_model_in_any_order(local):
    for seed in range(many(15)):
        try:
            check_values(seed, local=local)
        except BaseException as error:
            error.add_note(f"check_values({seed}, local={local})")
            raise


# ---------------------------------------------------------------- verdicts of the judge


class Fails(Exception):
    """Raised by the function of a replica."""


def recorded(seed: int, folder: Path, *, local: bool, by: str = "") -> Sequence[Verdict]:
    """Run a program some calls of which fail; return the verdicts on its record."""
    rng = Random(seed)
    program = Program(rng, local=local)
    program.by = by or program.by
    with simulated_cluster(rng.choice([None, seed])):
        devices = [f"cpu:{i}" for i in range(program.count)]
        strategy = tf.distribute.MirroredStrategy(devices, trace=TraceOptions(folder))
        with strategy.scope():
            v = program.variable()

        def step(call: list[Step], who: int, at: int, misses: int) -> None:
            for index, (operation, values) in enumerate(call):
                if own_id() == who and index == at:
                    raise Fails
                if own_id() == misses and index == at:
                    continue
                act(v, operation, values[own_id()])

        for call, after in zip(program.calls, program.after, strict=True):
            who, misses = rng.randrange(3 * program.count), rng.randrange(5 * program.count)
            with contextlib.suppress(Fails, MismatchError):
                strategy.run(step, args=(call, who, rng.randrange(len(call)), misses))
            if after is not None:
                getattr(v, after[0])(after[1])
            v.read_value()
    return judged(folder)


@pytest.mark.thorough
@pytest.mark.parametrize("local", [False, True], ids=["on_write", "local_sgd"])
def test_records_of_random_programs_are_valid(local):
    for seed in range(many(15)):
        with TemporaryDirectory() as folder:
            verdicts = recorded(seed, Path(folder), local=local)
        wrong = [one for one in verdicts if one.outcome is not Outcome.VALID]
        assert not wrong, f"recorded({seed}, local={local}): {wrong[0].checker}: {wrong[0].reason}"
        assert "compression" in {one.checker for one in verdicts}


LARGE = 3.4e38
"""A finite float32; a sum of two is an infinity."""


@pytest.mark.parametrize("bad", [np.inf, np.nan, LARGE])
@pytest.mark.parametrize("by", ["fp16", "top_k:0.5"])
def test_a_record_with_an_element_that_is_not_finite_is_valid(by, bad, tmp_path):
    """Element 1 has a residual all the time."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(tmp_path))
        with strategy.scope():
            policy = tf.Compressed("on_write", by=by)
            v = tf.Variable(np.zeros(4, np.float32), synchronization=policy, aggregation=SUM)

        def step(operation: str, x: float) -> None:
            act(v, operation, np.array([x, 1.0001, -x, 0.3], np.float32))

        for operation, x in zip(WRITES[:3] * 3, [1, 1, 1, bad, bad, bad, 1, 1, 1], strict=True):
            strategy.run(step, args=(operation, x))

    verdicts = {one.checker: one for one in judged(tmp_path)}

    wrong = [one.reason for one in verdicts.values() if one.outcome is not Outcome.VALID]
    assert [] == wrong
    assert "compression" in verdicts


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("by", ["fp16", "top_k:0.5", "one_bit"])
def test_an_exchange_after_an_infinity_is_whole_under_local_sgd(by, bad, tmp_path):
    """So the components are those of LocalSGD, also when they are finite again."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(tmp_path))
        with strategy.scope():
            policies = (tf.Compressed(tf.LocalSGD(2), by=by), tf.LocalSGD(2))
            both = [tf.Variable(np.zeros(4, np.float32), synchronization=one) for one in policies]

        def step(operation: str, x: float) -> None:
            for v in both:
                act(v, operation, np.array([x, 1.0001 + own_id(), -x, 0.3], np.float32))

        for operation, x in [("assign_add", bad), ("assign_add", 1.0), ("assign", 1.0)]:
            for one in (x, 1.0):
                strategy.run(step, args=(operation, one))
            compressed, plain = ([one.numpy().tolist() for one in v.values] for v in both)
            assert str(plain) == str(compressed)
        assert np.isfinite(plain).all()
        strategy.run(step, args=("assign_add", 1.0))
        strategy.run(step, args=("assign_add", 1.0))

    assert [] == not_valid(tmp_path)


# ---------------------------------------------------------------- engines with a fault


def drops_residual(by: Any, change: Any, residual: Any) -> Packed:
    made = compression.packed(by, change, residual)
    return Packed(made.parts, made.restored, np.zeros_like(made.residual))


def ignores_residual(by: Any, change: Any, residual: Any) -> Packed:
    return compression.packed(by, change, None)


def adds_residual_twice(by: Any, change: Any, residual: Any) -> Packed:
    twice = None if residual is None else residual + residual
    return compression.packed(by, change, twice)


def wrong_scale(self: Any, values: Any) -> Any:
    bits, means = PACK[OneBit](self, values)
    return bits, means * means.dtype.type(1.001)


def one_scale(self: Any, values: Any) -> Any:
    bits, means = PACK[OneBit](self, values)
    return bits, np.array([np.abs(means).mean(), -np.abs(means).mean()], means.dtype)


def wrong_sign(self: Any, values: Any) -> Any:
    bits, means = PACK[OneBit](self, values)
    return bits ^ np.uint8(128), means


def wrong_index(self: Any, values: Any) -> Any:
    indices, kept = PACK[TopK](self, values)
    return (indices + 1) % np.int32(len(values)), kept


def smallest_elements(self: Any, values: Any) -> Any:
    chosen = np.sort(np.argsort(np.abs(values), kind="stable")[: self.count(len(values))])
    return chosen.astype(np.int32), values[chosen]


def too_few_elements(self: Any, values: Any) -> Any:
    indices, kept = PACK[TopK](self, values)
    return indices, np.where(np.arange(len(kept)) > 0, kept, 0).astype(kept.dtype)


def cuts_off(self: Any, values: Any) -> Any:
    return (np.nextafter(PACK[Half](self, values)[0], np.float16(0)),)


def keeps_state(self: Any, state: Any, version: int) -> Any:
    """Do not take back a contribution, and do not end a residual."""
    return state


PACK = {one: one.pack for one in (Half, TopK, OneBit)}
MUTANTS: dict[str, tuple[Any, str, Any, str]] = {
    "a dropped residual": (engine, "packed", drops_residual, "top_k:0.3"),
    "an ignored residual": (engine, "packed", ignores_residual, "top_k:0.3"),
    "a residual that is added twice": (engine, "packed", adds_residual_twice, "top_k:0.3"),
    "a wrong scale": (OneBit, "pack", wrong_scale, "one_bit"),
    "one scale for both signs": (OneBit, "pack", one_scale, "one_bit"),
    "a wrong sign": (OneBit, "pack", wrong_sign, "one_bit"),
    "a wrong index": (TopK, "pack", wrong_index, "top_k:0.3"),
    "the smallest elements": (TopK, "pack", smallest_elements, "top_k:0.3"),
    "too few elements": (TopK, "pack", too_few_elements, "top_k:0.3"),
    "rounding towards zero": (Half, "pack", cuts_off, "fp16"),
    "a residual of a failed call": (engine.Residuals, "after_failure", keeps_state, "top_k:0.3"),
    "a residual after a write of the program": (
        engine.Residuals,
        "after_overwrite",
        keeps_state,
        "top_k:0.3",
    ),
}
"""Name of a fault → where it is, the replaced function, the wrong one, and a compressor."""


@pytest.mark.parametrize("what", MUTANTS)
def test_the_judge_finds(what, monkeypatch):
    """Within a few programs, `compression` says INVALID; it is VALID without the fault."""
    where, name, wrong, by = MUTANTS[what]
    monkeypatch.setattr(where, name, wrong)
    for seed in range(20):
        with TemporaryDirectory() as folder:
            verdicts = recorded(seed, Path(folder), local=False, by=by)
        found = next(one for one in verdicts if one.checker == "compression")
        if found.outcome is Outcome.INVALID:
            assert "v: replica" in found.reason
            return
    pytest.fail("the judge does not find the fault")
