"""The page about a sweep: its outcome, trade-off, small multiples and curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from varsim.report.run_rows import Comparison, RunRow
from varsim.webpage import rendering
from varsim.webpage.reported import MetricPoint
from varsim.webpage.section import Page
from varsim.webpage.sweep_page import ReportedSweep, sweep_page
from varsim.webpage.sweep_settings import telling_metric


def row(number: int, mode: str, workers: int, accuracy: Any, **others: Any) -> RunRow:
    fields: dict[str, Any] = {
        "run": f"points/{number}",
        "name": str(number),
        "status": "done",
        "error": "",
        "settings": {"mode": mode, "workers": workers},
        "metrics": {"loss": 1.0, "test_accuracy": accuracy},
        "divergence": 0.0,
        "diverged": "",
        "messages": 10 * workers,
        "size_bytes": 1000 * workers,
        "waited_s": 0.5,
        "training_s": 2.0,
        "total_s": 3.0,
        "steps": 10,
        "verdict": "VALID",
        "findings": 0,
    }
    return RunRow(**(fields | others))


ROWS = [
    row(1, "none", 1, 0.8),
    row(2, "none", 4, 0.5, findings=2),
    row(3, "on_write", 1, 0.8),
    row(4, "on_write", 4, "NaN", size_bytes=None, status="failed", error="OddError"),
]


CURVES = {"1": [MetricPoint(step=i, values={"loss": 1 / i}) for i in (1, 2)]}


def page(
    rows: list[RunRow] = ROWS,
    keys: tuple[str, ...] = ("mode", "workers"),
    curves: Mapping[str, Sequence[MetricPoint]] = CURVES,
) -> Page:
    comparison = Comparison(
        keys=list(keys), metrics=["loss", "test_accuracy"], rows=rows, notes=["4 failed."]
    )
    return sweep_page(
        ReportedSweep(
            name="x-sweep",
            path="runs/x-sweep",
            comparison=comparison,
            yaml="sweep: {}",
            curves=curves,
        )
    )


def test_the_outcome_names_the_best_run_and_the_cheapest_ones():
    said = page().outcome

    assert said.startswith(
        "3 of 4 points (mode × workers) done, 1 failed (OddError); best test_accuracy 0.8 "
        "(mode=none, workers=1, as 1 other setting); "
    )
    assert (
        "fewest bytes 0.98 KiB (mode=none, workers=1, as 1 other setting); training 2.00 s in all"
        in said
    )
    assert said.endswith("; 2 findings.")
    assert "bad" == page().mood
    assert "good" == page(ROWS[:1]).mood


def test_a_point_that_diverged_is_named_and_a_steady_metric_has_no_chart():
    """Neither is in the verdict of the point, so its sign alone would be an all-clear."""
    rows = [row(number, "none", number, 0.8) for number in (1, 2, 3)]
    rows[1].metrics["loss"], rows[2].metrics["loss"] = 4.68e12, "NaN"
    found = page(
        rows,
        curves={"2": [MetricPoint(step=i, values={"loss": 3.2**i, "rate": 0.1}) for i in (1, 2)]},
    )

    assert found.outcome.endswith(" A loss grew, or a number ended as NaN or infinity, in 2 and 3.")
    assert "unsure" == found.mood
    assert ["curve-loss"] == [one.key for one in found.charts if one.key.startswith("curve")]


def test_each_dot_of_the_trade_off_is_a_run_with_both_numbers():
    charts = {one.key: one for one in page().charts}
    bytes_chart = charts["trade-off-size_bytes"]

    assert [
        "1: mode=none, workers=1",
        "2: mode=none, workers=4",
        "3: mode=on_write, workers=1",
    ] == [name for name, *_ in bytes_chart.rows]
    assert ("none", "on_write") == bytes_chart.series
    assert {"by-workers-test_accuracy", "by-workers-messages", "curve-loss"} <= charts.keys()
    assert "by-workers-divergence" not in charts, "all rows are equal"


def test_seeds_are_repetitions_of_a_setting():
    seeds = [(1, "none", 2, 0.5), (2, "none", 2, 0.7), (3, "none", 4, 0.8), (4, "none", 4, 0.8)]
    rows = [
        row(number, mode, workers, accuracy)
        for number, mode, workers, accuracy in [*seeds, (5, "on_write", 2, 0.1)]
    ]
    for one in rows:
        one.settings["seed"] = (int(one.name) - 1) % 2
    found = page(rows, ("mode", "workers", "seed"))
    charts = {one.key: one for one in found.charts}

    assert "best test_accuracy 0.8 (mode=none, workers=4; mean of 2 seeds); " in found.outcome
    assert ("none", "on_write") == charts["by-workers-test_accuracy"].series
    assert (
        ("2", "0.6 (0.5 to 0.7)", "0.1"),
        ("4", "0.8 (0.8 to 0.8)", "–"),
    ) == charts["by-workers-test_accuracy"].rows
    assert ("1 and 2: mode=none, workers=2 (mean of 2 seeds)", "2", "0.6") == (
        charts["trade-off-training_s"].rows[0]
    )
    assert {True} == {one.content["means"] for one in found.sections if "means" in one.content}


def test_one_finished_setting_is_not_compared():
    failed = row(2, "none", 4, None, status="failed", error="OddError: no", findings=None)
    found = page([ROWS[0], failed])

    assert found.outcome.startswith(
        "1 of 2 points (mode × workers) done, 1 failed (OddError: no); test_accuracy 0.8 (mode=none"
    )
    assert found.outcome.endswith("; no finding in 1 of them, 1 not judged.")
    trade_off, points, *_ = found.sections
    assert () == trade_off.charts
    assert [("error", False)] == points.content["headings"][-1:]
    assert ("OddError: no", False) == points.content["rows"][1][2][-1]
    assert "mode=none, workers=4" == points.content["rows"][1][1]


def test_runs_that_are_not_done_are_not_the_best_and_not_drawn():
    failed = row(3, "none", 2, 0.99, status="failed", error="OddError", size_bytes=1, training_s=0)
    found = page([*ROWS[:2], failed])

    assert "best test_accuracy 0.8 (mode=none, workers=1)" in found.outcome
    assert "fewest bytes 0.98 KiB" in found.outcome
    charts = {one.key: one for one in found.charts}
    assert 2 == len(charts["trade-off-size_bytes"].rows)
    assert ("1", "4") == tuple(at for at, *_ in charts["by-workers-messages"].rows)
    assert {1} == {one.content["not_done"] for one in found.sections if "not_done" in one.content}


def test_a_line_under_another_one_is_named():
    charts = {one.key: one for one in page([*ROWS[:3], row(4, "on_write", 4, 0.5)]).charts}

    (note,) = charts["by-workers-test_accuracy"].notes
    assert "covers the others, which are the same: none and on_write." in note


def test_a_series_has_its_colour_in_each_chart_also_if_another_one_is_not_in_it():
    silent = [row(number, "none", 2 * number, None) for number in (1, 2)]
    rows = [*silent, *(row(number, "on_write", number - 2, number / 8) for number in (3, 4))]
    charts = {one.key: one for one in page(rows).charts}

    for key in ("trade-off-messages", "by-workers-test_accuracy", "by-workers-messages"):
        assert ("none", "on_write") == charts[key].palette
        encoding = next(
            one["encoding"] for one in charts[key].spec["layer"] if "color" in one["encoding"]
        )
        assert ["none", "on_write"] == encoding["color"]["scale"]["domain"]
    assert ("on_write",) == charts["by-workers-test_accuracy"].series


def test_a_sweep_without_a_numeric_key_has_no_lines_along_it():
    rows = [row(1, "none", 1, 0.8), row(2, "auto", 1, 0.9)]
    keys = [one.key for one in page(rows, ("mode",)).sections]

    assert "multiples" not in keys
    assert "trade-off" in keys


def test_a_page_of_many_settings_is_small():
    """Only as many settings have a colour and a line as there are colours."""
    rows = [
        row(number, f"{'long ' * 40}{number}", 1 + number % 2, number / 200)
        for number in range(200)
    ]
    told = page(rows)
    charts = [chart for part in told.parts for one in part.sections for chart in one.charts]

    assert max(len(chart.series) for chart in charts) == 28
    assert sum(len(json.dumps(chart.spec)) for chart in charts) < 600_000
    trade_off = next(one for one in charts if one.key == "trade-off-messages")
    assert (200, ("all runs",)) == (len(trade_off.rows), trade_off.series)
    assert "There are 200 settings, and colours for 28" in trade_off.notes[-1]
    assert "line" not in {layer["mark"]["type"] for layer in trade_off.spec["layer"]}
    multiple = next(one for one in charts if one.key == "by-workers-messages")
    assert "172 more settings are not drawn" in multiple.notes[-1]
    curve = next(one for one in charts if one.key == "curve-loss")
    assert all(len(name) <= 60 for name in curve.series)


def test_runs_without_metrics_have_no_trade_off():
    rows = [row(1, "none", 1, None, metrics={})]
    comparison = Comparison(keys=["mode"], metrics=[], rows=rows, notes=[])

    assert not telling_metric(comparison)


def test_the_page_is_rendered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rendering, "javascript", lambda: "// as test_in_browser.py has it")
    text = rendering.html(page())

    assert "<li>4 failed.</li>" in text
    assert "varsim report runs/x-sweep/NUMBER" in text
