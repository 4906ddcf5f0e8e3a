"""Discarded results, changed objects, and variables outside the scope are found from notices."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.analysis.findings.build import ProgramHistory
from varsim.analysis.findings.conflicts import READ_WRITE
from varsim.analysis.findings.outside_variables import CHANGED, DISCARDED, PLAIN
from varsim.texts.faces import CONTEXT


def used(*operations: str, replicas: int = 2) -> ProgramHistory:
    """Return a history in which replicas use a plain variable, such as "0 assign" and "1 read"."""
    told = ProgramHistory(replicas)
    told.call()
    for one in operations:
        if one == "barrier":
            told.collective("barrier")
            for waiting in told.replicas:
                told.hear(waiting)
            continue
        replica_id, operation = one.split()
        if operation in {"lock", "unlock"}:
            (told.lock if operation == "lock" else told.unlock)(int(replica_id))
            continue
        told.event(int(replica_id), "arrive", operation="host_call")
        note = {"variable": "step", "created_at": "model.py:3", "operation": operation}
        columns = {"location": f"model.py:{5 + (operation == 'read')}", "note": json.dumps(note)}
        told.event(-1, "notice", operation="plain", replica=int(replica_id), **columns)
    told.end()
    return told


def test_a_plain_variable_that_replicas_write_and_read_is_found_with_its_creation() -> None:
    (finding,) = used("0 read", "1 read", "0 assign_sub", "1 assign_sub").findings()

    assert (PLAIN, "step", None) == (finding.kind, finding.variable, finding.variable_id)
    assert (("model.py:3", 2), ("model.py:5", 2)) == finding.locations
    assert "'step' was created at model.py:3, outside the scope" in finding.what
    assert "replicas 0, 1 wrote it 2 times" in finding.what


def test_what_is_not_known_of_plain_variables_is_said() -> None:
    of_program, of_values = used("0 read", "1 read").notes()
    assert of_program.text.startswith("what the program itself reads and writes")
    assert of_program.text.endswith("created outside the scope: 'step' (model.py:3)")
    assert "were not recorded whole" in of_values.text


@pytest.mark.parametrize(
    ("operations", "count"),
    [
        (["0 assign", "1 assign"], 1),
        (["0 assign", "1 read"], 0),
        (["0 assign_add", "1 assign_add"], 0),
        (["0 read", "1 read"], 0),
        (["0 assign_add", "1 assign_add", "1 read"], 1),
        ("0 lock,0 assign,0 unlock,1 lock,1 assign,1 unlock".split(","), 0),
        ("0 lock,0 assign,0 unlock,1 assign".split(","), 1),
    ],
    ids=[
        *("two assign", "one writes", "a counter", "only reads", "a counter that is read"),
        *("under a lock", "one under a lock"),
    ],
)
def test_only_writes_whose_order_matters_are_found(operations: list[str], count: int) -> None:
    assert count == sum(one.kind is PLAIN for one in used(*operations).findings())


@pytest.mark.parametrize(
    ("operations", "count"),
    [
        (["0 assign", "1 read"], 1),
        (["1 read", "0 assign"], 1),
        (["0 assign", "barrier", "1 read"], 0),
        (["1 read", "barrier", "0 assign"], 0),
        (["0 read", "0 assign"], 0),
    ],
)
def test_a_read_without_an_order_to_the_only_writer_conflicts(
    operations: list[str], count: int
) -> None:
    found = [one for one in used(*operations).findings() if one.kind is READ_WRITE]

    assert ["step"] * count == [one.variable for one in found]
    assert [(("model.py:5", 1), ("model.py:6", 1))] * count == [one.locations for one in found]
    lines = [
        "return value  # the last line of step, instead of the write",
        "results = strategy.run(step, args=…)  # in the program",
        "step.assign(strategy.experimental_local_results(results)[0])",
    ]
    assert [lines] * count == [list(one.paste) for one in found]


@pytest.mark.parametrize(("apart", "count"), [(1.0, 1), (0.0, 0)])
def test_a_discarded_result_of_different_values_is_found(apart: float, count: int) -> None:
    """With equal values, the program may only wait for the other replicas."""
    told = ProgramHistory(2, w="ON_READ ONLY_FIRST_REPLICA")
    told.call()
    told.collective(given=[1.0, 1.0 + apart])
    for replica_id in told.replicas:
        told.write(replica_id, "w", 1.0 + apart * replica_id, at="step.py:12")
    note = json.dumps({"method": "all_reduce"})
    told.event(0, "notice", operation="discarded", replica=0, location="step.py:9", note=note)
    told.end()

    found = told.findings()
    assert [DISCARDED] * count == [one.kind for one in found]
    for finding in found:
        assert (("step.py:9", 1),) == finding.locations
        assert "Components diverge: w since the write at step.py:12 in call 1." in finding.what
        assert (CONTEXT, 'value = context.all_reduce("SUM", value)') == finding.paste


@pytest.mark.parametrize(
    ("second", "dtype", "count"),
    [([3.0, 4.0], "float32", 1), ([3.0, 3.0], "float32", 0), ([1, 2], "int32", 0)],
    ids=["all differ", "another caller may give different values", "ids are a signal"],
)
def test_results_that_a_function_returns_are_dropped_by_its_caller(
    second: list[Any], dtype: str, count: int
) -> None:
    told = ProgramHistory(2)
    told.call()
    for given in ([0, 1] if dtype == "int32" else [1.5, 2.5], second):
        told.collective(given=given, dtype=dtype)
    note = json.dumps({"method": "all_reduce", "given_at": "step.py:9"})
    told.event(0, "notice", operation="discarded", replica=0, location="step.py:30", note=note)
    told.end()

    assert ["step.py:30"] * count == [one.locations[0][0] for one in told.findings()]


def test_the_program_that_drops_what_reduce_returns_is_found() -> None:
    told = ProgramHistory(2)
    note = json.dumps({"method": "strategy.reduce", "given_at": "step.py:30"})
    told.event(-1, "notice", operation="discarded", location="step.py:30", note=note)

    (finding,) = told.findings()
    assert (DISCARDED, (("step.py:30", 1),)) == (finding.kind, finding.locations)
    assert "The result of strategy.reduce at step.py:30 is not used." in finding.what


def test_a_changed_object_is_found() -> None:
    told = ProgramHistory(2)
    told.call()
    note = json.dumps({"kind": "list", "name": "losses"})
    told.event(0, "notice", operation="changed", replica=0, location="step.py:4", note=note)
    told.end()

    (finding,) = told.findings()
    assert (CHANGED, (("step.py:4", 1),)) == (finding.kind, finding.locations)
    assert "the list 'losses' at step.py:4" in finding.what


def test_an_object_that_replicas_share_is_found_with_its_use() -> None:
    told = ProgramHistory(2)
    lines = {"named_at": "main.py:5", "used_at": "main.py:9"}
    note = json.dumps({"kind": "list", "name": "losses"} | lines)
    for me in told.replicas:
        told.event(-1, "notice", operation="changed", replica=me, location="step.py:4", note=note)

    (finding,) = told.findings()
    assert (CHANGED, (("step.py:4", 2), ("main.py:5", 2))) == (finding.kind, finding.locations)
    assert "Replicas 0, 1 changed the list 'losses' of the program at step.py:4" in finding.what
    assert "uses it at main.py:9. This works only in a simulated cluster" in finding.what


def test_a_notice_with_an_invalid_note_is_ignored() -> None:
    told = ProgramHistory(2)
    told.event(-1, "notice", operation="plain", replica=0, note="[1]")
    assert [] == told.found()
