"""Reports of real runs in headless Chromium: charts have marks, and nothing asks the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.browser import browser_installed, looked_at  # noqa: F401  # a fixture
from tests.webpage.look import SCHEMES, WIDTHS
from tests.webpage.runs import saved

pytestmark = [
    pytest.mark.usefixtures("browser_installed"),
    pytest.mark.thorough,
    pytest.mark.processes,
    pytest.mark.timeout(300),
]


def varsim(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "varsim", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert 0 == done.returncode, done.stderr


def assert_fine(found: dict[str, Any]) -> dict[str, Any]:
    """Assert what holds for every report, and return how it behaves."""
    expected = [(width, scheme) for width in WIDTHS for scheme in SCHEMES]
    assert expected == [(one["width"], one["scheme"]) for one in found["looks"]]
    for one in found["looks"]:
        assert ([], []) == (one["errors"], one["requests"])
        assert 0 == one["overflow"]
        assert one["charts"]
        assert all(one["charts"].values()), one["charts"]
    light, dark = (found["looks"][place]["background"] for place in (0, 1))
    assert light != dark
    behaviour: dict[str, Any] = found["behaviour"]
    assert ([], [], 0) == tuple(behaviour[key] for key in ("errors", "requests", "overflow"))
    assert 0 == behaviour["overflow on paper"]
    assert [] == behaviour["tools on paper"]
    assert behaviour["button"] in {"Copied", "Selected"}
    assert behaviour["numbers"] > 0
    assert "Skip to the content" == behaviour["first focus"]
    assert all(behaviour["switched"].values())
    return behaviour


def test_the_report_of_a_digits_run(tmp_path: Path):
    varsim(tmp_path, "run", "--workers", "4", "--mode", "on_write", "--steps", "66", "--quiet")
    varsim(tmp_path, "report", "-o", "x.html")
    found = looked_at("tests.webpage.look", str(tmp_path / "x.html"))
    behaviour = assert_fine(found)

    charts = found["looks"][0]["charts"]
    wanted = ["metric-loss", "metric-accuracy", "bytes", "messages", "critical-path"]
    assert {f"chart-{key}" for key in wanted} <= charts.keys()
    assert behaviour["switched"].keys() >= {"chart-bytes", "chart-critical-path"}


def test_the_report_of_a_run_with_findings(tmp_path: Path):
    saved(tmp_path / "run")
    varsim(tmp_path, "report", "run", "-o", "x.html")
    found = looked_at("tests.webpage.look", str(tmp_path / "x.html"))
    behaviour = assert_fine(found)

    assert (0, 1) == (behaviour["cost findings"], behaviour["other findings"])
    assert "chart-staleness-0" in found["looks"][0]["charts"]


def test_the_space_time_diagram_follows_mouse_and_keyboard(tmp_path: Path):
    saved(tmp_path / "run")
    varsim(tmp_path, "report", "run", "-o", "x.html", "--no-advice")
    for one in looked_at("tests.webpage.look_at_space_time", str(tmp_path / "x.html")).values():
        assert ([], [], 0) == (one["errors"], one["requests"], one["overflow"])
        assert one["start"] < one["dragged"] < one["turned"]
        assert not one["chosen after a drag"]
        assert one["zoomed by key"]
        assert one["zoomed out by button"]
        assert one["whole"]
        assert "finding" in one["finding"]
        assert "runs.py:" in one["finding"]
        assert one["finding"] != one["lane"]
        assert "" != one["first"] != one["second"] != ""
        assert "" == one["none"]
        assert "Choose an event to see its record." == one["record of none"]
        assert "no variable in the diagram has “zzz” in its name" in one["said of a wrong name"]
        assert (
            "Call 500 is not in the diagram: it has the calls 1 to 6."
            == one["said of a wrong call"]
        )
        assert ("", "") == (one["said of all"], one["said of a call"])
        assert "The program " in one["clicked"]
        assert one["rows"] > 1
        assert 0 < one["without a variable"] < one["shown"]
        assert 0 < one["without a process"] < one["shown"]
        assert 0 < one["of a name"] < one["without a variable"]
        assert one["by time"] > 0
        assert one["pixels between events by time"] >= 12, "events have their shapes"
        assert one["shown"] == one["all again"]


def test_the_report_of_a_sweep_of_sixteen_points(tmp_path: Path):
    axes = ["mode=auto,none,on_read,on_write", "workers=1,2,4,8"]
    varsim(tmp_path, "sweep", *axes, "--steps", "22")
    varsim(tmp_path, "report", "latest-sweep", "-o", "x.html")
    found = looked_at("tests.webpage.look", str(tmp_path / "x.html"))
    behaviour = assert_fine(found)

    assert (16, 4) == (behaviour["rows"], behaviour["filtered rows"])
    assert 4 == behaviour["rows with a setting"]
    assert behaviour["descending"] in {"4", "12"}, "those with the most messages"
    assert behaviour["ascending"] not in {"4", "12"}
    charts = found["looks"][0]["charts"]
    assert 16 <= charts["chart-trade-off-size_bytes"]
