"""Legal operations that are probably mistakes cause one warning, with variable and location."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

import varsim as tf
from tests.distribute.programs import components, create_variable
from tests.replica_context import replica_id


def here(offset=0):
    return inspect.currentframe().f_back.f_lineno + offset  # type: ignore[union-attr]


def warned_at(warning):
    return warning.filename.rpartition("/")[2], warning.lineno


def test_synchronization_none_warns_once_for_each_variable_with_its_location(strategy):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with strategy.scope():
            line = here(1)
            state = tf.Variable(0.0, synchronization=tf.VariableSynchronization.NONE, name="state")
        state.assign(1.0)
        strategy.run(lambda: state.assign(float(replica_id())) and None)

    (warning,) = caught
    assert issubclass(warning.category, tf.VarsimWarning)
    assert ("test_warnings.py", line) == warned_at(warning)
    text = str(warning.message)
    for part in (
        "'state'",
        "experimental_local_results",
        "strategy.reduce",
        "must handle the components itself",
    ):
        assert part in text


def test_a_strict_strategy_raises_an_error_instead_of_a_warning(simulated):
    strategy = tf.distribute.MirroredStrategy(["cpu:0"], strict=True)

    with pytest.raises(ValueError, match="strict"):
        create_variable(strategy, 0.0, "NONE")


def test_the_error_for_a_read_with_synchronization_none_names_alternatives(strategy):
    with pytest.warns(tf.VarsimWarning):
        state = create_variable(strategy, 1.0, "NONE")

    with pytest.raises(ValueError, match="experimental_local_results") as caught:
        state.numpy()
    assert "strategy.reduce" in str(caught.value)
    assert [1.0, 1.0] == components(state)
    assert 2.0 == strategy.reduce("SUM", state, axis=None)


def diverging_copies(strategy):
    v = create_variable(strategy, 0.0, "ON_WRITE", "NONE", name="diverged")

    def step():
        v.assign_add(np.float32(replica_id()))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        strategy.run(step)
        strategy.run(step)
    assert [0.0, 2.0] == components(v)
    return caught, step.__code__.co_firstlineno + 1


def test_the_warning_of_diverging_copies_has_name_and_location(strategy):
    caught, line = diverging_copies(strategy)

    assert ("test_warnings.py", line) == warned_at(caught[0])
    assert "'diverged': assign_add in replica context" in str(caught[0].message)


def test_diverging_copies_cause_one_warning(strategy):
    caught, _ = diverging_copies(strategy)

    assert 1 == len(caught)


def test_a_truncated_integer_share_causes_a_warning(strategy):
    total = create_variable(strategy, 0, "ON_READ", "SUM", name="seen")

    with pytest.warns(tf.VarsimWarning, match="'seen'.*loses its remainder") as caught:
        total.assign(7)
    assert ("test_warnings.py", here(-1)) == warned_at(caught[0])
    assert 6 == total.numpy()


def test_an_exact_integer_share_causes_no_warning(strategy):
    total = create_variable(strategy, 0, "ON_READ", "SUM")

    assert 8 == total.assign(8).numpy()
    assert 7.0 == create_variable(strategy, 0.0, "ON_READ", "SUM").assign(7.0).numpy()


def test_ordinary_use_causes_no_warnings(strategy):
    """Warnings are errors in these tests, so any warning fails this test."""
    for synchronization, aggregation in (
        ("ON_WRITE", "SUM"),
        ("ON_READ", "MEAN"),
        ("AUTO", "NONE"),
    ):
        v = create_variable(strategy, 1.0, synchronization, aggregation)
        v.assign(2.0)
        strategy.run(lambda v=v: v.read_value())
