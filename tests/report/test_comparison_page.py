"""Comparisons as tables of different widths, and as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import pytest

from varsim.report.comparison_page import as_csv, as_markdown, print_comparison
from varsim.report.page import print_page
from varsim.report.run_rows import Comparison, RunRow, columns_of, ordered, value_of


def row(number: int, **others: Any) -> RunRow:
    fields: dict[str, Any] = {
        "run": f"runs/x-sweep/points/{number}",
        "name": str(number),
        "status": "done",
        "error": "",
        "settings": {"mode": "on_write", "params.rate": 0.1 * number},
        "metrics": {"loss": 1 / number, "test_accuracy": 0.87654321, "epochs": 3},
        "divergence": 0.5,
        "diverged": "w",
        "messages": 12_000 * number,
        "size_bytes": 3 * 2**20,
        "waited_s": 0.25,
        "training_s": 1.5,
        "total_s": 2.5,
        "steps": 440,
        "verdict": "VALID",
        "findings": 1,
    }
    return RunRow(**(fields | others))


UNKNOWN: dict[str, Any] = dict.fromkeys(
    ("divergence", "messages", "size_bytes", "waited_s", "training_s", "total_s", "steps")
)
UNKNOWN |= {"verdict": None, "findings": None, "metrics": {}}
BOTH = Comparison(
    keys=["mode", "params.rate"],
    metrics=["loss", "test_accuracy", "epochs"],
    rows=[row(1), row(2)],
    notes=[],
)
LACKING = Comparison(
    keys=["mode", "params.rate"],
    metrics=["loss", "test_accuracy", "epochs"],
    rows=[row(1), row(2, status="failed", error="E: | x", **UNKNOWN)],
    notes=["point 2 failed."],
)


def shown(comparison: Comparison, width: int = 80) -> list[str]:
    stream = io.StringIO()
    print_page(lambda console: print_comparison(console, comparison), stream, width)
    return stream.getvalue().splitlines()


def test_a_short_time_differs_from_no_time() -> None:
    comparison = replace(BOTH, rows=[row(1, waited_s=0.001), row(2, waited_s=0, training_s=2.0)])
    _, _, _, _, one, other, *_ = shown(comparison)

    assert one.endswith("  <0.01  1.50")
    assert other.endswith("      0  2.00")


def test_the_table_fits_80_columns_with_whole_words() -> None:
    last = row(2, divergence=0.25, size_bytes=0, waited_s=0.0, findings=0)
    settings = [{"mode": one.settings["mode"], "params.batch_size": 8} for one in (row(1), last)]
    rows = [replace(row(1), settings=settings[0]), replace(last, settings=settings[1])]
    both = replace(BOTH, keys=["mode", "params.batch_size"], rows=rows)
    assert [
        "2 runs",
        "               batch_                                        waits",
        "run  mode        size  loss  divergence  messages     bytes    [s]  findings",
        "────────────────────────────────────────────────────────────────────────────",
        "1    on_write       8     1         0.5    12,000  3.00 MiB   0.25         1",
        "2    on_write       8   0.5        0.25    24,000       0 B      0         0",
        "",
        "The same in all runs: test_accuracy 0.8765, epochs 3, time 1.50 s.",
    ] == shown(both)


def test_a_missing_number_is_a_dash_and_the_notes_are_below() -> None:
    lines = shown(LACKING, 120)

    assert 1 == sum("2    on_write   0.2     –" in line for line in lines)
    assert any("failed" in line for line in lines[4:-1])
    assert "point 2 failed." == lines[-1]


def test_a_metric_without_information_has_no_column() -> None:
    metrics = [{"loss": 0.5, "again": 0.5, "n": 3}, {"loss": 0.25, "again": 0.25, "n": 3}, {}]
    rows = [row(number, metrics=one) for number, one in enumerate(metrics, start=1)]
    lines = shown(replace(BOTH, metrics=["loss", "again", "n"], rows=rows))

    assert (
        "The same in all runs: again is loss, n 3, divergence 0.5, bytes 3.00 MiB, waits"
    ) == lines[-2]
    assert "again" not in "".join(lines[:-2])


@pytest.mark.parametrize("width", [30, 50, 60, 80, 200])
def test_no_line_is_wider_than_the_console_and_no_column_is_lost(width: int) -> None:
    lines = shown(LACKING, width)

    assert width >= max(map(len, lines))
    text = "".join(lines)
    for cell in ("on_write", "0.8765", "12,000", "3.00 MiB", "1.50", "failed"):
        assert cell in text, cell


def test_markdown_has_a_table_and_the_notes() -> None:
    lines = as_markdown(LACKING).splitlines()

    assert "| run | mode | rate | loss | test accuracy | epochs | status |" == lines[0][:62]
    assert "| --- | --- | ---: | ---: |" == lines[1][:27]
    assert "| 2 | on_write | 0.2 | – | " == lines[3][:27]
    assert ["", "- point 2 failed."] == lines[4:]


def test_csv_has_every_column_with_exact_values() -> None:
    header, first, second = csv.reader(io.StringIO(as_csv(LACKING)))

    assert ["run", "name", *columns_of(LACKING), "error"] == header
    assert "0.87654321" == first[header.index("test_accuracy")]
    assert ("", "E: | x") == (second[header.index("loss")], second[header.index("error")])


def test_a_metric_and_a_setting_can_have_the_same_name() -> None:
    rows = [
        row(number, settings={"steps": number}, metrics={"steps": 0.5 * number})
        for number in (1, 2)
    ]
    both = replace(BOTH, keys=["steps"], metrics=["steps"], rows=rows)
    table = list(csv.DictReader(io.StringIO(as_csv(both))))

    assert [("1", "0.5"), ("2", "1.0")] == [(one["steps"], one["metrics.steps"]) for one in table]
    assert ["1", "1", "0.5"] == shown(both)[3].split()[:3]


def test_many_settings_do_not_crowd_out_the_columns() -> None:
    keys = [f"params.setting_{number}" for number in range(12)]
    rows = [row(number, settings=dict.fromkeys(keys, "a value")) for number in (1, 2)]
    lines = shown(replace(BOTH, keys=keys, rows=rows))

    assert 80 >= max(map(len, lines))
    assert 2 <= sum(line.startswith("2 runs: further columns") for line in lines) <= 5


def test_rows_are_sorted_by_any_column_and_missing_values_are_last() -> None:
    rows = [*LACKING.rows, row(3, divergence="Infinity"), row(4, divergence=0.1)]

    assert ["4", "1", "3", "2"] == [
        one.name for one in ordered(rows, "divergence", descending=False)
    ]
    assert ["4", "3", "1", "2"] == [one.name for one in ordered(rows, "messages", descending=True)]
    assert 0.1 == value_of(rows[0], "params.rate")


def test_a_text_in_csv_is_no_formula_and_a_number_stays_a_number() -> None:
    settings = {"mode": "=HYPERLINK(1)", "params.rate": -0.5}
    one = row(1, settings=settings, error="@x", metrics={"loss": "-Infinity"})
    text = as_csv(replace(BOTH, rows=[one], metrics=["loss", "+sum"]))
    (cells,) = csv.DictReader(io.StringIO(text))

    assert ("'=HYPERLINK(1)", "'@x") == (cells["mode"], cells["error"])
    assert ("-0.5", "-Infinity") == (cells["params.rate"], cells["loss"])
    assert "'+sum" in cells


@pytest.mark.parametrize("width", range(60, 80))
@pytest.mark.parametrize("status", ["done", "failed", "interrupted"])
def test_rows_stay_rows_with_a_column_of_the_status(status: str, width: int) -> None:
    """The labels of points are shorter than their heading, which needs room, too."""
    lines = shown(replace(BOTH, rows=[row(1), row(2, status=status)]), width)

    tables = sum(line.startswith("2 runs") for line in lines)
    assert tables == sum(line.startswith("run ") for line in lines) > 0
