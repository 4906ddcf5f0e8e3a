"""The texts of findings."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest

from varsim.analysis.examination import Examination
from varsim.analysis.findings.divergence import DIVERGENCE
from varsim.analysis.findings.model import Cause, Finding
from varsim.analysis.findings.staleness import STALE_READ
from varsim.analysis.findings.waits import STRAGGLER
from varsim.report.check_page import print_check
from varsim.report.findings_text import findings_text, in_lines, told_findings
from varsim.report.formatting import bounded
from varsim.report.page import print_page
from varsim.report.terminal import WIDTH


def finding(**changes) -> Finding:
    settings = {
        "kind": STALE_READ,
        "variable_id": 3,
        "variable": "weights",
        "locations": (("train.py:12", 8), ("eval.py:4", 1)),
        "count": 9,
        "what": "9 of 19 reads in replicas lacked up to 6 writes of other replicas.",
        "remedy": "Read it outside strategy.run.",
        "events": (12, 40),
        "histogram": ((0, 10), (2, 5), (6, 4)),
    }
    return Finding(**(settings | changes))


def text_of(
    findings: Sequence[Finding], width: int = WIDTH, *, everything: bool = False
) -> list[str]:
    return findings_text(told_findings(findings, everything=everything), width)


def test_a_finding_says_what_where_how_often_and_what_to_do() -> None:
    assert [
        "1 finding",
        "",
        "stale read: weights",
        "  what      9 of 19 reads in replicas lacked up to 6 writes of other replicas.",
        "  how often 9×",
        "  where     train.py:12  8×",
        "            eval.py:4  1×",
        "  staleness 0  ████████████████████████  10",
        "            2  ████████████              5",
        "            6  ██████████                4",
        "  what to do",
        "            Read it outside strategy.run.",
        "  how sure  likely: programs that do this usually mean something else",
        "  events    12, 40",
    ] == text_of([finding(events=(40, 12))])


def test_what_follows_from_a_finding_is_a_line_of_it() -> None:
    cause = Cause(STALE_READ, 1, "weights")
    follower = finding(variable_id=2, variable="rate", cause=cause)
    lines = text_of([follower, finding(variable_id=1)])
    assert "2 findings, 1 of which follows from another" == lines[0]
    assert "  leads to  stale read: rate, train.py:12" in lines
    assert "stale read: rate" not in lines


def test_the_example_of_an_event_is_one_that_the_page_shows() -> None:
    """The follower comes first in the record, but only its lead is shown."""
    cause = Cause(STALE_READ, 1, "weights")
    follower = finding(variable_id=2, variable="rate", cause=cause, events=(7,))
    examined = Examination(
        verdicts=(),
        findings=(follower, finding(variable_id=1, events=(12,))),
        compared=None,
        num_events=40,
        num_replicas=2,
        ending=None,
        run_failed=False,
        not_looked_at=(),
    )
    file = io.StringIO()
    print_page(lambda console: print_check(console, examined, {}), file, WIDTH)

    assert "`--event 12` shows that event" in file.getvalue()


def test_findings_about_cost_come_last_and_show_no_wrong_value() -> None:
    cost = finding(kind=STRAGGLER, variable="cheap")
    lines = text_of([cost, finding()])
    assert "2 findings (1 of cost only)" == lines[0]
    titles = "stale read: weights", "waiting for one replica: cheap"
    assert [*titles] == [one for one in lines if one in titles]
    assert [
        "  effect    only cost: messages or time that the program does not need. This",
        "            finding does not show a wrong value.",
    ] == [one for one in lines if "cost: " in one or "wrong value" in one]


def test_a_finding_without_a_histogram_has_no_line_for_staleness() -> None:
    assert not any("staleness" in line for line in text_of([finding(histogram=())]))


def test_the_title_of_a_finding_without_a_variable_is_its_kind() -> None:
    lines = text_of([finding(kind=STRAGGLER, variable_id=None, variable="")])
    assert "waiting for one replica" == lines[2]


def test_many_degrees_of_staleness_are_shown_as_ranges() -> None:
    lines = text_of([finding(histogram=tuple((age, 1) for age in range(16)))])
    told = [line.split()[-3] for line in lines if "█" in line]
    assert ["0", "1", "2–3", "4–7", "8–15"] == told


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"what": "so many words " * 40},
        {"locations": (("a/" * 60 + "train.py:12", 8), ("eval.py:4", 1))},
        {"variable": "block/" * 20},
        {"histogram": tuple((age, 10**age) for age in range(8))},
    ],
    ids=["nothing", "what", "place", "variable", "histogram"],
)
def test_no_line_is_wider_than_the_console(changes, width: int) -> None:
    assert width >= max(map(len, text_of([finding(**changes)], width)))


def test_a_location_that_is_too_wide_is_cut_at_its_start() -> None:
    lines = text_of([finding(locations=(("a/" * 60 + "train.py:12", 8),))])
    assert any(line.endswith("/train.py:12") for line in lines)


LAYERS = [
    finding(
        variable=f"layer_{number:02}/kernel",
        variable_id=number,
        what=f"{number} of 19 reads of layer_{number:02}/kernel lacked writes.",
        locations=(("train.py:12", number),),
        count=number,
        histogram=((0, 1), (number, 1)),
    )
    for number in range(1, 65)
]


def test_similar_findings_are_shown_once() -> None:
    """The text has the sum of the counts, and otherwise describes the most frequent finding."""
    assert [
        "64 findings, 1 shown: similar findings are shown once (--all shows each)",
        "",
        "stale read: layer_*/kernel (64 variables)",
        "  what      layer_64/kernel: 64 of 19 reads of layer_64/kernel lacked writes.",
        "  how often 2,080×",
        "  where     train.py:12",
        "  staleness      0  ████████████████████████  64",
    ] == text_of(LAYERS)[:7]
    assert ["stale read: layer_*/kernel (64 variables), train.py:12"] == in_lines(LAYERS)


def test_all_findings_are_shown_on_request() -> None:
    lines = text_of(LAYERS, everything=True)

    assert "64 findings" == lines[0]
    assert 64 == sum(line.startswith("stale read: ") for line in lines)


@pytest.mark.parametrize(
    "other",
    [
        {"kind": DIVERGENCE},
        {"locations": (("train.py:13", 8), ("eval.py:4", 1))},
        {"what": "9 of 19 reads in replicas lacked nothing."},
        {"remedy": "Read it elsewhere."},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_findings_that_differ_in_more_than_the_variable_are_shown_separately(other) -> None:
    lines = text_of([finding(), finding(variable="bias", **other)])

    assert "2 findings" == lines[0]


@pytest.mark.parametrize("what", ["x" * 3_000_000, "line\n" * 600_000])
def test_the_middle_of_a_very_long_error_is_left_out(what: str) -> None:
    text = "\n".join(text_of([finding(what=f"BEGIN {what} END")]))

    assert "BEGIN" in text
    assert "END" in text
    assert len(text) < 7_000
    assert text.count("\n") < 100
    assert f" of {len(what) + 10:,} characters are left out" in " ".join(text.split())
    assert "`varsim check --json` has the whole text" in " ".join(text.split())


@pytest.mark.parametrize("what", ["x" * 4_000, "line\n" * 79])
def test_an_error_that_is_not_very_long_is_whole(what: str) -> None:
    assert what == bounded(what, "summary.json")
