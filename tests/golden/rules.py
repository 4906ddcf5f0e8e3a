"""Classifies cases as same, different on purpose by a rule, or not yet supported.

The rules have the numbers of docs/semantics.md. Whether a rule applies
depends only on the program of the case. The expected outcome then comes from `expect`,
`expect_python` or `expect_numerics`, and varsim's outcome must equal the expected outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from tests.golden.compare import OutcomeDifference, differences, same_value
from tests.golden.expect_numerics import folds_left, is_near
from tests.golden.expect_operations import expected
from tests.golden.expect_python import RULES
from tests.golden.recorded import Case, CaseOutcome, Json, of_workers
from tests.golden.shim import NOT_OFFERED


class CaseClass(Enum):
    """How varsim's outcome of a case relates to TensorFlow's."""

    SAME = "same"
    ON_PURPOSE = "different on purpose"
    NOT_YET = "not yet"
    UNEXPLAINED = "UNEXPLAINED"


STATEMENTS = {
    "D1": "synchronization NONE is local state",
    "D2": "each replica's value is its contribution, even if objects are identical",
    "D3": "replicas that do different operations get an error",
    "D4": "an operation happens on all replicas or on none; an exception stops no other replica",
    "D5": "a refused write to ON_READ + NONE changes nothing",
    "D6": "assign returns the variable",
    "D7": "values are converted to the variable's dtype directly",
    "D8": "a sum is a left fold in replica order, a mean is this sum divided by N",
    "D9": "a PerReplica of the wrong length is refused",
    "D10": "a diverged mirrored variable reads as component 0",
    "D11": "ONLY_FIRST_REPLICA crosses processes; workers that write different values get an error",
    "D12": "slice assignment of a distributed variable is refused",
    "D13": "float, len and bool behave as for arrays",
    "D15": "reductions have more operations than SUM and MEAN",
    "D16": "a scheduled function is not traced: it can be any function, and fails on its worker",
    "D17": "reduce and update refuse the variables and the values of another strategy",
}


@dataclass(frozen=True, slots=True)
class Classification:
    """The class of a case, and the reasons."""

    kind: CaseClass
    rules: frozenset[str] = frozenset()
    why: tuple[str, ...] = ()  # unsupported features, or differences that no rule explains


def classify(case: Case, ours: CaseOutcome) -> Classification:
    """Return the class of a case; `ours` is the outcome of its program in varsim."""
    missing = not_offered(case)
    if missing:
        return Classification(CaseClass.NOT_YET, why=(missing,))
    if ours.workers:
        return _together(
            [classify(*both) for both in zip(of_workers(case), ours.workers, strict=True)]
        )
    found = differences(case.recorded, ours)
    if not found:
        return Classification(CaseClass.SAME)
    check = _by_operations if not case.is_python else _by_text
    rules, unexplained = check(case, ours, found)
    if unexplained:
        return Classification(CaseClass.UNEXPLAINED, frozenset(rules), tuple(unexplained))
    return Classification(CaseClass.ON_PURPOSE, frozenset(rules))


def _together(workers: list[Classification]) -> Classification:
    """Return the class of a case, given the classes of what each worker saw."""
    kinds = {one.kind for one in workers}
    order = (CaseClass.UNEXPLAINED, CaseClass.ON_PURPOSE, CaseClass.SAME)
    rules = frozenset().union(*(one.rules for one in workers))
    why = [f"worker {i}: {text}" for i, one in enumerate(workers) for text in one.why]
    return Classification(next(kind for kind in order if kind in kinds), rules, tuple(why))


def not_offered(case: Case) -> str:
    """Return the feature of a program that varsim does not support yet, or an empty text."""
    return next((what for text, what in NOT_OFFERED.items() if text in case.text), "")


# ---------------------------------------------------------------- programs of operations


def _by_operations(
    case: Case, ours: CaseOutcome, found: list[OutcomeDifference]
) -> tuple[set[str], list[str]]:
    """Return the rules that explain differences, and texts of unexplained differences."""
    wanted = expected(case)
    beside = CaseOutcome(
        error=ours.error,
        state={key: ours.state[key] for key in wanted.state if key in ours.state},
        returned=None if _last_writes(case) else ours.returned,
    )
    unexplained = [
        f"the rules require another outcome: {one}" for one in differences(wanted, beside)
    ]
    if _last_writes(case) and ours.error is None and ours.returned["type"] not in ITSELF:
        unexplained.append(f"D6 does not allow a write to return {ours.returned}")
    rules: set[str] = set()
    for difference in found:
        if _last_writes(case) and difference.aspect == "returned":
            if _has_new_state(case, ours) or _is_variable(difference, ours):
                rules.add("D6")
            else:
                unexplained.append(f"D6 does not explain {difference}")
            continue
        if regroups(case) and (
            _is_regrouped_by_value(difference, case) or _is_kept_as_a_tensor_is(difference, case)
        ):
            rules.add("D2")
            continue
        reasons = {rule for rule, holds in OPERATIONS.items() if holds(case)}
        if (
            difference.aspect == "after" and len(found) == 1
        ):  # both raise an error, and either varsim or TensorFlow has written before it
            reasons = reasons & {"D5"} or {"D4"}
        if not reasons:
            unexplained.append(f"no rule for {difference}")
        rules |= reasons
    return rules, unexplained


ITSELF = frozenset({"self", "component"})
"""The description of the program's variable, and of one of its components, in the recording."""


def _has_new_state(case: Case, ours: CaseOutcome) -> bool:
    """Return whether the state, and so the returned value, differs from TensorFlow's."""
    return not all(
        same_value(case.recorded.state.get(key), ours.state.get(key))
        for key in ("per_replica", "cross_read")
    )


def _last_writes(case: Case) -> bool:
    return any(
        name in str(part) for part in case.program[-1][1:2] for name in ("assign", "scatter")
    )


def _entries(case: Case) -> list[tuple[str, str, str]]:
    """Return where, how and with what kind of value a program writes."""
    return [
        (where, rest[0], next(iter(rest[1])))
        for where, *rest in case.program
        if len(rest) == 2 and isinstance(rest[1], dict)
    ]


OWN = ("per_replica_tensor", "fresh_tensor", "per_replica_slices")
"""The kinds of values that are a separate tensor on each replica."""


def _creates_local_state(case: Case) -> bool:
    return case.is_mirrored and case.synchronization == "NONE"


def _merges_values_that_are_not_own_tensors(case: Case) -> bool:
    """Return whether replicas merge values that are not separate tensors of each replica."""
    mirrored = case.synchronization in ("AUTO", "ON_WRITE") and case.aggregation != "NONE"
    if case.is_central:
        return case.aggregation != "NONE" and any(
            where == "replica" and method.startswith("assign") and kind not in OWN
            for where, method, kind in _entries(case)
        )
    return case.is_mirrored and any(
        (where == "replica" and mirrored and kind not in OWN)
        or (where == "merge" and kind == "shared_tensor" and case.synchronization == "ON_READ")
        for where, _, kind in _entries(case)
    )


def _reads_the_mean_of_one_worker(case: Case) -> bool:
    """Return whether the only worker reads a mean; TensorFlow then returns the component itself."""
    settings = case.synchronization, case.aggregation
    reads = case.program[-1][0] == "read"
    return case.is_multi_worker and case.world == 1 and reads and settings == ("ON_READ", "MEAN")


def regroups(case: Case) -> bool:
    """Return whether the last reads of the program give one value per replica or component."""
    if case.world == 1 or case.is_multi_worker or case.program[-1][0] != "read":
        return False
    contexts = ("replica", "merge") if case.is_central else ("replica", "merge", "update")
    return (case.is_mirrored or case.is_central) and case.program[-1][1] in contexts


def _writes_across(case: Case, aggregation: str) -> bool:
    return (
        case.is_mirrored
        and (case.synchronization, case.aggregation) == ("ON_READ", aggregation)
        and any(where in ("cross", "outside", "merge") for where, _, _ in _entries(case))
    )


def _differs_between_workers(case: Case) -> bool:
    """Return whether workers have different values where all of them need one value."""
    return case.is_multi_worker and any(
        kind.startswith("per_replica")
        and (where == "merge" or case.aggregation == "ONLY_FIRST_REPLICA")
        for where, _, kind in _entries(case)
    )


def _reads_under_a_device(case: Case) -> bool:
    return any(entry[0] == "read" and entry[1].startswith("device:") for entry in case.program)


OPERATIONS: dict[str, Callable[[Case], bool]] = {
    "D1": _creates_local_state,
    "D2": lambda case: (
        _merges_values_that_are_not_own_tensors(case) or _reads_the_mean_of_one_worker(case)
    ),
    "D5": lambda case: _writes_across(case, "NONE"),
    "D7": lambda case: _writes_across(case, "SUM"),
    "D10": _reads_under_a_device,
    "D11": _differs_between_workers,
}
"""Rule → whether it can apply to a program of operations. D4 and D6 can apply to any program."""


# ---------------------------------------------------------------- programs of Python


def _by_text(
    case: Case, ours: CaseOutcome, found: list[OutcomeDifference]
) -> tuple[set[str], list[str]]:
    """Return the rules that explain differences of a Python program, and the other differences."""
    for rule, makes in [*RULES, ("D8", folds_left)]:
        wanted = makes(case)
        if wanted is None:
            continue
        unexplained = [f"by {rule} the outcome differs: {one}" for one in differences(wanted, ours)]
        if rule == "D8" and not is_near(case, wanted):
            unexplained.append("TensorFlow's result differs by more than rounding")
        return {rule}, unexplained
    rules: set[str] = set()
    unexplained = []
    for difference in found:
        if ".assign" in case.text and _is_variable(difference, ours):
            rules.add("D6")
        elif case.is_mirrored and (
            _is_regrouped_by_value(difference, case)
            or _is_value_of_live_component(difference, case, ours)
        ):
            rules.add("D2")
        else:
            unexplained.append(f"no rule for {difference}")
    return rules, unexplained


def _is_variable(difference: OutcomeDifference, ours: CaseOutcome) -> bool:
    """Return True if D6 explains a difference: varsim has a variable, and TensorFlow a tensor."""
    if difference.aspect != "returned":
        return False
    each = ours.state.get("per_replica")
    match difference.ours:
        case {"type": "self"}:
            values = [
                each,
                ours.state["cross_read"],
                each[0],
            ]  # a tf.function returns the last value
            return any(_is_new_value(difference.theirs, value) for value in values)
        case {"type": "component", "index": index}:
            return _is_new_value(difference.theirs, each[index])
        case {"type": "ResourceVariable", "value": value}:
            return _is_new_value(difference.theirs, value)
    return False


def _is_new_value(theirs: Json, value: Json) -> bool:
    match theirs:
        case {"type": "PerReplica" | "Mirrored", "values": members}:
            values = value if isinstance(value, list) else [value] * len(members)
            if len(values) == 1:  # the variable has one copy
                values = values * len(members)
            return len(values) == len(members) and all(map(_is_new_value, members, values))
        case {"type": "Tensor" | "_UnreadVariable", "value": new}:
            return same_value(new, value)
    return False


def _is_regrouped_by_value(difference: OutcomeDifference, case: Case) -> bool:
    """Return whether D2 explains a difference: results become a PerReplica by value, not identity.

    Arrays always become a PerReplica, even if they are the same object. Equal plain Python values
    become one value, even if they are different objects.
    """
    theirs, ours = difference.theirs, difference.ours
    world = case.world
    if difference.aspect != "returned":
        return False
    match theirs, ours:
        case {"type": "Tensor" | "numpy"}, {"type": "PerReplica" | "Mirrored", "values": values}:
            return same_value([theirs] * world, values)
        case {"type": "PerReplica", "values": values}, {"type": "str"}:
            return same_value(values, [ours] * world)
        case {"value": "EagerTensor"}, {
            "value": "PerReplica"
        }:  # arguments of merge_call's function
            return "merge_call(" in case.text and "args=(t,)" in case.text
    return False


def _is_value_of_live_component(
    difference: OutcomeDifference, case: Case, ours: CaseOutcome
) -> bool:
    """Return whether D2 explains a difference: a mean of one value is a value, not the variable.

    With a single worker, TensorFlow returns the object itself, which is the only component.
    """
    is_mean = case.aggregation == "MEAN" or "s.reduce(R.MEAN, v" in case.text
    if not (case.is_multi_worker and case.world == 1 and is_mean and "per_replica" in ours.state):
        return False
    (component,) = ours.state["per_replica"]
    match difference.theirs, difference.ours:
        case {"type": "component" | "self"}, {"type": "Tensor", "value": value}:
            return difference.aspect == "returned" and same_value(component, value)
    return False


def _is_kept_as_a_tensor_is(difference: OutcomeDifference, case: Case) -> bool:
    """Return whether D2 explains a difference: an update returns NumPy values only in varsim."""
    return (
        difference.path == ("numpy",)
        and case.program[-1][:2] == ["read", "update"]
        and difference.theirs == {"type": "None"}
        and same_value(case.recorded.returned["read_value"], difference.ours)
    )
