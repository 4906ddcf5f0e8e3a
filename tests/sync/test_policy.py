"""The policy table, and the checks at the creation of a variable."""

from __future__ import annotations

import itertools

import pytest

from tests.sync.build import AUTO, FIRST, LOCAL, MEAN, NONE, ON_READ, ON_WRITE, SUM, spec
from varsim.errors import AggregationError, OperationError, SynchronizationError
from varsim.spec import (
    SCATTERS,
    Context,
    CustomSynchronization,
    Operation,
    VariableAggregation,
    VariableSynchronization,
)
from varsim.sync import fixes, policies
from varsim.sync.policies.adaptive import Defer
from varsim.sync.policies.bounded_staleness import BoundedStaleness
from varsim.sync.policies.cells import AtHand, Broadcast, Local, Mirror, Refuse
from varsim.sync.policies.custom import CustomPolicy, register
from varsim.sync.policies.legality import check_arithmetic, check_gather
from varsim.sync.policies.local_only import LOCAL_ONLY
from varsim.sync.policies.local_sgd import LocalSGD
from varsim.sync.policies.on_read import ADDS_TO_SUM, NO_AGGREGATION, Gather
from varsim.sync.policies.on_write import Merge

READ, ASSIGN, ADD, SUB = (
    Operation.READ,
    Operation.ASSIGN,
    Operation.ASSIGN_ADD,
    Operation.ASSIGN_SUB,
)
REPLICA, CROSS, UPDATE = Context


def test_the_table_has_a_cell_for_every_operation_except_create():
    """A variable that is not created yet has no policy."""
    wanted = set(
        itertools.product(VariableSynchronization, Context, set(Operation) - {Operation.CREATE})
    )

    assert wanted == set(policies.TABLE)


def test_a_cell_by_aggregation_has_an_entry_for_each_aggregation():
    cells = [cell for cell in policies.TABLE.values() if isinstance(cell, dict)]

    assert cells
    assert all(set(VariableAggregation) == set(cell) for cell in cells)


@pytest.mark.parametrize(
    ("synchronization", "aggregation", "context", "operation", "expected"),
    [
        (ON_WRITE, NONE, REPLICA, ASSIGN, Local(diverges=True)),
        (ON_WRITE, FIRST, REPLICA, ADD, Merge()),
        (ON_WRITE, NONE, CROSS, READ, Mirror()),
        (ON_WRITE, SUM, CROSS, SUB, Broadcast(per_component=True)),
        (AUTO, NONE, REPLICA, ASSIGN, Local(diverges=True)),
        (AUTO, MEAN, REPLICA, SUB, Defer()),
        (AUTO, SUM, CROSS, READ, Mirror()),
        (ON_READ, SUM, REPLICA, ASSIGN, Local()),
        (ON_READ, FIRST, CROSS, READ, Gather()),
        (ON_READ, NONE, CROSS, READ, Refuse(NO_AGGREGATION)),
        (ON_READ, SUM, CROSS, ASSIGN, Broadcast(shares=True, reads_back=True)),
        (ON_READ, SUM, CROSS, ADD, Refuse(ADDS_TO_SUM)),
        (ON_READ, NONE, CROSS, SUB, Broadcast(reads_back=True)),
        (LOCAL, SUM, CROSS, READ, Refuse(LOCAL_ONLY)),
        (LOCAL, SUM, CROSS, ADD, Broadcast(per_component=True)),
        (LOCAL, MEAN, UPDATE, ADD, AtHand()),
    ],
)
def test_the_policy_table_has_the_expected_cells(
    synchronization, aggregation, context, operation, expected
):
    assert expected == policies.cell(spec(aggregation, synchronization), context, operation)


def test_in_replica_context_every_read_is_local():
    for synchronization, operation in itertools.product(VariableSynchronization, Operation):
        for aggregation in VariableAggregation:
            if operation is not Operation.CREATE:
                cell = policies.cell(spec(aggregation, synchronization), REPLICA, operation)
                writes = Local | Merge | Defer
                allowed = writes | Refuse if operation in SCATTERS else writes
                assert isinstance(cell, Local if operation is READ else allowed)


# ---------------------------------------------------------------- creation


def in_force(
    synchronization, aggregation=MEAN, dtype="float32", *, shape=(), strict=False, adaptive=False
):
    asked = spec(aggregation, synchronization, shape=shape, dtype=dtype)
    return policies.resolve(asked, strict=strict, adaptive=adaptive).synchronization


def test_auto_becomes_on_write():
    assert ON_WRITE is in_force(AUTO, strict=True)


def test_adaptive_auto_stays_auto():
    assert AUTO is in_force(AUTO, strict=True, shape=(3,), adaptive=True)


def test_adaptive_auto_with_an_unknown_dimension_becomes_on_write():
    """Values of different shapes have no sum."""
    assert ON_WRITE is in_force(AUTO, SUM, "int32", strict=True, shape=(3, None), adaptive=True)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("synchronization", [ON_WRITE, ON_READ, LOCAL])
def test_explicit_settings_are_kept(synchronization, adaptive):
    assert synchronization is in_force(synchronization, SUM, "int32", adaptive=adaptive)


def test_only_auto_with_an_aggregation_defers_writes():
    deferred = {
        (synchronization, aggregation)
        for synchronization, aggregation in itertools.product(
            VariableSynchronization, VariableAggregation
        )
        if policies.defers(spec(aggregation, synchronization))
    }

    assert {(AUTO, SUM), (AUTO, MEAN), (AUTO, FIRST)} == deferred


def test_a_strict_strategy_refuses_synchronization_none():
    with pytest.raises(SynchronizationError, match=r"'w'.*not supported under a strict"):
        in_force(LOCAL, SUM, strict=True)


@pytest.mark.parametrize("dtype", ["int8", "uint64", "bool"])
@pytest.mark.parametrize("synchronization", [AUTO, ON_READ, LOCAL])
def test_a_mean_of_integers_is_refused(dtype, synchronization):
    with pytest.raises(AggregationError, match=f"MEAN of dtype {dtype}") as caught:
        in_force(synchronization, dtype=dtype)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("dtype", ["float16", "float64", "complex64"])
def test_a_mean_of_floats_is_accepted(dtype):
    assert ON_READ is in_force(ON_READ, dtype=dtype)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (NO_AGGREGATION, AggregationError),
        (ADDS_TO_SUM, OperationError),
        (LOCAL_ONLY, AggregationError),
    ],
)
def test_a_refusal_names_the_variable_and_a_remedy(reason, kind):
    error = fixes.refusal(spec(), reason, ADD if reason is ADDS_TO_SUM else READ)

    assert kind is type(error)
    assert "w" == error.variable
    assert error.problem in str(error)
    assert error.fixes
    assert all(str(fix) in str(error) for fix in error.fixes)
    assert error.definite


def test_the_error_for_a_read_with_synchronization_none_names_three_fixes():
    local = spec(SUM, LOCAL)
    error = fixes.refusal(local, LOCAL_ONLY, READ)

    changes = [fix.change for fix in error.fixes]
    assert "synchronization=ON_READ" == changes[0]
    for way, change in zip(("experimental_local_results", "reduce"), changes[1:], strict=True):
        assert change.startswith(f"strategy.{way}(")


def test_bools_are_assigned_but_not_added():
    flag = spec(FIRST, dtype="bool")
    check_arithmetic(flag, ASSIGN, 4)

    for operation in (ADD, SUB):
        with pytest.raises(OperationError):
            check_arithmetic(flag, operation, 1)


def test_bools_are_summed_over_one_replica_only():
    flag = spec(SUM, dtype="bool")
    check_gather(flag, 1)
    check_arithmetic(flag, ASSIGN, 1)

    with pytest.raises(AggregationError):
        check_gather(flag, 2)
    with pytest.raises(AggregationError):
        check_arithmetic(flag, ASSIGN, 2)


def test_other_dtypes_have_arithmetic():
    for dtype in ("int8", "float16", "complex128"):
        check_arithmetic(spec(SUM, dtype=dtype), ADD, 4)


@pytest.mark.parametrize(
    ("synchronization", "aggregation", "expected"),
    [
        (ON_WRITE, MEAN, True),
        (ON_WRITE, NONE, True),  # the write diverges
        (ON_READ, SUM, False),
        (AUTO, SUM, False),
        (LOCAL, NONE, False),
        (LocalSGD(2), MEAN, True),
        (BoundedStaleness(2), SUM, True),  # although assign is refused
    ],
)
def test_locations_are_found_only_for_writes_that_a_text_can_show(
    synchronization, aggregation, expected
):
    """Finding a location takes as long as a local write."""
    if isinstance(synchronization, CustomPolicy):
        register(synchronization)
        synchronization = CustomSynchronization(synchronization.name)
    assert expected is policies.uses_location(spec(aggregation, synchronization))
