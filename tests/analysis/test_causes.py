"""Findings that follow from other findings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.analysis.build import parse_history
from varsim.analysis.causes import leading, with_causes
from varsim.analysis.examination import examine
from varsim.analysis.findings.model import Finding
from varsim.report.findings_text import findings_text, told_findings
from varsim.tracing.history import open_history

HEAD = """
replicas 2
variable a ON_WRITE MEAN float32 []
variable b ON_WRITE MEAN float32 []
variable v ON_WRITE NONE float32 []
variable w ON_WRITE NONE float32 []
program create a v=0 = 0
program create b v=0 = 0
program create v v=0 = 0
program create w v=0 = 0
program call call=1                                         as start
"""
TAIL = """
0 return call=1                                             as done-0
1 return call=1                                             as done-1
program receive replica=0                                   after done-0
program receive replica=1                                   after done-1
program finish call=1
"""


def replicas(lines: str) -> str:
    """Return a call in which both replicas do the same; {0} is the replica's number."""
    begin = "{0} begin call=1                               after start\n"
    return "".join(f"{begin}{lines}".format(replica_id) for replica_id in range(2))


CONFLICT = "{0} write v assign call=1 location=p.py:5 = {0}\n"
SPREADS = CONFLICT + (
    "{0} read v call=1 v=0 location=p.py:6 = {0}\n{0} write w assign call=1 location=p.py:7 = {0}\n"
)
LATE_READ = (
    "{0} write w assign call=1 location=p.py:7 = {0}\n{0} read v call=1 v=0 location=p.py:8 = 0\n"
    "{0} write v assign call=1 location=p.py:9 = {0}\n"
)
READS = "".join(
    f"""
program fetch {name} replica=0                              as fetch-{name}
0 component {name} v=0 = 0                                  as told-{name} after fetch-{name}
program receive replica=0                                   after told-{name}
program read {name} v=0 replica=0 location=p.py:12 = 0
"""
    for name in "vw"
)


def found(folder: Path, lines: str) -> tuple[Finding, ...]:
    """Return the findings about a call in which both replicas do what the lines say."""
    parse_history(HEAD + replicas(lines) + TAIL + READS).write(folder)
    with open_history(folder) as history:
        return examine(history).findings


def causes(findings: tuple[Finding, ...]) -> dict[str, str | None]:
    return {
        f"{one.kind.word} {one.variable}": one.cause
        and f"{one.cause.kind.word} {one.cause.variable}"
        for one in findings
    }


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            CONFLICT,
            {"divergence v": "write-write-conflict v", "write-write-conflict v": None},
            id="the-components-part-by-a-conflict",
        ),
        pytest.param(
            SPREADS,
            {
                "divergence v": "write-write-conflict v",
                "divergence w": "write-write-conflict w",
                "write-write-conflict v": None,
                "write-write-conflict w": "write-write-conflict v",
            },
            id="w-is-computed-from-v",
        ),
        pytest.param(
            LATE_READ,
            {
                "divergence v": "write-write-conflict v",
                "divergence w": "write-write-conflict w",
                "write-write-conflict v": None,
                "write-write-conflict w": None,
            },
            id="w-is-written-before-v-is-read",
        ),
    ],
)
def test_a_finding_follows_from_an_earlier_one_only_if_its_values_came_from_it(
    tmp_path: Path, lines: str, expected: dict[str, str | None]
) -> None:
    assert expected == causes(found(tmp_path, lines))


def test_reports_show_the_cause_and_below_it_what_follows(tmp_path: Path) -> None:
    findings = found(tmp_path, SPREADS)
    lines = findings_text(told_findings(findings))

    assert "4 findings, 3 of which follow from another" == lines[0]
    assert "write-write conflict: v" in lines
    assert "write-write conflict: w" not in lines
    assert any("write-write conflict: w, p.py:7" in line for line in lines)


def test_every_finding_is_shown_if_all_are_wanted(tmp_path: Path) -> None:
    lines = findings_text(told_findings(found(tmp_path, SPREADS), everything=True))

    assert "write-write conflict: w" in lines
    assert "  cause     it follows from the finding write-write conflict: v" in lines


def test_a_cause_that_is_not_listed_leaves_its_follower_in_the_lead(tmp_path: Path) -> None:
    (follower,) = [one for one in found(tmp_path, CONFLICT) if one.cause is not None]

    assert [(follower, [])] == leading([follower])


def test_a_finding_with_a_mistake_of_its_own_follows_from_no_other(tmp_path: Path) -> None:
    """Two variables that an averaging skips are two mistakes, also if one is read for the other."""
    findings = tuple(
        replace(one, own_cause=one.variable == "w", cause=None) for one in found(tmp_path, SPREADS)
    )
    with open_history(tmp_path) as history:
        after = causes(with_causes(history, findings))

    assert after["write-write-conflict w"] is None
    assert after["divergence v"] == "write-write-conflict v"
