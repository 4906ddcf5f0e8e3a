"""LocalSGD in random programs: the invariant in every order of events, and what the judge finds.

`python -m tests.properties.local_sgd_programs` runs 3,000 programs, each in another order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.effort import many
from tests.properties.local_sgd_programs import random_program, record, run, verdicts
from varsim.analysis.outcome import Outcome
from varsim.protocol.messages import Commit
from varsim.spec import SCATTERS, Operation, VariableAggregation
from varsim.sync.actions import Reduce
from varsim.sync.components import Components
from varsim.sync.policies.exchanging import EveryKth, WritesSinceExchange
from varsim.testing.simulation import SimulatedNetwork


def test_components_are_local_between_averages_and_equal_after_each():
    happened: Counter[str] = Counter()
    for seed in range(many(6)):
        try:
            counts, wrong = run(random_program(seed))
        except BaseException as error:
            error.add_note(f"run(random_program({seed}))")
            raise
        happened += counts
        assert [] == wrong, seed

    assert {"averages", "failed calls", "restart", "lose", "join", "absent"} == {*happened}


# ---------------------------------------------------------------- mutants


def averages_all_but_the_last(network: Any, request: Reduce, now_s: float) -> Any:
    if request.operation is Operation.ASSIGN:
        first, *others = request.operands
        request = replace(request, operands=[first, *others[:-1], first])
    return RIGHT[SimulatedNetwork, "reduce"](network, request, now_s)


def adds_components(network: Any, request: Reduce, now_s: float) -> Any:
    if request.operation is Operation.ASSIGN:
        request = replace(request, aggregation=VariableAggregation.SUM)
    return RIGHT[SimulatedNetwork, "reduce"](network, request, now_s)


def averages_one_write_later(cell: Any, *rest: Any) -> Any:
    return RIGHT[EveryKth, "write"](EveryKth(cell.every + 1), *rest)


def averages_at_every_write(cell: Any, *rest: Any) -> Any:
    return RIGHT[EveryKth, "write"](EveryKth(1), *rest)


def counts_no_sparse_write(
    cell: Any, replica: Any, variable: Any, operation: Operation, operand: Any, location: str
) -> Any:
    if operation in SCATTERS and not replica.owes_merge(variable):
        replica.write_locally(variable, operation, operand)
        return ()
    return RIGHT[EveryKth, "write"](cell, replica, variable, operation, operand, location)


def contributes_another_value(cell: Any, replica: Any, variable: Any, location: str) -> None:
    replica.contribute(variable, np.asarray(variable.component() + 1), location)


def one_replica_stores_no_average(components: Any, commit: Commit) -> None:
    if components.replica_id == 1 and commit.call_id > 0 and commit.operation is Operation.ASSIGN:
        commit = replace(commit, value=np.asarray(commit.value + 1))
    RIGHT[Components, "commit"](components, commit)


def starts_again(*_: Any) -> Any:
    """Count from 0, where the policy goes on counting."""
    return ()


def goes_on_after_a_failure(rule: Any, state: Any, version: int) -> Any:
    return state


def starts_again_after_a_restart(components: Any, message: Any) -> None:
    """Do not store the number of writes that the program has sent."""


LONG = "a count that ends with a write of the program"
"""A mutant that only some programs show."""


MUTANTS: dict[str, tuple[type, str, Callable[..., Any], str]] = {
    "an average without one replica": (
        SimulatedNetwork,
        "reduce",
        averages_all_but_the_last,
        "reduction",
    ),
    "a sum instead of an average": (SimulatedNetwork, "reduce", adds_components, "reduction"),
    "an average one write later": (EveryKth, "write", averages_one_write_later, "averaging"),
    "an average at every write": (EveryKth, "write", averages_at_every_write, "averaging"),
    "a sparse write that is not counted": (EveryKth, "write", counts_no_sparse_write, "averaging"),
    "another value than the component": (
        EveryKth,
        "contribute",
        contributes_another_value,
        "averaging",
    ),
    "a replica without the average": (
        Components,
        "commit",
        one_replica_stores_no_average,
        "averaging",
    ),
    LONG: (
        WritesSinceExchange,
        "after_overwrite",
        starts_again,
        "averaging",
    ),
    "a count that goes on after a failed call": (
        WritesSinceExchange,
        "after_failure",
        goes_on_after_a_failure,
        "averaging",
    ),
    "a count that ends with a restart": (
        Components,
        "set_state",
        starts_again_after_a_restart,
        "averaging",
    ),
}
"""Name of a mutant → the class, its method, the wrong method, and the checker that finds it."""

RIGHT: dict[tuple[type, str], Any] = {
    (where, name): getattr(where, name) for where, name, _, _ in MUTANTS.values()
}


@pytest.mark.parametrize(
    "what",
    [pytest.param(one, marks=[pytest.mark.thorough] if one == LONG else []) for one in MUTANTS],
)
def test_the_judge_finds(what, monkeypatch, tmp_path):
    """Within a few programs the record is INVALID; the same programs are VALID otherwise."""
    where, name, wrong, checker = MUTANTS[what]
    monkeypatch.setattr(where, name, wrong)
    for seed in range(60):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with suppress(Exception):  # such as the AssertionError of the model
            record(random_program(seed), folder)
        found = {one.checker for one in verdicts(folder) if one.outcome is Outcome.INVALID}
        if checker in found:
            return
    pytest.fail("the judge does not find the fault")
