"""At every width of the console: no line is wider, no word is broken, no heading is cut."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.report.benches import bench
from tests.report.summaries import lens, summary, variable_summary
from tests.report.test_findings_text import finding
from tests.report.test_run_page import LAYERS, RUN
from varsim.analysis.examination import Examination
from varsim.analysis.lens import Moment
from varsim.analysis.outcome import Note, Outcome, Verdict
from varsim.cli.commands.explain import _blocks
from varsim.report.bench_page import print_bench, print_comparison
from varsim.report.check_page import print_check
from varsim.report.explain_text import print_blocks
from varsim.report.lens_calls_page import print_calls, title_of
from varsim.report.page import print_page
from varsim.report.run_page import print_report

WIDTHS = (40, 50, 60, 64, 76, 80, 100, 120, 200)
NARROWEST = {"explain on_read": 50}  # the page names methods that are wider than 40 columns
WORD = re.compile(r"[^\s,;:.()─…█/×]+")

_PART = np.array([0.1234], np.float32)
MOMENTS = [Moment(step, 0.0, (_PART, _PART * 2, _PART, _PART), _PART, _PART) for step in range(9)]
LONG = summary(
    variable_summary("w", lens([1.0] * 8, [2.0] * 8), shape=[8], writes=123_456, size_bytes=10**9),
    variable_summary("steps", lens(1, 1), aggregation="ONLY_FIRST_REPLICA", messages=1_234_567),
)
POLICIES = summary(
    *(
        variable_summary(
            name, requested=asked, synchronization=asked, aggregation="MEAN", shape=[64, 10]
        )
        for name, asked in (
            ("weights", "compressed:local_sgd:8:top_k:0.01"),
            ("bias", "compressed:on_write:top_k:0.001"),
        )
    ),
    variable_summary("steps_done", requested="AUTO", aggregation="ONLY_FIRST_REPLICA"),
)


def _steps(console: Console) -> None:
    print_calls(console, title_of("weights", "(ON_READ, MEAN)", [64, 10], 7), MOMENTS, 0)


def _check(console: Console) -> None:
    verdicts = [
        Verdict(name, outcome, "every process reads what it wrote, and nothing that it did not")
        for name, outcome in zip(("read-your-writes", "atomic", "record"), Outcome, strict=True)
    ]
    found = Examination(
        verdicts=tuple(verdicts),
        findings=(finding(), finding(variable="bias")),
        compared=None,
        num_events=1000,
        num_replicas=2,
        ending=None,
        run_failed=False,
        not_looked_at=(
            Note(text="whether it is right, which takes many words", option="--oracle"),
        ),
    )
    print_check(console, found, {})


PAGES: dict[str, Callable[[io.StringIO, int], None]] = {
    "run": lambda file, width: print_report(RUN, file, width),
    "layers": lambda file, width: print_report(summary(*LAYERS), file, width),
    "large numbers": lambda file, width: print_report(LONG, file, width),
    "policies": lambda file, width: print_report(POLICIES, file, width),
    "lens": lambda file, width: print_page(_steps, file, width),
    "check": lambda file, width: print_page(_check, file, width),
    "bench": lambda file, width: print_bench(bench(), file, width),
    "comparison": lambda file, width: print_comparison(bench(), bench(), file, width),
    "explain": lambda file, width: print_blocks(_blocks(None, None, 2), file, width),
    "explain on_read": lambda file, width: print_blocks(_blocks("on_read", "sum", 2), file, width),
}


@cache
def shown(page: str, width: int) -> str:
    file = io.StringIO()
    PAGES[page](file, width)
    return file.getvalue()


@pytest.mark.parametrize(
    "width",
    [
        40,
        pytest.param(60, marks=pytest.mark.thorough),
        80,
        pytest.param(120, marks=pytest.mark.thorough),
    ],
)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_any_console(page: str, width: int) -> None:
    """No line is too wide, and no word is cut: every word is in the page at another width."""
    text = shown(page, width)

    lines = [line for line in text.splitlines() if not line.startswith("saved in ")]
    assert width >= max(map(len, lines))
    if width < NARROWEST.get(page, 0):
        return
    others = {word for one in WIDTHS if one != width for word in WORD.findall(shown(page, one))}
    assert set() == set(WORD.findall(text)) - others


@pytest.mark.parametrize("width", [50, 80])
def test_names_with_wide_letters_leave_room_for_the_numbers(width: int) -> None:
    names = ("\N{CJK UNIFIED IDEOGRAPH-8868}" * 50, "\N{GRINNING FACE}" * 50)
    file = io.StringIO()
    print_report(summary(*(variable_summary(one, lens(1.25, 2.5)) for one in names)), file, width)
    lines = file.getvalue().splitlines()

    assert width >= max(map(cell_len, lines))
    assert 2 == sum(line.split()[1:] == ["1.25", "2.5", "–", "1.25"] for line in lines)


def test_variables_with_long_policies_are_a_table_at_80_columns() -> None:
    lines = [line.split() for line in shown("policies", 80).splitlines()]

    assert ["weights", "compressed:local_sgd:8:top_k:0.01", "MEAN"] in lines
    assert ["steps_done", "AUTO", "→", "ON_READ", "ONLY_FIRST_REPLICA"] in lines
    assert ["weights", "[64,", "10]", "float32", "20", "1"] in lines
