"""Compares varsim with 51,101 recorded cases of TensorFlow: see README.md."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.golden import processes
from tests.golden.compare import ACCIDENTAL, SAID, differences
from tests.golden.counts import CaseCounts, run_all
from tests.golden.expect_operations import expected
from tests.golden.recorded import Case, CaseOutcome, Json, RecordedError, load, of_workers
from tests.golden.replay import SharedStrategies
from tests.golden.rules import OPERATIONS, STATEMENTS, CaseClass, classify, regroups
from varsim.testing import simulated_cluster

ON_PROCESSES = 300
SEED = 2021
PARTS = 64
"""The cases are split into this many parts, so that all cores are used."""

QUICK_PARTS = 1
"""`make test` runs this many parts, `make check` runs all. Each part has cases of every family."""


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Load all cases."""
    return load()


@pytest.mark.thorough
def test_the_projects_copy_of_the_recording_is_complete(cases: list[Case]) -> None:
    """The copy has all cases in scope."""
    assert 51_101 == len(cases)
    assert [case.id for case in cases] == sorted({case.id for case in cases})


@pytest.mark.timeout(300)  # the test takes 1 s, but much longer on a busy machine
@pytest.mark.parametrize(
    "part",
    [
        pytest.param(part, marks=[pytest.mark.thorough] * (part >= QUICK_PARTS))
        for part in range(PARTS)
    ],
)
def test_every_case_is_the_same_or_different_on_purpose(cases: list[Case], part: int) -> None:
    """On the simulated cluster, every difference from TensorFlow follows from a rule.

    `make golden` prints the counts of all cases.
    """
    counts = run_all(cases[part::PARTS])
    if counts.failures:
        pytest.fail(counts.unexplained(), pytrace=False)


@pytest.mark.processes
@pytest.mark.thorough
@pytest.mark.timeout(300)  # the test takes much longer on a busy machine
def test_outcomes_on_worker_processes_follow_the_rules(cases: list[Case]) -> None:
    """The test runs a sample, which depends only on `SEED`."""
    counts = CaseCounts()
    stage = SharedStrategies(shared_by=None)
    try:
        for case in processes.sample(cases, ON_PROCESSES, SEED):
            verdict = classify(case, stage.replay(case))
            counts.add(case, verdict)
            if verdict.kind is CaseClass.UNEXPLAINED:
                stage.close()  # replicas of the failed case may still wait
    finally:
        stage.close()
    if counts.failures:
        pytest.fail(f"seed {SEED}\n{counts.unexplained()}", pytrace=False)


@pytest.mark.thorough
def test_without_a_rule_the_expected_outcome_is_that_of_tensorflow(cases: list[Case]) -> None:
    """This test compares the small model in `expect` with the recording."""
    wrong = [
        f"{case.id}: {one}"
        for whole in cases
        for case in (of_workers(whole) if whole.is_multi_worker else [whole])
        if not case.is_python
        and not regroups(case)
        and not any(holds(case) for holds in OPERATIONS.values())
        for one in differences(expected(case), _as_ours(case))
        if one.aspect != "after"  # D4 can change the state after any error
    ]
    assert [] == wrong[:10]


def _as_ours(case: Case) -> CaseOutcome:
    """Return TensorFlow's outcome without results of writes, and with varsim's kinds of errors."""
    recorded = case.recorded
    if recorded.error is not None:
        kinds = frozenset({recorded.error.kind})
        if kinds & ACCIDENTAL:
            kinds |= SAID
        return CaseOutcome(error=replace(recorded.error, kinds=kinds, by_program=True))
    aspects = ("per_replica", "cross_read", "saved", "num_tensors")
    kept = {key: recorded.state[key] for key in aspects if key in recorded.state}
    reads = case.program[-1][0] == "read"
    return CaseOutcome(
        state=_cleared(kept), returned=_cleared(recorded.returned) if reads else None
    )


def _cleared(value: Json) -> Json:
    """Return a recorded value with a RecordedError for each recorded error."""
    if not isinstance(value, dict):
        return value
    if "error" not in value:
        return {key: _cleared(member) for key, member in value.items()}
    kind = value["error"]["type"]
    kinds = SAID | {kind} if kind in ACCIDENTAL else frozenset({kind})
    return {"error": RecordedError(kind=kind, kinds=kinds, at=0, after=None, message="")}


@pytest.mark.thorough
def test_no_rule_explains_a_wrong_outcome(cases: list[Case]) -> None:
    """An outcome with one changed value is unexplained, or equals TensorFlow's outcome."""
    seen: Counter[CaseClass] = Counter()
    with simulated_cluster():
        stage = SharedStrategies()
        for case in random.Random(SEED).sample(cases, 1500):
            ours = stage.replay(case)
            kind = classify(case, ours).kind
            seen[kind] += 1
            if kind is CaseClass.NOT_YET:
                continue
            for spoiled in _spoiled(ours):
                found = classify(case, spoiled).kind
                theirs_now = found is CaseClass.SAME and kind is CaseClass.ON_PURPOSE
                assert found is CaseClass.UNEXPLAINED or theirs_now, f"{case.id}: {spoiled}"
    assert seen[CaseClass.SAME] > 400
    assert seen[CaseClass.ON_PURPOSE] > 400


def _spoiled(ours: CaseOutcome) -> Iterator[CaseOutcome]:
    """Yield changed outcomes; each is wrong in one value."""
    if ours.workers:
        *others, last = ours.workers
        yield from (replace(ours, workers=(*others, wrong)) for wrong in _spoiled(last))
        return
    if ours.error is not None:
        yield CaseOutcome(returned={"type": "None"})
        yield replace(ours, error=replace(ours.error, at=ours.error.at + 1))
        yield replace(ours, error=replace(ours.error, kinds=frozenset({"OSError"}), kind="OSError"))
        if ours.error.after is not None:
            yield replace(ours, error=replace(ours.error, after=_other(ours.error.after)))
        return
    yield replace(ours, returned={"type": "Tensor", "dtype": "int8", "value": 99})
    for aspect in ("per_replica", "cross_read", "saved"):
        if aspect in ours.state:
            yield replace(ours, state={**ours.state, aspect: _other(ours.state[aspect])})


def _other(value: Json) -> Json:
    """Return a value that differs in its first number, or a completely different value."""
    if isinstance(value, list) and value:
        return [_other(value[0]), *value[1:]]
    return not value if isinstance(value, bool) else 99.25


def test_every_rule_has_a_statement() -> None:
    """The printed counts explain each rule by its statement."""
    assert set(OPERATIONS) <= set(STATEMENTS)
