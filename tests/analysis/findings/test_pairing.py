"""Collectives without a name: in different lines they are a finding, in one line a note.

In one line they are a finding, too, if replicas give the same values to them in another order.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.analysis.findings.build import ProgramHistory
from varsim.analysis.findings.orders import OTHER_ORDER
from varsim.analysis.findings.pairing import OTHER_LINES


def story(*collectives: Any, calls: int = 1, replicas: int = 3) -> ProgramHistory:
    """Build calls with collectives: each has an operation, lines, and perhaps a name."""
    told = ProgramHistory(replicas)
    for _ in range(calls):
        told.call()
        for called, *locations in collectives:
            operation, _, name = called.partition(" ")
            told.collective(operation, name or None, locations=locations)
        told.end()
    return told


def test_collectives_in_different_lines_are_found_with_each_replicas_line():
    (finding,) = story(("all_reduce", "a.py:4", "a.py:9", "a.py:9"), calls=2).findings()

    assert (OTHER_LINES, "", 2) == (finding.kind, finding.variable, finding.count)
    assert (("a.py:4", 2), ("a.py:9", 2)) == finding.locations
    said = "all_reduce at a.py:4 (replica 0) with all_reduce at a.py:9 (replicas 1, 2)"
    assert said in finding.what
    assert "name=" in finding.remedy


def test_each_set_of_lines_is_one_finding():
    told = story(("all_gather", "a:1", "a:2", "a:2"), ("merge_call", "a:1", "a:3", "a:3"))

    assert ["all_gather", "merge_call"] == [
        finding.what.split(" first time ")[1].split()[0] for finding in told.findings()
    ]


def test_lines_with_several_replicas_each_may_be_groups():
    (told,) = story(("all_reduce", *"abba"), replicas=4).findings()
    (alone,) = story(("all_reduce", *"abbb"), replicas=4).findings()

    assert "group=strategy.group([0, 3])" in told.remedy
    assert "group=" not in alone.remedy


@pytest.mark.parametrize(
    "collective",
    [("all_reduce",), ("all_reduce loss", "a.py:4", "a.py:9", "a.py:9")],
    ids=["one line", "a name"],
)
def test_collectives_with_the_same_line_or_name_are_not_found(collective):
    assert () == story(collective).findings()


def test_an_incomplete_collective_is_not_found():
    """The error of the call reports it."""
    told = ProgramHistory(2)
    told.call()
    for replica_id, location in enumerate(["a.py:4", "a.py:9"]):
        told.event(replica_id, "arrive", location=location, position=0, operation="all_reduce")
    told.finish()

    assert () == told.findings()


def test_several_collectives_of_one_line_are_noted_as_paired_by_order():
    told = story(("all_reduce",), ("all_reduce",), ("all_reduce",), calls=2)

    assert () == told.findings()
    (note,) = told.notes()
    assert note.text.startswith(
        "whether all replicas make the unnamed all_reduces at step.py:9, up to 3 in a call, in the"
    )


@pytest.mark.parametrize("collectives", [(("all_reduce",),), (("all_reduce loss",),) * 2])
def test_single_or_named_collectives_are_not_noted(collectives):
    assert [] == story(*collectives, calls=5).notes()


def test_only_the_first_of_many_lines_are_noted():
    lines = [("all_reduce", *[f"a.py:{i}"] * 3) for i in range(9)] * 2

    notes = story(*lines).notes()
    assert "the unnamed all_reduces at a.py:0, up to 2 in a call" in notes[0].text
    said = "whether all replicas make the unnamed collectives in 4 more lines in the same order"
    assert [said] == [one.text for one in notes[5:]]
    assert {"`name=`"} == {one.option for one in notes}


def logged(*orders: Any, calls: int = 2, names: Any = (None, None, None), **about: Any) -> Any:
    """Build calls in which each replica gives the values of its order to collectives of a line."""
    told = ProgramHistory(len(orders))
    for call in range(calls):
        told.call()
        for name, given in zip(names, zip(*orders, strict=True), strict=False):
            told.collective(name=name, given=[one + call * (one > 1) for one in given], **about)
        told.end()
    return told


def test_values_that_a_replica_gives_in_another_order_are_found_with_both_orders():
    told = logged([2.0, 0.5], [2.0, 0.5], [0.5, 2.0], op="MEAN")

    (finding,) = told.findings()
    assert (OTHER_ORDER, 4) == (finding.kind, finding.count)
    assert (("step.py:9", 4),) == finding.locations
    assert "replica 2 gave 0.5, 2, and replicas 0, 1 gave 2, 0.5" in finding.what
    assert 'all_reduce("MEAN", values)' in finding.paste[-1]
    assert [] == told.notes()


@pytest.mark.parametrize(
    "told",
    [
        logged([2.0, 0.5], [2.0, 0.5]),
        logged([2.0, 0.5], [0.5, 2.1]),
        logged([2.0, 0.5], [0.5, 2.0], names=["loss", "accuracy"]),
        logged([3, 1], [1, 3], dtype="int32"),
        logged([9.0, 1.0], [1.0, 9.0]),
        logged([0.7, 0.0], [0.0, 0.7]),
        logged([0.1, 0.2, 0.3], [0.2, 0.3, 0.1], [0.3, 0.1, 0.2]),
    ],
    ids=["one order", "other values", "names", "counts", "whole", "gathered by hand", "rotated"],
)
def test_values_in_one_order_or_on_purpose_in_another_are_not_found(told):
    assert () == told.findings()
