"""What a report says of a training that diverged, although no promise is broken."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from tests.report.summaries import lens, summary, variable_summary
from varsim.report.metric_facts import apart_facts, metric_facts
from varsim.report.run_page import print_report
from varsim.report.summary import Judgement, VariableSummary
from varsim.webpage.outcome import outcome_of
from varsim.webpage.reported import ReportedRecord, ReportedRun


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ({"loss": 3.2}, {"loss": 4.68e12}, ["loss grew from 3.2 to 4.68e+12"]),
        ({"val_loss": 1.0}, {"val_loss": 10}, ["val_loss grew from 1 to 10"]),
        ({"loss": 3e12}, {"loss": 4.68e12}, []),
        ({"loss": 0.5}, {"loss": 1.5}, []),
        ({"loss": -1.0}, {"loss": 5.0}, []),
        ({"reward": 1.0}, {"reward": 1e6}, []),
        ({}, {"loss": 4.68e12}, []),
        ({"loss": 1.0}, {"loss": "NaN"}, ["loss ended as NaN or infinity"]),
        ({"a": 1.0}, {"a": "Infinity", "b": ["NaN", 1.0]}, ["a and b ended as NaN or infinity"]),
    ],
)
def test_a_loss_that_grew_is_a_fact_and_a_large_number_is_not(
    first: dict[str, Any], last: dict[str, Any], said: list[str]
) -> None:
    assert said == metric_facts(summary(first_metrics=first, metrics=last, result={}))


@pytest.mark.parametrize(
    ("synchronization", "components", "said"),
    [
        ("NONE", (0.0, 2.5e6), ["the components of w (NONE) differ by up to 2.5e+06"]),
        ("NONE", (0.0, np.inf), ["the components of w (NONE) differ infinitely"]),
        ("NONE", (1.0, 1.0), []),
        ("ON_READ", (0.0, 2.5e6), []),
    ],
)
def test_components_that_none_lets_differ_are_a_fact(
    synchronization: str, components: tuple[float, float], said: list[str]
) -> None:
    seen = lens(*map(np.float32, components))
    variable = variable_summary(seen=seen, synchronization=synchronization)

    assert said == apart_facts(summary(variable))


def test_a_report_of_a_diverged_training_is_no_all_clear() -> None:
    """The page has no green sign, and the sentence and the text say what was seen."""
    judged = Judgement(outcome="VALID", reasons=[])
    numbers = {"first_metrics": {"loss": 3.2}, "metrics": {"loss": 4.68e12}, "result": {}}
    none = variable_summary(seen=lens(0.0, 2.5e6), synchronization="NONE", aggregation="MEAN")

    def outcome(*variables: VariableSummary, **fields: Any) -> tuple[str, str]:
        told = summary(*variables, verdict=judged, **fields)
        record = ReportedRecord(part="", path="a", summary=told, found=None)
        return outcome_of(ReportedRun(name="a", records=[record]))

    said, mood = outcome(none, **numbers)
    assert "unsure" == mood
    assert "no finding; loss grew from 3.2 to 4.68e+12; the components of w (NONE) differ" in said
    assert "good" == outcome(none)[1], "NONE does what it is for"

    text = io.StringIO()
    print_report(summary(verdict=judged, **numbers), text, 80)
    assert "Look at the metrics: loss grew from 3.2 to 4.68e+12." in text.getvalue()
