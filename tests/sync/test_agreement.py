"""The operations of all workers become one operation, or an error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varsim.errors import DisagreementError, MismatchError, NoValueError
from varsim.spec import (
    Operation,
    Rows,
    VariableAggregation,
    VariableSpec,
    VariableSynchronization,
)
from varsim.sync.agreement import Asked, agreed, is_same, name_of
from varsim.sync.coordinator_events import (
    ProgramAssignComponents,
    ProgramOperation,
    ProgramPull,
    ProgramPush,
    ProgramRead,
    ProgramScatter,
    ProgramWrite,
)

SPEC = VariableSpec(
    variable_id=7,
    name="v",
    shape=(),
    dtype=np.dtype(np.float32),
    requested=VariableSynchronization.AUTO,
    synchronization=VariableSynchronization.ON_WRITE,
    aggregation=VariableAggregation.SUM,
    trainable=True,
    created_at="train.py:3",
)
ROWS = Rows(np.array([0]), np.array([1.0], np.float32))


def asked(*events: ProgramOperation) -> list[Asked]:
    return [Asked(i, SPEC, event, f"train.py:{10 + i}") for i, event in enumerate(events)]


def write(*values: float, per_replica: str = "", **others: object) -> ProgramWrite:
    arrays = tuple(np.float32(value)[...] for value in values)
    event = ProgramWrite(7, Operation.ASSIGN, arrays, per_replica, location="train.py:1")
    return replace(event, **others)  # type: ignore[arg-type]  # any field


def test_equal_writes_become_one():
    """Locations can differ."""
    event = agreed(asked(write(2.0), write(2.0, location="train.py:2"), write(2.0)))

    assert isinstance(event, ProgramWrite)
    assert [2.0] == [float(value) for value in event.values]


def test_per_replica_values_are_put_together_in_replica_order():
    event = agreed(
        asked(write(2.0, per_replica="PerReplica"), write(3.0, per_replica="PerReplica"))
    )
    scatter = ProgramScatter(7, Operation.SCATTER_ADD, (ROWS,), "PerReplica")
    rows = agreed(asked(scatter, scatter))

    assert isinstance(event, ProgramWrite)
    assert ([2.0, 3.0], "PerReplica") == ([float(x) for x in event.values], event.per_replica)
    assert isinstance(rows, ProgramScatter)
    assert (ROWS, ROWS) == rows.rows


@pytest.mark.parametrize(
    ("events", "text"),
    [
        (
            [write(1.0), write(2.0)],
            "  replica 0: 1.0 at train.py:10\n  replica 1: 2.0 at train.py:11",
        ),
        ([write(1.0), write(1.0, returns_value=True)], "  replica 0: 1.0 at train.py:10"),
        ([write(1.0), write(1.0, per_replica="PerReplica")], "  replica 1: another value at"),
        (
            [
                ProgramScatter(7, Operation.SCATTER_ADD, (ROWS,)),
                ProgramScatter(7, Operation.SCATTER_ADD, (Rows(np.array([1]), ROWS.values),)),
            ],
            "  replica 0: rows [0]: [1.0] at train.py:10\n  replica 1: rows [1]: [1.0] at",
        ),
        (
            [ProgramPush(7, np.ones(1)), ProgramPush(7, np.zeros(1))],
            "variable 'v' at train.py:10: the workers give different values to push",
        ),
        (
            [
                ProgramAssignComponents(7, {0: np.ones(1)}),
                ProgramAssignComponents(7, {0: np.zeros(1)}),
            ],
            "the workers give different values to update",
        ),
    ],
)
def test_different_values_are_refused(events: list[ProgramOperation], text: str):
    with pytest.raises(DisagreementError) as raised:
        agreed(asked(*events))
    assert text in str(raised.value)
    assert "nothing has changed" in str(raised.value)
    assert ("v", "train.py:10") == (raised.value.variable, raised.value.location)


def test_components_of_all_workers_are_one_assignment():
    one, two = np.ones(1), np.zeros(1)
    event = agreed(
        asked(ProgramAssignComponents(7, {1: two}), ProgramAssignComponents(7, {0: one, 1: two}))
    )

    assert isinstance(event, ProgramAssignComponents)
    assert {0: one, 1: two} == event.values


def test_a_value_that_one_worker_cannot_convert_is_the_error_of_all():
    problem = NoValueError("v", "a variable cannot hold None")
    event = agreed(asked(write(1.0), write(problem=problem)))

    assert isinstance(event, ProgramWrite)
    assert event.problem is problem


def test_workers_must_mean_the_same_variable():
    first, second = asked(ProgramRead(7), ProgramRead(8))
    other = replace(second, spec=replace(SPEC, variable_id=8, created_at="train.py:4"))

    with pytest.raises(MismatchError) as raised:
        agreed([first, other])
    assert (
        "read of variable 'v': the workers mean different variables with this name\n"
        "  replica 0: number 1 of 2 variables with this name, created at train.py:3; used at "
        "train.py:10\n"
        "  replica 1: number 2 of 2 variables with this name, created at train.py:4; used at "
        "train.py:11\n"
    ) in str(raised.value)


def test_operations_have_names():
    assert "assign of variable 'v'" == name_of(write(1.0), "v")
    assert "pull of variable 'v'" == name_of(ProgramPull(7), "v")


@given(st.lists(st.floats(width=32), min_size=1, max_size=4), st.data())
def test_agreement_is_bit_for_bit(values: list[float], data: st.DataObject):
    """Writes agree exactly if all bytes are equal, so -0.0 is not 0.0, and NaN is NaN."""
    others = data.draw(st.one_of(st.just(values), st.lists(st.floats(width=32), max_size=4)))
    one, other = np.array(values, np.float32), np.array(others, np.float32)
    same = (one.shape, one.tobytes()) == (other.shape, other.tobytes())

    assert same == is_same([one], (other,))
    events = asked(write(values=(one,)), write(values=(other,)))
    if same:
        assert events[0].event is agreed(events)
    else:
        with pytest.raises(DisagreementError):
            agreed(events)
