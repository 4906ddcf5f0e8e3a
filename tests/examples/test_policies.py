"""The policies of examples/policies: their invariants, and mutants that the judge finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.effort import many
from tests.examples.policy_programs import PROBLEMS, Program, checked, policy_of, run
from varsim.analysis.outcome import Outcome
from varsim.sync.coordinator_variables import CoordinatorBlock
from varsim.sync.one_sided import OneSided
from varsim.sync.policies.cells import Exchange
from varsim.sync.policies.exchanging import ExchangeEvery


@pytest.mark.parametrize("keyword", PROBLEMS)
def test_the_invariant_holds_in_every_order_of_messages(keyword):
    """`python -m tests.examples.policy_programs` runs 3,000 programs for each."""
    problems = [checked(Program(seed), policy_of(keyword, seed)) for seed in range(many(6))]

    assert [""] * many(6) == problems


@pytest.mark.parametrize("replicas", [2, 3, 4])
def test_gossip_may_round_the_smallest_numbers(replicas):
    """The mean of 1 and 2 times the smallest number is not a float32."""
    program = Program(0)
    smallest = float(np.finfo(np.float32).smallest_subnormal)
    program.replicas, program.start, program.assigned = replicas, 0.0, [None, None]
    program.calls = [[[smallest * (i + add)] for i in range(replicas)] for add in (0, 1)]

    from varsim_gossip import Gossip

    result = run(program, Gossip(1, 1))

    assert [] == result.faults
    assert any(one.any() for one in result.components)


# ---------------------------------------------------------------- mutants


def omits_a_neighbour(cell: Any, spec: Any, components: Any, copy: Any) -> Exchange:
    right = ORIGINAL["gossip"](cell, spec, components, copy)
    return Exchange([components[0], *right.components[1:]])


def averages_all(cell: Any, spec: Any, components: Any, copy: Any) -> Exchange:
    return Exchange([sum(components) / spec.dtype.type(len(components))] * len(components))


def turns_the_ring(cell: Any, spec: Any, components: Any, copy: Any) -> Exchange:
    first, *others = ORIGINAL["gossip"](cell, spec, components, copy).components
    return Exchange([*others, first])


def keeps_the_centre(cell: Any, spec: Any, components: Any, copy: Any) -> Exchange:
    return Exchange(ORIGINAL["elastic_averaging"](cell, spec, components, copy).components, copy)


def leaves_out_a_step(cell: Any, spec: Any, components: Any, copy: Any) -> Exchange:
    right = ORIGINAL["elastic_averaging"](cell, spec, components, copy).components
    less = ORIGINAL["elastic_averaging"](cell, spec, components[:-1], copy).copy
    return Exchange(right, less)


def goes_away_from_the_centre(cell: Any, spec: Any, components: Any, copy: Any) -> Exchange:
    right = ORIGINAL["elastic_averaging"](cell, spec, components, copy)
    wrong = [2 * one - new for one, new in zip(components, right.components, strict=True)]
    return Exchange(wrong, right.copy)


ORIGINAL: dict[str, Any] = {}
"""Keyword → the method `exchanged` of the policy, without a mutation."""

OF_GOSSIP = [omits_a_neighbour, averages_all, turns_the_ring]
OF_CENTRE = [keeps_the_centre, leaves_out_a_step, goes_away_from_the_centre]


EXCHANGING = ["gossip", "elastic_averaging"]


def cell_of(keyword: str) -> type[ExchangeEvery]:
    from varsim_elastic_averaging.policy import Attract
    from varsim_gossip.policy import AverageNeighbours

    return AverageNeighbours if keyword == "gossip" else Attract


def found(keyword: str) -> set[tuple[str, str]]:
    """Run programs under a policy until the judge finds something; return what it finds."""
    for seed in range(40):
        wrong = run(Program(seed), policy_of(keyword, seed)).verdicts
        broken = {(one.checker, one.reason) for one in wrong if one.outcome is Outcome.INVALID}
        if broken:
            return broken
    return set()


@pytest.mark.parametrize(
    ("keyword", "mutant"),
    [*(("gossip", one) for one in OF_GOSSIP), *(("elastic_averaging", one) for one in OF_CENTRE)],
)
def test_a_wrong_exchange_is_found(keyword, mutant, monkeypatch):
    cell = cell_of(keyword)
    monkeypatch.setitem(ORIGINAL, keyword, cell.exchanged)
    monkeypatch.setattr(cell, "exchanged", mutant)

    assert keyword.replace("_", "-") in {checker for checker, _ in found(keyword)}


@pytest.mark.parametrize("keyword", EXCHANGING)
def test_an_exchange_at_another_write_is_found(keyword, monkeypatch):
    cell, write = cell_of(keyword), ExchangeEvery.write

    def late(self: Any, *rest: Any) -> Any:
        return write(ExchangeEvery(self.every + 1), *rest)

    monkeypatch.setattr(cell, "write", late)

    reasons = [reason for name, reason in found(keyword) if name == keyword.replace("_", "-")]
    assert "writes again before its last write was exchanged" in "".join(reasons)


@pytest.mark.parametrize("keyword", EXCHANGING)
def test_a_component_that_reaches_another_replica_is_found(keyword, monkeypatch):
    exchange = CoordinatorBlock.exchange

    def swapped(self: Any, components: Any, *rest: Any) -> Any:
        return exchange(self, [components[1], components[0], *components[2:]], *rest)

    monkeypatch.setattr(CoordinatorBlock, "exchange", swapped)

    assert keyword.replace("_", "-") in {checker for checker, _ in found(keyword)}


def test_a_wrong_norm_or_share_of_a_drift_is_found(monkeypatch):
    from varsim_event_triggered import policy

    norm = policy.norm
    for name, mutant, reason in [
        ("part", lambda drift, _: drift, "pushes another value than its drift / N"),
        ("norm", lambda drift: norm(drift) / 2, "before its drift was exchanged"),
        ("norm", lambda drift: norm(drift) + 1, "pushes a drift that is within the threshold"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(policy, name, mutant)
            assert reason in " ".join(text for _, text in found("event_triggered"))


def test_a_replica_that_does_not_continue_with_the_copy_is_found(monkeypatch):
    from varsim_event_triggered.policy import PushDrift

    monkeypatch.setattr(PushDrift, "obtained", lambda *_: ())

    assert "event-triggered" in {checker for checker, _ in found("event_triggered")}


def test_a_drift_that_is_forgotten_or_kept_is_found(monkeypatch):
    from varsim_event_triggered.policy import DRIFT, PushDrift

    write = PushDrift.write

    def forgets(self: Any, replica: Any, variable: Any, *rest: Any) -> Any:
        variable.policy_state.pop(DRIFT, None)
        return write(self, replica, variable, *rest)

    def keeps(self: Any, replica: Any, variable: Any, *rest: Any) -> Any:
        drift = variable.policy_state.get(DRIFT)
        actions = write(self, replica, variable, *rest)
        if actions and drift is not None:
            variable.policy_state[DRIFT] = drift
        return actions

    for mutant in (forgets, keeps):
        with monkeypatch.context() as patch:
            patch.setattr(PushDrift, "write", mutant)
            assert "event-triggered" in {checker for checker, _ in found("event_triggered")}


def test_a_push_that_is_lost_is_found(monkeypatch):
    push = OneSided.push

    def loses(self: Any, number: int, writer: int, delta: Any, now_s: float) -> None:
        push(self, number, writer, delta * (writer != 1), now_s)

    monkeypatch.setattr(OneSided, "push", loses)

    assert "one-sided" in {checker for checker, _ in found("event_triggered")}
