"""A program changed by a fix runs without an error, and gives the value in the text of the fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import varsim as tf
from docs.error_page import EXAMPLES, said
from varsim.errors import MAX_FIXES, Fix, MismatchError, PerReplicaError, VariableError, VarsimError
from varsim.spec import Operation, VariableAggregation, VariableSynchronization

WRITES = (Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB)
SETTINGS = [(one, other) for one in VariableSynchronization for other in VariableAggregation]


pytestmark = pytest.mark.usefixtures("quiet")


@dataclass(frozen=True)
class New:
    """The arguments with which a program creates a variable."""

    synchronization: Any = VariableSynchronization.AUTO
    aggregation: Any = VariableAggregation.NONE
    dtype: str = "float32"
    start: Any = 10.0
    shape: Any = None
    replicas: int = 2
    strict: bool = False

    def made(self) -> tuple[Any, Any]:
        devices = [f"cpu:{i}" for i in range(self.replicas)]
        strategy = tf.distribute.MirroredStrategy(devices, strict=self.strict)
        with strategy.scope():
            v = tf.Variable(
                np.asarray(self.start).astype(self.dtype),
                shape=self.shape,
                name="v",
                synchronization=self.synchronization,
                aggregation=self.aggregation,
            )
        return strategy, v

    def after(self, change: str) -> New:
        """Return these arguments after a fix that changes the settings or the dtype."""
        found = re.match(r"(synchronization|aggregation|dtype)=(\w+)", change)
        if found is None:
            return self
        what, name = found.groups()
        kinds = {"synchronization": VariableSynchronization, "aggregation": VariableAggregation}
        return replace(self, **{what: kinds[what][name] if what in kinds else name})


def mine() -> int:
    return int(tf.distribute.get_replica_context().replica_id_in_sync_group)


def raised(act: Callable[[], Any], kind: type[VarsimError] = VariableError) -> Any:
    with pytest.raises(kind) as caught:
        act()
    error = caught.value
    assert len(error.fixes) <= MAX_FIXES
    assert all(f"\n  - {fix}" in str(error) for fix in error.fixes)
    return error


def is_given(fix: Fix, got: Any) -> None:
    """Check that a value equals the value that the text of a fix names."""
    np.testing.assert_array_equal(fix.value, np.asarray(got))
    assert fix.value.dtype == np.asarray(got).dtype


# ---------------------------------------------------------------- cross-replica refusals


def trained(new: New) -> tuple[Any, Any]:
    """Return a variable to which every replica has added a different number."""
    strategy, v = new.made()
    strategy.run(lambda: v.assign_add(float(mine() + 3), read_value=False))
    return strategy, v


def outside(v: Any, operation: Operation) -> Any:
    return v.read_value() if operation is Operation.READ else getattr(v, operation.value)(5.0)


def applied(new: New, operation: Operation, fix: Fix) -> Any:
    """Return the result of a program after a fix: other code, or another setting."""
    changed = new.after(fix.change)
    strategy, v = trained(changed)
    names = {"v": v, "strategy": strategy}
    if changed != new:
        outside(v, operation)
        return v.read_value()
    code, inside, _ = fix.change.partition(" inside strategy.run")
    result = strategy.run(lambda: eval(code, names)) if inside else eval(code, names)
    if code.startswith("strategy."):
        return np.stack(result) if isinstance(result, tuple) else result
    looks = "read_value=False" in code
    return np.stack([part.numpy() for part in v.values]) if looks else v.read_value()


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("operation", [Operation.READ, *WRITES])
@pytest.mark.parametrize(("synchronization", "aggregation"), SETTINGS)
def test_fixes_of_a_refused_cross_replica_operation_give_their_values(
    synchronization, aggregation, operation, replicas
):
    new = New(synchronization, aggregation, replicas=replicas)
    _, v = trained(new)
    try:
        outside(v, operation)
    except VariableError as error:
        fixes = error.fixes
    else:
        return

    assert len(fixes) >= 2
    for fix in fixes:
        got = applied(new, operation, fix)
        if fix.value is not None:
            is_given(fix, got)


@pytest.mark.parametrize(
    ("synchronization", "aggregation", "operation"),
    [("ON_READ", "NONE", "read"), ("ON_READ", "SUM", "assign_add"), ("NONE", "SUM", "read")],
)
def test_each_refused_operation_names_variable_and_location(
    synchronization, aggregation, operation
):
    """The previous test would also pass if no operation were refused."""
    new = New(VariableSynchronization[synchronization], VariableAggregation[aggregation])
    _, v = trained(new)

    error = raised(lambda: outside(v, Operation(operation)))
    assert "v" == error.variable
    assert re.search(r"test_fixes\.py:\d+$", error.location)
    assert f"variable 'v' at {error.location}: " in str(error)


def test_the_error_of_a_refusal_has_all_replicas_values():
    new = New(VariableSynchronization.ON_READ, start=0.0)
    _, v = trained(new)

    lines = str(raised(v.read_value)).splitlines()[1:]
    assert [
        "  - aggregation=SUM: reads 7.0",
        "  - aggregation=MEAN: reads 3.5",
        "  - aggregation=ONLY_FIRST_REPLICA: reads 3.0",
        "  - strategy.experimental_local_results(v): gives (3.0, 4.0)",
    ] == lines


def test_components_with_synchronization_none_are_not_fetched_for_an_error():
    strategy, v = trained(New(VariableSynchronization.NONE, VariableAggregation.SUM))
    before = strategy.statistics()[0].messages

    raised(v.read_value)
    assert before == strategy.statistics()[0].messages


def test_a_large_value_is_not_fetched_for_an_error():
    new = New(VariableSynchronization.ON_READ, start=np.zeros(1000))
    strategy, v = new.made()
    strategy.run(lambda: v.assign_add(np.ones(1000, np.float32), read_value=False))
    before = strategy.statistics()[0].messages

    fixes = raised(v.read_value).fixes
    assert before == strategy.statistics()[0].messages
    assert [None] * len(fixes) == [fix.value for fix in fixes]


@pytest.mark.parametrize("aggregation", ["NONE", "SUM"])
@pytest.mark.parametrize("operation", [Operation.READ, *WRITES])
def test_the_fixes_for_a_bool_are_legal(aggregation, operation):
    new = New(VariableSynchronization.ON_READ, VariableAggregation[aggregation], "bool", start=True)

    def act(changed: New) -> Any:
        _, v = changed.made()
        return (
            v.read_value()
            if operation is Operation.READ
            else getattr(v, operation.value)(True).read_value()
        )

    for fix in raised(lambda: act(new)).fixes:
        changed = new.after(fix.change)
        if changed != new and changed.dtype == "bool":
            is_given(fix, act(changed))


# ---------------------------------------------------------------- creation


@pytest.mark.parametrize(
    "new",
    [
        New(kind, VariableAggregation.MEAN, dtype, start=1, replicas=3)
        for kind in VariableSynchronization
        for dtype in ("int32", "bool")
    ]
    + [New(VariableSynchronization.NONE, kind, strict=True) for kind in VariableAggregation],
    ids=str,
)
def test_a_refused_creation_succeeds_with_each_fix(new):
    error = raised(new.made)

    assert "test_fixes.py" in error.location
    assert error.fixes
    for fix in error.fixes:
        _, v = new.after(fix.change).made()
        if fix.value is None:
            assert "every replica keeps its own value" == fix.gives
            raised(v.read_value)
        else:
            is_given(fix, v.read_value())


# ---------------------------------------------------------------- values that do not fit

REFUSED = [
    (New(start=[1.0, 2.0]), 3.0),
    (New(start=[1.0, 2.0, 3.0]), np.float32([[1.0], [2.0], [3.0]])),
    (New(start=[1.0, 2.0]), np.array([3, 4])),
    (New(start=1, dtype="int32"), 2.5),
    (New(start=1, dtype="int8"), 300),
    (New(start=1, dtype="int32"), np.float32(-2.75)),
    (New(start=1.0), np.array(2.5)),
    (New(start=True, dtype="bool"), 1.0),
]


def changed_by(operation: Operation, before: Any, after: Any) -> Any:
    """Return the value that a write added, subtracted or assigned."""
    match operation:
        case Operation.ASSIGN_ADD:
            return after - before
        case Operation.ASSIGN_SUB:
            return before - after
    return after


def written(new: New, operation: Operation, value: Any, *, inside: bool) -> Any:
    strategy, v = new.made()
    before = v.read_value()
    write = getattr(v, operation.value)
    if inside:
        strategy.run(lambda: write(value, read_value=False))
    else:
        write(value)
    return changed_by(operation, before, v.read_value())


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("aggregation", ["SUM", "MEAN", "ONLY_FIRST_REPLICA"])
@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize(("new", "value"), REFUSED, ids=str)
def test_a_refused_value_can_be_written_with_each_fix(new, value, operation, aggregation, inside):
    new = replace(new, aggregation=VariableAggregation[aggregation])
    if aggregation == "MEAN" and new.dtype != "float32":
        return
    error = raised(lambda: written(new, operation, value, inside=inside))

    assert "test_fixes.py" in error.location
    assert error.fixes or new.dtype == "bool"
    for fix in error.fixes:
        changed = new.after(fix.change)
        code = "value" if changed != new else fix.change
        fit = eval(code, {"np": np, "value": value})
        is_given(fix, written(changed, operation, fit, inside=inside))


@pytest.mark.parametrize("aggregation", ["SUM", "MEAN", "ONLY_FIRST_REPLICA"])
def test_a_refused_per_replica_value_can_be_assigned_in_the_replicas(aggregation):
    new = New(VariableSynchronization.ON_READ, VariableAggregation[aggregation])
    strategy, v = new.made()
    value = tf.distribute.PerReplica([3.0, 4.0])

    (fix,) = raised(lambda: v.assign(value), PerReplicaError).fixes
    eval(fix.change, {"strategy": strategy, "v": v, "value": value})
    is_given(fix, v.read_value())


# ---------------------------------------------------------------- replicas that do not agree


def together(new: New, operations: list[Operation], values: list[Any]) -> Any:
    """Return by how much a step changes a variable; each replica has its own operation."""
    strategy, v = new.made()
    before = v.read_value()
    strategy.run(lambda: getattr(v, operations[mine()].value)(values[mine()], read_value=False))
    return changed_by(operations[0], before, v.read_value())


@pytest.mark.parametrize("aggregation", ["SUM", "MEAN", "ONLY_FIRST_REPLICA"])
@pytest.mark.parametrize("second", [Operation.ASSIGN, Operation.ASSIGN_SUB])
def test_the_fix_of_different_operations_gives_its_value(second, aggregation):
    new = New(aggregation=VariableAggregation[aggregation])
    operations, values = [Operation.ASSIGN_ADD, second], [3.0, 4.0]
    error = raised(lambda: together(new, operations, values), MismatchError)

    assert ["assign_add", second.value] == [
        fix.change.removeprefix("v.").removesuffix(" on every replica") for fix in error.fixes[:2]
    ]
    for fix, operation in zip(error.fixes, operations, strict=False):
        is_given(fix, together(new, [operation] * 2, values))
    (free,) = error.fixes[2:]
    together(new.after(free.change), operations, values)


def test_a_mismatch_of_large_values_shows_fixes_without_values():
    new = New(aggregation=VariableAggregation.MEAN, start=np.zeros(1000))
    values = [np.ones(1000, np.float32)] * 2

    fixes = raised(lambda: together(new, [*WRITES[:2]], values), MismatchError).fixes
    assert [None] * 3 == [fix.value for fix in fixes]
    assert "v.assign on every replica: assigns the mean of the replicas' values" == str(fixes[0])


def test_the_fix_of_different_shapes_is_legal():
    new = New(aggregation=VariableAggregation.SUM, start=[0.0], shape=[None])
    values = [np.float32([1, 2]), np.float32([1, 2, 3])]

    def act(changed: New) -> Any:
        return together(changed, [Operation.ASSIGN] * 2, values)

    fixes = raised(lambda: act(new), MismatchError).fixes
    assert ["aggregation=ONLY_FIRST_REPLICA"] == [fix.change for fix in fixes]
    is_given(fixes[0], act(new.after(fixes[0].change)))


@pytest.mark.parametrize("kinds", [(np.float32, np.float32), (np.float32, np.int32)])
def test_the_fix_of_different_reductions_gives_its_value(kinds):
    strategy, _ = New().made()
    values = [kind(3 + i) for i, kind in enumerate(kinds)]

    def act(ops: list[str], given: list[Any]) -> Any:
        def step() -> Any:
            return tf.distribute.get_replica_context().all_reduce(ops[mine()], given[mine()])

        return strategy.experimental_local_results(strategy.run(step))[0]

    ops = ["SUM", "SUM"] if kinds[0] is not kinds[1] else ["SUM", "MEAN"]
    fixes = raised(lambda: act(ops, values), MismatchError).fixes
    assert len(set(ops)) == len(fixes)
    for fix in fixes:
        op, dtype = re.match(r"all_reduce\((\w+)\)(?: of (\w+))? on every", fix.change).groups()
        is_given(fix, act([op] * 2, [np.asarray(x, dtype) for x in values]))


# ---------------------------------------------------------------- copies that diverge


@pytest.mark.parametrize("operation", WRITES)
def test_the_warning_of_diverged_copies_has_the_values_of_other_settings(operation):
    new = New(replicas=2)
    strategy, v = new.made()
    with pytest.warns(tf.VarsimWarning, match="components diverge") as caught:
        strategy.run(lambda: getattr(v, operation.value)(3.0, read_value=False))

    lines = str(caught[0].message).splitlines()[1:]
    assert 4 == len(lines)
    for line in lines[:3]:
        change, gives = line.removeprefix("  - ").split(": ")
        got = together(new.after(change), [operation] * 2, [3.0, 3.0])
        assert f" {got}" in gives.replace("replica 0's", "")
    assert "synchronization=ON_READ" in lines[3]


# ---------------------------------------------------------------- the documented errors


def test_the_document_of_errors_shows_every_error_of_a_variable():
    shown = {said(example)[0] for example in EXAMPLES}

    assert {kind.__name__ for kind in everything_below(VariableError)} <= shown


def everything_below(kind: type) -> Iterator[type]:
    below: type
    for below in kind.__subclasses__():
        if below.__module__ == kind.__module__:
            yield below
            yield from everything_below(below)


@pytest.mark.parametrize("dtype", ["int8", "bool"])
def test_fixes_for_large_values_have_no_numbers(dtype):
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    with strategy.scope(), pytest.raises(VariableError) as caught:
        tf.Variable(np.zeros(20_000, dtype), aggregation=VariableAggregation.MEAN)
    assert caught.value.fixes
    assert all(fix.value is None for fix in caught.value.fixes)
