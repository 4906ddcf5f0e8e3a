"""The texts of a comparison with a single device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from varsim.analysis.findings.compared import (
    Access,
    CollectiveDifference,
    Compared,
    Quotient,
    Uncompared,
    ValueDifference,
)
from varsim.analysis.returned import compare_returned
from varsim.report.comparison_text import MOST, compared_text, in_short
from varsim.report.difference_text import remedy_of

DIFFERENCE = ValueDifference(
    variable_id=3,
    variable="score",
    access=Access.READ,
    location="train.py:44",
    count=2,
    compared=4,
    step=8,
    inside=False,
    event=108,
    element=None,
    got=638.205,
    wanted=211.342,
)
NONE = Compared(values=8, locations=2, differences=(), uncompared=(), own=())
ONE = replace(NONE, differences=(DIFFERENCE,))


def flat(compared: Compared) -> str:
    return " ".join(" ".join(compared_text(compared)).split())


def test_a_difference_says_variable_step_location_and_both_values():
    assert [
        "compared with a single device: 8 values at 2 locations, 2 of them different; no",
        "  rule explains this",
        "  - score, read by the program after step 8 at train.py:44: 638.205 instead of",
        "    211.342; 2 of 4 values differ there (event 108)",
        "  varsim cannot tell whether that is a mistake: different random numbers,",
        "  different batches and rounding over many steps cause such differences, too.",
    ] == compared_text(ONE)
    assert (
        "8 values at 2 locations compared with a single device, 2 of them different; no rule "
        "explains this; first: score, read by the program after step 8 at train.py:44: 638.205 "
        "instead of 211.342"
    ) == in_short(ONE)


def test_without_differences_the_text_says_how_much_was_compared():
    said = "8 values at 2 locations, and none differs"
    assert [f"compared with a single device: {said}"] == compared_text(NONE)


def test_the_text_says_that_nothing_was_compared():
    nothing = Compared(values=0, locations=0, differences=(), uncompared=(), own=("a", "b"))
    assert [
        "compared with a single device: no value of a variable could be compared",
        "  not compared, because each replica has its own value by design: a and b",
    ] == compared_text(nothing)
    assert "no value of a variable could be compared with a single device" == in_short(nothing)


def test_the_text_says_which_writes_are_not_compared():
    (_, *said) = compared_text(replace(NONE, copies=("w",)))

    assert "of w, only reads and writes of the program are compared: " in " ".join(said)


def test_an_uncompared_variable_has_a_reason():
    some = replace(
        NONE, uncompared=(Uncompared(variable="w", location="a.py:3", why="it was not recorded"),)
    )
    assert ["  could not be compared:", "  - w at a.py:3: it was not recorded"] == compared_text(
        some
    )[1:]
    same = compare_returned({"n": 3}, {"n": 3})
    assert (
        "  returned by the program: 1 value, and none differs"
        == compared_text(replace(NONE, returned=same))[-1]
    )
    assert in_short(some).endswith("none differs (w at a.py:3 could not be compared)")


def test_differences_that_findings_explain_are_counted_separately():
    explained = replace(DIFFERENCE, explained=2, variable="w")
    both = replace(NONE, differences=(explained, DIFFERENCE))
    assert "4 of them different: 2 explained by findings, 2 not explained" in flat(both)
    assert "w" not in flat(both).split()
    all_of_them = replace(NONE, differences=(explained,))
    assert [
        "compared with a single device: 8 values at 2 locations, 2 of them different, all",
        "  explained by findings",
    ] == compared_text(all_of_them)
    assert in_short(all_of_them).endswith("single device; findings explain all 2 differences")


def test_a_finding_that_explains_some_differences_does_not_explain_the_others():
    partly = replace(NONE, differences=(replace(DIFFERENCE, explained=1),))

    assert "2 of them different: 1 explained by findings, 1 not explained" in flat(partly)
    assert "2 of 4 values differ there, 1 of them explained by findings" in flat(partly)
    assert "1 explained by findings, 1 not explained; first: score" in in_short(partly)


def test_the_text_says_which_variable_differed_first_and_which_may_have_differed_earlier():
    other = replace(DIFFERENCE, variable_id=4, variable="loss", event=120)
    some = replace(
        NONE,
        differences=(DIFFERENCE, other),
        uncompared=(Uncompared(variable="w", location="", why="it was not read"),),
    )

    assert "Of the compared variables, score differed first." in flat(some)
    assert "w could not be compared, and may have differed earlier." in flat(some)
    assert "differed" not in flat(ONE)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"element": (7, 0)}, "score (element [7, 0]), read"),
        ({"got": None, "wanted": None}, "the number of elements is not the single device's"),
        ({"got": float("nan"), "wanted": 1}, "NaN instead of 1"),
        ({"access": Access.MERGED, "inside": True}, "score, written by all replicas in step 8"),
    ],
)
def test_every_difference_has_a_text(changes: dict[str, object], expected: str):
    assert expected in flat(replace(ONE, differences=(replace(DIFFERENCE, **changes),)))


def test_a_finding_about_values_may_be_the_reason():
    """With such a finding the text does not say that the reason is unknown."""
    text = " ".join(" ".join(compared_text(ONE, caused=True)).split())

    assert "The findings below may be the reason: correct these first, and compare again." in text
    assert "cannot tell" not in text
    assert "cannot tell" in flat(ONE)
    assert "may be the reason" not in " ".join(compared_text(NONE, caused=True))


def test_the_first_locations_are_listed_and_the_others_are_counted():
    many = tuple(
        replace(DIFFERENCE, variable_id=i, location=f"{'a/' * 60}train.py:{i}")
        for i in range(MOST + 3)
    )
    lines = compared_text(replace(NONE, differences=many))
    assert "  - and 3 more locations (--all shows them)" in lines
    assert MOST + 1 == sum(line.startswith("  - ") for line in lines)


def test_no_line_of_short_words_is_wider_than_80_columns():
    assert 80 >= max(map(len, compared_text(ONE)))


def test_the_text_compares_returned_values():
    returned = compare_returned(
        {"loss": 0.5, "each": [1.0, 2.0, 1.0], "pair": [1, 2], "n": 3},
        {"loss": 0.25, "each": [1.0], "pair": 1, "n": 3},
    )
    some = replace(NONE, returned=returned)
    assert [
        "compared with a single device: 8 values at 2 locations, and none differs",
        "  returned by the program: 3 values, 2 of them different",
        "  - loss: 0.5 instead of 0.25",
        "  - each (of replica 1): 2 instead of 1",
        "  - pair could not be compared: it has the shape [2], and on a single device one",
        "    number",
    ] == compared_text(some)[:6]
    assert in_short(some).endswith(
        "none differs; returned by the program: loss: 0.5 instead of 0.25, and 1 more"
    )


def test_the_text_says_when_no_rule_was_tried():
    said = "oracle not comparable because it had other data; factors were not checked"
    other = replace(ONE, not_comparable="it had other data")
    assert said in flat(other)
    assert said in in_short(other)
    assert "comparable" not in flat(ONE) + in_short(ONE)


def test_the_text_names_variables_whose_quotient_is_right():
    quotient = Quotient(
        variable_ids=(DIFFERENCE.variable_id, 7),
        variables=("total", "count"),
        factor="4",
        location="train.py:9",
    )
    explained = replace(DIFFERENCE, explained=DIFFERENCE.count)
    right = replace(ONE, differences=(explained,), quotients=(quotient,))

    assert "all explained by quotients" in flat(right)
    assert "total and count are each 4 times the single device's" in flat(right)
    assert "quotients explain all" in in_short(right)


def test_values_that_were_partly_compared_did_not_differ_earlier():
    partly = Uncompared(variable="w", location="train.py:3", why="the first 12 were", partly=True)
    text = flat(replace(ONE, uncompared=(partly,)))

    assert "w at train.py:3: the first 12 were" in text
    assert "may have differed earlier" not in text
    assert "could not be compared" not in in_short(replace(ONE, uncompared=(partly,)))


def test_the_text_shows_results_of_collectives_without_a_judgement():
    one = CollectiveDifference(
        operation="all_reduce",
        location="train.py:7",
        compared=9,
        count=2,
        step=3,
        event=40,
        element=(1,),
        got=8.0,
        wanted=2.0,
    )
    other = replace(one, location="train.py:8", count=0)
    some = replace(NONE, collectives=(one, other))

    assert "results of collectives and calls: 18 values, 2 of them different" in flat(some)
    said = "all_reduce at train.py:7 (element [1]), in step 3: 8 instead of 2; 2 of 9 values differ"
    assert said in flat(some)
    assert "train.py:8" not in flat(some)

    plain = replace(one, operation="plain", variable="last", element=None)
    said = "value of last, created outside the scope at train.py:7, in step 3: 8 instead of 2"
    assert said in flat(replace(NONE, collectives=(plain,)))
    assert "may be meant" not in flat(replace(NONE, collectives=(plain,)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"scaled": 2}, False),  # all are N times the single device's, and nothing else differs
        ({"scaled": 1}, True),
        ({"scaled": 2, "values": 0}, True),  # nothing else was compared
        ({"count": 0}, False),
    ],
)
def test_results_outside_variables_count_as_unexplained_differences(
    changes: dict[str, int], expected: bool
):
    values = changes.pop("values", NONE.values)
    one = CollectiveDifference(operation="all_reduce", location="a.py:7", compared=9, count=2)
    some = replace(NONE, values=values, collectives=(replace(one, **changes),))

    assert expected is some.differs


MERGED = replace(
    DIFFERENCE,
    variable="f1",
    access=Access.MERGED,
    location="train.py:9",
    inside=True,
    aggregation="MEAN",
    event=7,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "MEAN combined the replicas' values of f1: the value of the whole batch is not the"),
        ({"aggregation": "SUM"}, "is not the sum of the replicas' values"),
        ({"alike": True}, "All replicas wrote the same value to f1: it depends on the number of"),
        ({"access": Access.WRITTEN, "aggregation": ""}, "the program computed it from the number"),
    ],
)
def test_a_difference_says_what_it_can_be_and_what_to_do(changes: dict[str, object], expected: str):
    text = flat(replace(ONE, differences=(replace(MERGED, **changes),)))

    assert expected in text
    remedy = "merge numerator and denominator by SUM, and divide or exponentiate afterwards" in text
    assert remedy is (changes.get("aggregation") in {None, "SUM"} and not changes.get("alike"))


def test_a_sum_that_is_divided_by_a_count_of_the_replicas_is_a_mean_of_their_values():
    """The count itself says nothing more, and a sum that is read elsewhere has no count."""
    written = replace(MERGED, variable="score", variable_id=5, aggregation="SUM")
    score = replace(DIFFERENCE, variable="score", variable_id=5, event=9, origin=written)
    of_count = replace(written, variable="steps", variable_id=6, alike=True)
    steps = replace(score, variable="steps", variable_id=6, got=16, wanted=8, origin=of_count)
    alone = replace(steps, location="train.py:70")
    found = replace(ONE, num_replicas=2, differences=(score, steps))

    said = "score divided by steps is the mean of the replicas' values, and the value of the whole"
    assert said in flat(found)
    assert "to steps" not in flat(found)
    assert "is not the sum of the replicas' values" in flat(
        replace(found, differences=(score, alone))
    )


def test_a_read_names_the_write_by_which_its_value_parted_from_the_single_device():
    read = replace(DIFFERENCE, variable="f1", origin=MERGED)
    said = "f1, written by all replicas in step 8 at train.py:9: 638.205 instead of 211.342; read "

    assert f"{said}by the program after step 8 at train.py:44; 2 of 4" in flat(
        replace(ONE, differences=(read,))
    )


def test_a_difference_that_follows_from_an_earlier_one_is_counted():
    other = replace(DIFFERENCE, variable_id=4, variable="loss", origin=MERGED)
    both = replace(ONE, differences=(MERGED, other))

    assert (MERGED,) == both.leading
    said = "loss differs at 1 location, probably because the writers had read f1, which differed"
    assert said in flat(both)
    assert "loss, read by the program" in " ".join(compared_text(both, most=None))
    alone = replace(ONE, differences=(other,))
    assert (other,) == alone.leading  # f1 itself is not compared
    assert "computed from f1, written by all replicas in step 8 at train.py:9" in flat(alone)


@pytest.mark.parametrize(
    ("changes", "first", "absent"),
    [
        ({"operation": "assign_sub", "element": (1,)}, "Gradients that", "A ratio"),
        ({"operation": "assign", "element": (1,)}, "Gradients that", "A ratio"),
        ({"operation": "assign_add", "element": None}, "A mean of different", "Gradients that"),
    ],
)
def test_the_remedies_are_a_list_with_the_likeliest_cause_first(
    changes: dict[str, Any], first: str, absent: str
):
    """An array is usually a gradient, and a number a metric."""
    difference = replace(MERGED, **changes)
    lines = compared_text(replace(ONE, differences=(difference,)))
    begin = lines.index("  What to do, the likeliest cause first:")

    assert lines[begin + 1].startswith(f"  - {first}")
    assert absent not in "".join(lines)
    assert remedy_of(difference).startswith(f"What to do, the likeliest cause first: {first}")


def test_a_difference_that_follows_from_a_finding_is_counted_and_not_explained():
    """The finding says more than the list of all that a value can be."""
    one = replace(ONE, differences=(replace(MERGED, follows="scale"),))

    assert () == one.leading
    assert "2 of them different, probably because of findings" in flat(one)
    assert (
        "f1 differs at 1 location, probably because the writers had read scale, about which there "
        "is a finding below. Correct scale first (--all shows the values)"
    ) in flat(one)
    assert "What to do" not in flat(one)
    assert "; its writers had read scale" in " ".join(compared_text(one, most=None))


def test_a_returned_value_with_the_factor_is_named_if_all_variables_are_right():
    returned = compare_returned({"accuracy": 3.45}, {"accuracy": 0.8625})
    some = replace(NONE, returned=returned, num_replicas=4)
    said = flat(some)
    assert "accuracy is exactly 4 times that of the single device, and every compared" in said
    assert "random numbers" not in said
    assert some.differs  # for --fail-on unexplained-difference


@pytest.mark.parametrize(
    "other",
    [
        {"values": 0},
        {"differences": ONE.differences},
        {"num_replicas": 3},
        {"returned": compare_returned({"a": 4.0, "b": 1.5}, {"a": 1.0, "b": 1.0})},
    ],
)
def test_other_differences_stay_without_a_cause(other: dict[str, object]):
    returned = compare_returned({"a": 4.0}, {"a": 1.0})
    some = replace(NONE, returned=returned, num_replicas=4)
    assert "varsim cannot tell" in flat(replace(some, **other))
