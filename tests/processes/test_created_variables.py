"""Variables that a function creates in `strategy.run`, and how long they exist."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import Strategy, location_of
from tests.replica_context import replica_id

pytestmark = pytest.mark.processes

HERE = "tests/processes/test_created_variables.py"

kept: Any = None


class Model:
    kept: Any = None

    def __call__(self) -> float:
        if self.kept is None:
            self.kept = tf.Variable(
                1.0, name="of the model", aggregation=tf.VariableAggregation.MEAN
            )
        return float(self.kept.assign_add(1.0))


def test_a_variable_created_on_replicas_is_shared_by_all(strategy: Strategy) -> None:
    def step() -> tuple[Any, float]:
        made = tf.Variable(
            lambda: float(replica_id() + 5), name="m", aggregation=tf.VariableAggregation.SUM
        )
        return made, float(made.assign_add(1.0))

    made, value = strategy.run(step)
    assert (8.0, 8.0, "m:0") == (value, float(made), made.name)


def _keep(uses: Callable[[Any], Any]) -> Callable[[], Any]:
    """Return a function that creates a variable at its first call and uses it at each call."""

    def step() -> Any:
        global kept  # noqa: PLW0603  # the case under test
        if kept is None:
            kept = tf.Variable([1.0], name="inner", aggregation=tf.VariableAggregation.MEAN)
            return None
        return uses(kept)

    return step


@pytest.mark.parametrize(
    "uses",
    [
        lambda v: float(v[0]),
        lambda v: v.assign_add([1.0]),
        lambda v: v.scatter_add(tf.IndexedSlices(np.float32([1]), [0])),
        lambda v: v.values[replica_id()].read_value(),
        lambda v: v.values[0].assign([1.0]),
        lambda v: copy.copy(v).read_value(),
        repr,
        lambda v: v.update_buffer(),
    ],
)
@pytest.mark.filterwarnings("ignore:global 'kept'")
def test_a_variable_that_only_replicas_keep_ends_with_the_call(
    strategy: Strategy, uses: Callable[[Any], Any]
) -> None:
    step = tf.function(_keep(uses))
    strategy.run(step)
    for _ in range(2):
        with pytest.raises(tf.errors.DroppedVariable) as caught:
            strategy.run(step)
        assert str(caught.value).startswith(f"variable 'inner' at {HERE}:")
        assert "Create it in `with strategy.scope():`" in str(caught.value)


@pytest.mark.filterwarnings("ignore:global 'kept'")
def test_such_a_variable_cannot_be_returned_later(strategy: Strategy) -> None:
    step = tf.function(_keep(lambda v: v))
    strategy.run(step)
    with pytest.raises(tf.errors.DroppedVariable, match="variable 'inner': it does not exist"):
        strategy.run(step)


def test_the_call_that_creates_such_a_variable_warns(strategy: Strategy) -> None:
    model = Model()
    with pytest.warns(tf.VarsimWarning) as caught:
        assert 2.0 == strategy.run(model)
    at = location_of(Model.__call__, "self.kept = tf.Variable")
    assert [
        f"attribute 'self.kept' of the program: a replica changed its own copy at {at}; the "
        "program's attribute did not change\n"
        "  A variable that is created in strategy.run and not returned ends with the call. Create "
        "it in `with strategy.scope():`, and keep it in the program."
    ] == [str(warning.message) for warning in caught]
    with pytest.raises(tf.errors.DroppedVariable, match="variable 'of the model'"):
        strategy.run(model)


def test_an_object_that_a_later_call_changes_causes_one_warning(strategy: Strategy) -> None:
    totals = [0]

    def step(by: int) -> None:
        totals[0] += by

    strategy.run(step, args=(0,))  # changes nothing
    with pytest.warns(tf.VarsimWarning, match="list 'totals' of the program"):
        strategy.run(step, args=(1,))
    strategy.run(step, args=(2,))  # a warning would be an error
    assert [0] == totals


def test_a_variable_that_the_program_keeps_can_be_used_in_later_calls(strategy: Strategy) -> None:
    made = strategy.run(
        lambda: tf.Variable(1.0, name="made", aggregation=tf.VariableAggregation.SUM)
    )
    assert [4.0, 7.0] == [strategy.run(lambda: float(made.assign_add(1.0))) for _ in range(2)]
