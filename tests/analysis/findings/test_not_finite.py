"""The first NaN or infinity in each variable is found, with its replica, call and line."""

from __future__ import annotations

import math

import pytest

from tests.analysis.build import parse_history as described
from tests.analysis.findings.build import ProgramHistory
from varsim.analysis.findings.model import Finding
from varsim.analysis.findings.not_finite import NOT_FINITE
from varsim.analysis.search import find

NAN, INF = math.nan, math.inf


def found(told: ProgramHistory) -> list[Finding]:
    return [finding for finding in told.findings() if finding.kind is NOT_FINITE]


def merged(*values: float) -> ProgramHistory:
    told = ProgramHistory(3, w="ON_WRITE MEAN")
    told.call()
    told.merge("w", [1.0, 2.0, 3.0], at="step.py:4")
    told.end()
    told.call()
    told.merge("w", values, at="step.py:5")
    told.end()
    return told


def test_the_replica_that_contributes_nan_is_named_with_call_and_line():
    (finding,) = found(merged(1.0, 2.0, NAN))

    assert ("w", 1, (("step.py:5", 1),)) == (finding.variable, finding.count, finding.locations)
    assert finding.what == (
        "Replica 2 wrote the first NaN in call 2 of strategy.run at step.py:5. In the same write, "
        "replicas 0, 1 wrote finite values. The MEAN passes the NaN on to every component."
    )
    assert "how this value is computed by replica 2" in finding.remedy


def test_replicas_that_only_pass_on_a_nan_are_not_named():
    told = ProgramHistory(3, w="ON_WRITE MEAN", loss="ON_READ SUM")
    told.call()
    for _ in range(3):  # replica 0 is ahead
        told.write(0, "loss", 1.0)
    told.write(2, "loss", 1.0)
    told.write(2, "loss", NAN)
    told.merge("w", [1.0, NAN, 1.0])
    told.merge("w", [NAN, NAN, NAN])
    told.write(0, "loss", NAN)
    told.write(2, "loss", NAN)
    told.end()

    loss, merge = found(told)  # the first NaN comes first
    assert merge.what.startswith("Replica 1 wrote the first NaN")
    assert "In the same write, replicas 0, 2 wrote finite values." in merge.what
    assert "4 writes contained" in merge.what
    assert loss.what.startswith("Replica 2 wrote the first NaN")
    assert "In the same write, replica 0 wrote a finite value." in loss.what


def test_a_finding_about_an_infinity_does_not_say_nan():
    (finding,) = found(merged(INF, INF, INF))

    assert finding.what.startswith("Replicas 0–2 wrote the first infinity in call 2")
    assert "3 writes contained" in finding.what
    assert "for example the result of an all_reduce" in finding.what


def test_finite_values_cause_no_finding():
    assert [] == found(merged(1.0, 2.0, 3.0))


def test_values_that_are_not_used_are_not_examined():
    told = ProgramHistory(2, step="ON_WRITE ONLY_FIRST_REPLICA")
    told.call()
    told.merge("step", [1.0, NAN])
    told.end()

    assert [] == found(told)


@pytest.mark.parametrize("settings", ["ON_READ SUM", "NONE NONE"])
def test_a_local_write_is_found(settings):
    told = ProgramHistory(2, loss=settings)
    told.call()
    told.write(0, "loss", 1.0, at="step.py:7", add=True)
    told.write(1, "loss", NAN, at="step.py:7", add=True)
    told.end()

    (finding,) = found(told)
    assert finding.what.startswith("Replica 1 wrote the first NaN in call 1")
    assert ("a cross-replica read" in finding.what) == (settings == "ON_READ SUM")


def test_a_write_of_the_program_is_found():
    told = ProgramHistory(2, w="ON_WRITE MEAN")
    told.assign("w", NAN, at="train.py:3")

    (finding,) = found(told)
    assert "The program wrote the first NaN at train.py:3." == finding.what
    assert "how this value is computed by the program" in finding.remedy


def test_the_variable_with_the_first_nan_is_named():
    told = ProgramHistory(2, first="ON_WRITE MEAN", loss="ON_READ SUM")
    told.call()
    told.write(1, "loss", NAN)
    told.merge("first", [1.0, NAN])
    told.end()

    loss, merge = found(told)  # the first NaN comes first
    assert "Variable 'loss' became NaN or infinite earlier." in merge.what
    assert "before it" not in loss.what


EMPTY = """
replicas 2
variable loss ON_READ SUM float32 []

program create loss v=0 = 0.0
program call call=1                                 as start
0 begin call=1                                      after start
1 begin call=1                                      after start
0 write loss assign_add call=1 location=a.py:3 = 1.0
1 write loss assign_add call=1 location=a.py:3 = NaN
0 return call=1
1 return call=1
"""


def test_a_replica_without_rows_is_named(tmp_path):
    story = described(EMPTY)
    begins = [number for number, event in enumerate(story.events) if event.kind == "begin"]
    for number, note in zip(begins, ["1 of 1 rows", "0 of 1 rows"], strict=True):
        story.events[number] = story.events[number]._replace(note=note)
    with story.history(tmp_path) as history:
        (finding,) = [one for one in find(history) if one.kind is NOT_FINITE]

    assert "The arguments of replica 1 had no rows." in finding.what
    assert "weight by rows" in finding.remedy
    assert "divide the first SUM by the second" in finding.remedy
    assert 'mean = total / strategy.reduce("SUM", counts, axis=None)' in finding.paste
    assert finding.paste[-1] == "loss.assign_add(mean)"


def test_unrecorded_rows_are_not_mentioned(tmp_path):
    with described(EMPTY).history(tmp_path) as history:
        (finding,) = [one for one in find(history) if one.kind is NOT_FINITE]

    assert "rows" not in finding.what


PADDED = """
replicas 2
variable table ON_WRITE MEAN float32 [3]

program create table v=0 = [0,NaN,Infinity]
program write table assign location=a.py:3 = {}
program commit table assign v=1 = {}
"""


@pytest.mark.parametrize(("value", "wrong"), [("[1,NaN,NaN]", False), ("[NaN,NaN,1]", True)])
def test_elements_that_are_not_finite_when_created_are_not_found(tmp_path, value, wrong):
    with described(PADDED.format(value, value)).history(tmp_path) as history:
        findings = [one for one in find(history) if one.kind is NOT_FINITE]

    assert wrong == bool(findings)
    if wrong:
        assert "the first NaN in 1 of 3 elements" in findings[0].what


SPARSE = """
replicas 2
variable table ON_WRITE SUM float32 [2]

program create table v=0 = [0,0]
program call call=1                                                      as start
0 begin call=1                                                           after start
1 begin call=1                                                           after start
0 write table call=1 position=0 operation=scatter_add location=a.py:3
1 write table call=1 position=0 operation=scatter_add location=a.py:3
program commit table call=1 position=0 operation=scatter_add v=1
program read table v=1 location=a.py:9 = [0,{}]
"""


def test_a_nan_of_a_sparse_write_is_found_at_a_read(tmp_path):
    with described(SPARSE.format("NaN")).history(tmp_path) as history:
        (finding,) = [one for one in find(history) if one.kind is NOT_FINITE]

    assert finding.what == (
        "The program read the first NaN in 1 of 2 elements at a.py:9. A write whose value was "
        "not recorded may have caused this. The last write before this read is at a.py:3."
    )


ROWS = """
replicas 2
variable table ON_WRITE SUM float32 [4,2]

program create table v=0 = [[NaN,NaN],[1,1],[1,1],[0,0]]
program call call=1                                                      as start
0 begin call=1                                                           after start
1 begin call=1                                                           after start
0 write table call=1 position=0 location=a.py:3 {operation} at [1] = [[1,1]]
1 write table call=1 position=0 location=a.py:3 {operation} at {rows}
program commit table call=1 position=0 v=1 {operation} at {commit}
program read table v=1 location=a.py:9 = {read}
"""


def found_in(tmp_path, **columns: str) -> list[Finding]:
    with described(ROWS.format(**columns)).history(tmp_path) as history:
        return [one for one in find(history) if one.kind is NOT_FINITE]


def test_a_nan_in_a_row_is_found_with_its_row(tmp_path):
    rows = "[2,3] = [[1,1],[1,NaN]]"
    commit = "[1,2,3] = [[1,1],[1,1],[1,NaN]]"
    read = "[[NaN,NaN],[2,2],[2,2],[0,NaN]]"
    (finding,) = found_in(tmp_path, operation="scatter_add", rows=rows, commit=commit, read=read)

    assert finding.what == (
        "Replica 1 wrote the first NaN in 1 of 4 elements, first in row 3 in call 1 of "
        "strategy.run at a.py:3. In the same write, replica 0 wrote finite values. The SUM passes "
        "the NaN on to every component."
    )


def test_a_row_that_is_created_as_nan_is_not_found(tmp_path):
    rows, commit = "[0] = [[NaN,NaN]]", "[1,0] = [[1,1],[NaN,NaN]]"
    read = "[[NaN,NaN],[2,2],[1,1],[0,0]]"

    assert [] == found_in(tmp_path, operation="scatter_add", rows=rows, commit=commit, read=read)


def test_a_read_after_a_division_by_zero_is_found(tmp_path):
    rows, commit = "[2] = [[1,0]]", "[1,2] = [[1,1],[1,0]]"
    read = "[[NaN,NaN],[1,1],[1,Infinity],[0,0]]"
    (finding,) = found_in(tmp_path, operation="scatter_div", rows=rows, commit=commit, read=read)

    assert finding.what == (
        "The program read the first infinity in 1 of 8 elements at a.py:9. The written rows were "
        "finite, but a sparse write can divide by zero, or exceed what float32 holds. The last "
        "write before this read is at a.py:3."
    )


def test_a_read_of_an_overflowed_component_is_found():
    told = ProgramHistory(2, mine="NONE NONE")
    told.call()
    told.write(1, "mine", 2e38, at="a.py:3", add=True)
    told.write(1, "mine", 2e38, at="a.py:4", add=True)
    told.holds["mine"][1] = INF
    told.read(1, "mine", at="a.py:5")
    told.write(1, "mine", 1.0, at="a.py:6", add=True)
    told.end()

    (finding,) = found(told)
    assert finding.what.startswith("Replica 1 read the first infinity in call 1")
    assert "their sum can exceed what float32 holds" in finding.what
    assert "The last write before this read is at a.py:4." in finding.what
