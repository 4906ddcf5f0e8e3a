"""The page about a sweep: its outcome, trade-off, small multiples and curves."""

from __future__ import annotations

from typing import Any

import pytest

from varsim.report.run_rows import Comparison, RunRow
from varsim.webpage import rendering
from varsim.webpage.reported import MetricPoint
from varsim.webpage.section import Page
from varsim.webpage.sweep_page import ReportedSweep, sweep_page, telling_metric


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


def page(rows: list[RunRow] = ROWS, keys: tuple[str, ...] = ("mode", "workers")) -> Page:
    comparison = Comparison(
        keys=list(keys), metrics=["loss", "test_accuracy"], rows=rows, notes=["4 failed."]
    )
    curves = {"1": [MetricPoint(step=i, values={"loss": 1 / i}) for i in (1, 2)]}
    return sweep_page(
        ReportedSweep(
            name="x-sweep",
            path="runs/x-sweep",
            state="3 of 4 points, 1 failed",
            comparison=comparison,
            yaml="sweep: {}",
            curves=curves,
        )
    )


def test_the_outcome_names_the_best_run_and_the_cheapest_ones():
    said = page().outcome

    assert said.startswith("3 of 4 points, 1 failed of mode × workers; best test_accuracy 0.8 ")
    assert "fewest bytes 0.98 KiB (mode=none, workers=1)" in said
    assert said.endswith("; 2 findings.")
    assert "bad" == page().mood
    assert "good" == page(ROWS[:1]).mood


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


def test_runs_without_metrics_have_no_trade_off():
    rows = [row(1, "none", 1, None, metrics={})]
    comparison = Comparison(keys=["mode"], metrics=[], rows=rows, notes=[])

    assert not telling_metric(comparison)


def test_the_page_is_rendered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rendering, "javascript", lambda: "// as test_in_browser.py has it")
    text = rendering.html(page())

    assert "<li>4 failed.</li>" in text
    assert "varsim report runs/x-sweep/points/NAME" in text
