"""A value that cannot be sent is an error; the strategy can still be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import Strategy
from varsim.errors import SizeError
from varsim.protocol.limits import MAX_FRAME_BYTES

pytestmark = pytest.mark.processes

SUM = tf.VariableAggregation.SUM


def giant() -> Any:
    """Return an array that is larger than a frame can be, without its memory."""
    return np.broadcast_to(np.int8(0), (MAX_FRAME_BYTES + 1,))


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def identity(value: Any) -> Any:
    return value


def total(value: Any) -> Any:
    context = tf.distribute.get_replica_context()
    assert context is not None
    return context.all_reduce("sum", value)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        pytest.param(giant, "17,179,869,185 bytes; the limit is", id="array"),
        pytest.param(lambda: nested(900), "levels deep", id="nested"),
        pytest.param(lambda: nested(5_000), "levels deep", id="nested deeper than Python allows"),
    ],
)
@pytest.mark.parametrize("way", ["result", "argument"])
def test_a_value_that_cannot_be_sent_is_an_error(
    make: Callable[[], Any], problem: str, way: str, strategy: Strategy
) -> None:
    function, args = (make, ()) if way == "result" else (identity, (make(),))
    with pytest.raises(SizeError, match=problem):
        strategy.run(function, args=args)
    assert 1 == strategy.run(identity, args=(1,))


def test_a_replica_can_continue_after_a_collective_that_cannot_be_sent(strategy: Strategy) -> None:
    with strategy.scope():
        v = tf.Variable(0.0, aggregation=SUM)

    def step() -> float:
        v.assign_add(1.0)
        with pytest.raises(SizeError, match="17,179,869,185 bytes"):
            total(giant())
        return float(v.read_value()) + float(total(1.0))

    assert 6.0 == strategy.run(step)


def test_a_structure_that_contains_itself_is_refused_as_an_argument(strategy: Strategy) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(SizeError, match="contains itself"):
        strategy.run(identity, args=(loop,))
    assert 1 == strategy.run(identity, args=(1,))


def test_a_variable_that_cannot_be_sent_is_refused_by_name(strategy: Strategy) -> None:
    with strategy.scope(), pytest.raises(SizeError, match="variable 'wide' has 17,179,869,185"):
        tf.Variable(giant(), name="wide")
    with strategy.scope(), pytest.raises(SizeError, match="a variable has 1,001 characters"):
        tf.Variable(0, name="w" * 1_001)
    assert 1 == strategy.run(identity, args=(1,))


class Holder:
    """An object of the program, whose copy a replica changes."""


HOLDER = Holder()


def test_a_warning_too_large_to_send_fails_the_call(strategy: Strategy) -> None:
    """A replica sets an attribute with a long name. The warning about this contains the name."""

    def step() -> None:
        setattr(HOLDER, "k" * 5_000_000, 1)

    with pytest.raises(SizeError, match="a message without its arrays has"):
        strategy.run(step)
    assert not vars(HOLDER)  # there is no warning without a use by the program
    assert 1 == strategy.run(identity, args=(1,))
