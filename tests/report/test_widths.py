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
from tests.report.test_comparison_page import row as run_row
from tests.report.test_findings_text import finding
from tests.report.test_run_page import LAYERS, RUN
from tests.report.test_space_time import story
from varsim.analysis.examination import Examination
from varsim.analysis.lens import Moment
from varsim.analysis.outcome import Note, Outcome, Verdict
from varsim.cli.commands.explain import _blocks
from varsim.report.bench_page import print_bench, print_comparison
from varsim.report.check_page import print_check
from varsim.report.comparison_page import print_comparison as print_comparison_of_runs
from varsim.report.explain_text import print_blocks
from varsim.report.findings_text import findings_text, told_findings
from varsim.report.lens_calls_page import print_calls, title_of
from varsim.report.page import print_page
from varsim.report.run_page import print_report
from varsim.report.run_rows import Comparison
from varsim.report.space_time import space_time

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


WIDE = {
    "CJK": "\N{CJK UNIFIED IDEOGRAPH-8868}",
    "emoji": "\N{GRINNING FACE}",
    "combining": "e\u0301",
}


def _result(file: io.StringIO, width: int, letter: str) -> list[str]:
    name = letter * ((width - 11) // 2)  # two columns each leave no room for a word beside it
    print_report(summary(result={name: "twelveletter " * 5, "loss": 0.25}), file, width)
    return [name, "twelveletter", "0.25"]


def _matrix(file: io.StringIO, width: int, letter: str) -> list[str]:
    first, second, third, fourth = (f"{end}{letter * (width // 5)}{end}" for end in "abcd")
    row = {first: 0.25, second: 0.125}
    print_report(summary(result={third: row, fourth: row}), file, width)
    return [first, second, third, fourth, "0.25", "0.125"]


def _runs(file: io.StringIO, width: int, letter: str) -> list[str]:
    rows = [run_row(i, name=f"{letter * 16}{i}", settings={"tag": letter * 9}) for i in (1, 2)]
    runs = Comparison(keys=["tag"], metrics=[], rows=rows, notes=[f"{letter * 5} " * 12])
    print_page(lambda console: print_comparison_of_runs(console, runs), file, width)
    return ["12,000", "24,000", letter * 9]


def _findings(file: io.StringIO, width: int, letter: str) -> list[str]:
    locations = ((f"{letter * 40}.py:7", 3),)
    wordy = finding(variable=letter * 14, locations=locations, what=f"{letter * 6} " * 9)
    file.write("\n".join(findings_text(told_findings([wordy], everything=True), width)))
    return [letter * 14, f"{letter * 3}.py:7", letter * 6]


def _events(file: io.StringIO, width: int, letter: str) -> list[str]:
    told = story(2)
    for replica in range(2):
        told.add(replica, "arrive", None, call=1, position=0, operation=letter * 30)
    file.write("\n".join(space_time(told.events, {}, width)))
    return ["1  arrive call 1", "2  "]


@pytest.mark.parametrize("letter", WIDE.values(), ids=WIDE)
@pytest.mark.parametrize("page", [_result, _matrix, _runs, _findings, _events])
@pytest.mark.parametrize("width", [45, 80])
def test_texts_with_wide_letters_fit_any_console(
    page: Callable[[io.StringIO, int, str], list[str]], width: int, letter: str
) -> None:
    file = io.StringIO()
    whole = page(file, width, letter)
    text = file.getvalue()

    assert width >= max(map(cell_len, text.splitlines()))
    assert [] == [one for one in whole if one not in text]


def test_variables_with_long_policies_are_a_table_at_80_columns() -> None:
    lines = [line.split() for line in shown("policies", 80).splitlines()]

    assert ["weights", "compressed:local_sgd:8:top_k:0.01", "MEAN"] in lines
    assert ["steps_done", "AUTO", "→", "ON_READ", "ONLY_FIRST_REPLICA"] in lines
    assert ["weights", "[64,", "10]", "float32", "20", "1"] in lines
