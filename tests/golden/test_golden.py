"""varsim against 31,968 recorded cases of TensorFlow: see README.md."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.golden import processes
from tests.golden.compare import ACCIDENTAL, SAID, differences
from tests.golden.expect import expected
from tests.golden.recorded import Case, Failure, Json, Outcome, load
from tests.golden.replay import Stage
from tests.golden.rules import OPERATIONS, STATEMENTS, Class, classify, regroups
from tests.golden.tally import Tally, run_all
from varsim.testing import simulated_cluster

ON_PROCESSES = 300
SEED = 2021
PARTS = 8
"""The cases are split, so that the cores of a machine share them."""


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return load()


def test_the_copy_is_whole(cases: list[Case]) -> None:
    """Nothing in scope has been lost from the project's copy."""
    assert 31_968 == len(cases)
    assert [case.id for case in cases] == sorted({case.id for case in cases})


@pytest.mark.timeout(300)  # three seconds of work; the rest is patience with a busy machine
@pytest.mark.parametrize("part", range(PARTS))
def test_every_case_is_the_same_or_different_on_purpose(cases: list[Case], part: int) -> None:
    """On the simulated cluster, nothing differs from TensorFlow but by a rule.

    `make golden` prints the counts of all cases.
    """
    tally = run_all(cases[part::PARTS])
    if tally.failures:
        pytest.fail(tally.unexplained(), pytrace=False)


@pytest.mark.processes
@pytest.mark.timeout(300)  # as above
def test_a_sample_is_so_on_processes(cases: list[Case]) -> None:
    """Nor does anything on real worker processes, in a seeded sample."""
    tally = Tally()
    stage = Stage(shared_by=None)
    try:
        for case in processes.sample(cases, ON_PROCESSES, SEED):
            verdict = classify(case, stage.replay(case))
            tally.add(case, verdict)
            if verdict.kind is Class.UNEXPLAINED:
                stage.close()  # its replicas may wait for what never comes
    finally:
        stage.close()
    if tally.failures:
        pytest.fail(f"seed {SEED}\n{tally.unexplained()}", pytrace=False)


def test_where_no_rule_applies_we_expect_what_tensorflow_gave(cases: list[Case]) -> None:
    """The small model in `expect` is TensorFlow's where nothing is different on purpose."""
    wrong = [
        f"{case.id}: {one}"
        for case in cases
        if not case.is_python
        and not regroups(case)
        and not any(holds(case) for holds in OPERATIONS.values())
        for one in differences(expected(case), _as_ours(case))
        if one.aspect != "after"  # D4, which is for all
    ]
    assert [] == wrong[:10]


def _as_ours(case: Case) -> Outcome:
    """What TensorFlow did, as if varsim had: without what writes return, and with a clear error."""
    recorded = case.recorded
    if recorded.error is not None:
        kinds = frozenset({recorded.error.kind})
        if kinds & ACCIDENTAL:
            kinds |= SAID
        return Outcome(error=replace(recorded.error, kinds=kinds, by_program=True))
    kept = {key: recorded.state[key] for key in ("per_replica", "cross_read")}
    reads = case.program[-1][0] == "read"
    return Outcome(state=_cleared(kept), returned=_cleared(recorded.returned) if reads else None)


def _cleared(value: Json) -> Json:
    """A recorded value in which errors are failures."""
    if not isinstance(value, dict):
        return value
    if "error" not in value:
        return {key: _cleared(member) for key, member in value.items()}
    kind = value["error"]["type"]
    kinds = SAID | {kind} if kind in ACCIDENTAL else frozenset({kind})
    return {"error": Failure(kind=kind, kinds=kinds, at=0, after=None, message="")}


def test_another_outcome_is_not_explained(cases: list[Case]) -> None:
    """No rule lets a wrong result pass: none is different on purpose once it is spoiled.

    One that is different on purpose may become TensorFlow's own, and then is the same.
    """
    seen: Counter[Class] = Counter()
    with simulated_cluster():
        stage = Stage()
        for case in random.Random(SEED).sample(cases, 1500):
            ours = stage.replay(case)
            kind = classify(case, ours).kind
            seen[kind] += 1
            if kind is Class.NOT_YET:
                continue
            for spoiled in _spoiled(ours):
                found = classify(case, spoiled).kind
                theirs_now = found is Class.SAME and kind is Class.ON_PURPOSE
                assert found is Class.UNEXPLAINED or theirs_now, f"{case.id}: {spoiled}"
    assert seen[Class.SAME] > 400
    assert seen[Class.ON_PURPOSE] > 400


def _spoiled(ours: Outcome) -> Iterator[Outcome]:
    """Other outcomes, each wrong in one thing."""
    if ours.error is not None:
        yield Outcome(returned={"type": "None"})
        yield replace(ours, error=replace(ours.error, at=ours.error.at + 1))
        yield replace(ours, error=replace(ours.error, kinds=frozenset({"OSError"}), kind="OSError"))
        if ours.error.after is not None:
            yield replace(ours, error=replace(ours.error, after=_other(ours.error.after)))
        return
    yield replace(ours, returned={"type": "Tensor", "dtype": "int8", "value": 99})
    for aspect in ("per_replica", "cross_read"):
        if aspect in ours.state:
            yield replace(ours, state={**ours.state, aspect: _other(ours.state[aspect])})


def _other(value: Json) -> Json:
    """A value that differs in its first number, or is another thing altogether."""
    if isinstance(value, list) and value:
        return [_other(value[0]), *value[1:]]
    return not value if isinstance(value, bool) else 99.25


def test_every_rule_has_a_statement() -> None:
    """What is counted can be read."""
    assert set(OPERATIONS) <= set(STATEMENTS)
