"""The command `varsim check`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import CliRunner, Result

from tests.analysis.build import parse_history
from tests.analysis.golden import FOLDER, MARK
from tests.report.summaries import summary
from varsim.analysis import asked_kinds
from varsim.analysis.findings.compared import Compared
from varsim.analysis.returned import ReturnedValue
from varsim.analysis.unexplained import DIFFERENCE
from varsim.analysis.verdict import CHECKERS
from varsim.cli import fail_on
from varsim.cli.main import main
from varsim.experiments.store import as_json
from varsim.report.summary import Failure, RunStatus


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def varsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments])


def saved(name: str, folder: str = "runs/latest", before: str = "") -> Path:
    text = before + (FOLDER / f"{name}.txt").read_text("utf-8").partition(MARK)[0]
    path = Path(folder)
    path.mkdir(parents=True)
    return parse_history(text).write(path)


def test_the_last_run_is_judged():
    saved("reduction-valid")
    result = varsim()

    assert (0, "") == (result.exit_code, result.stderr)
    lines = result.stdout.splitlines()
    assert "VALID    reduction         every commit equals its recomputed reduction" in lines
    assert len(CHECKERS) + 1 == sum(line.startswith("VALID ") for line in lines)
    assert [
        "",
        "no finding: 22 events were searched for 23 kinds of findings that need no oracle",
        "",
        "varsim kept every promise of these settings (VALID). This does not say that your",
        "program is right.",
        "",
        "not looked at",
        "  - whether values equal those of a single device; use --oracle",
        "  - values outside variables, except small results of functions and collectives:",
        "    they are not recorded",
        "  - how the program ended: there is no summary.json beside the record, or this",
        "    version of varsim cannot read it",
    ] == lines[lines.index("") :]


def test_a_broken_promise_is_proved_and_sets_the_exit_code():
    """The argument may be the path of a history.db or of its directory."""
    path = saved("reduction-invalid", "elsewhere")
    result = varsim(str(path))

    assert 3 == result.exit_code
    assert result.stdout == varsim("elsewhere").stdout
    assert "INVALID  reduction         w: the commit differs from the reduction" in result.stdout
    proof = result.stdout.partition("\nreduction: ")[2].splitlines()
    assert ["event", "program", "replica", "0", "replica", "1"] == proof[1].split()
    assert "    9  commit w assign v1 5" in proof
    assert "promise of these settings (INVALID): w: the commit differs" in result.stdout


DIVERGED = """
replicas 2
variable v NONE NONE float32 []
program create v v=0 = 0
program call call=1                                         as start
0 begin call=1                                              after start
1 begin call=1                                              after start
0 write v assign call=1 location=p.py:5 = 1
1 write v assign call=1 location=p.py:5 = 2
0 return call=1                                             as done-0
1 return call=1                                             as done-1
program receive replica=0                                   after done-0
program receive replica=1                                   after done-1
program finish call=1
program fetch v replica=0                                   as fetch
0 component v v=0 = 1                                       as told after fetch
program receive replica=0                                   after told
program read v v=0 replica=0 location=p.py:9 = 1
"""


def test_findings_do_not_change_the_exit_code(tmp_path: Path):
    parse_history(DIVERGED).write(tmp_path)
    result = varsim(".")

    assert 0 == result.exit_code, result.stdout
    assert "divergence: v" in result.stdout
    assert "findings" in json.loads(varsim(".", "--json").stdout)


def test_the_verdict_on_an_incomplete_record_is_unknown():
    saved("reduction-valid", before="run complete=false\n")
    result = varsim()

    assert 4 == result.exit_code
    assert "UNKNOWN  record            not every process's record ended properly" in result.stdout
    assert "UNKNOWN  agreement         the same" in result.stdout


def test_json_is_the_only_output():
    saved("reduction-invalid")
    result = varsim("--json")
    found = json.loads(result.stdout)

    assert (3, "INVALID") == (result.exit_code, found["outcome"])
    assert found["verdict"].startswith("varsim broke a promise of these settings (INVALID): w: ")
    by_name = {one["checker"]: one for one in found["verdicts"]}
    assert [5, 6, 9] == by_name["reduction"]["events"]
    assert (1, "INVALID") == (by_name["reduction"]["variable"], by_name["reduction"]["outcome"])
    assert "VALID" == by_name["versions"]["outcome"]


@pytest.mark.parametrize("content", [None, "", "no database at all, but some text " * 40])
def test_a_run_is_judged_without_the_damaged_record_of_its_oracle(
    content: str | None, tmp_path: Path
):
    """Whether the file was deleted, emptied or damaged: a sentence says how to record it again."""
    parse_history(DIVERGED).write(tmp_path)
    (tmp_path / "oracle").mkdir()
    if content is not None:
        (tmp_path / "oracle" / "history.db").write_text(content, "utf-8")
    result, lens = varsim("."), CliRunner().invoke(main, ["lens", "."])

    assert (0, "") == (result.exit_code, result.stderr)
    said = " ".join(result.stdout.split())
    assert f"history.db is {'missing' if content is None else 'damaged'}" in said
    assert 1 == said.count("the oracle's record") == said.count("--oracle` repeats the run")
    assert (0, True) == (lens.exit_code, "--oracle` repeats" in " ".join(lens.stderr.split()))


def test_a_missing_history_is_an_error(tmp_path: Path):
    assert (2, True) == ((result := varsim()).exit_code, "there is no run" in result.stderr)
    (tmp_path / "history.db").write_text("no database at all, but some text " * 40)
    assert 2 == varsim(str(tmp_path)).exit_code


def test_an_oracle_with_an_incomplete_record_is_not_compared(tmp_path: Path):
    parse_history(DIVERGED).write(tmp_path)
    (tmp_path / "oracle").mkdir()
    parse_history(DIVERGED).write(tmp_path / "oracle")
    result = varsim(".")

    assert 0 == result.exit_code, result.stdout
    assert "the record of the oracle is not whole" in " ".join(result.stdout.split())


def with_summary(folder: Path, **changes: Any) -> None:
    parse_history(DIVERGED).write(folder)
    (folder / "summary.json").write_text(as_json(summary(**changes)), "utf-8")


FAILURE = Failure(kind="ValueError", text="no data", traceback="…", location="p.py:20")


def test_a_failed_run_is_printed_first_with_its_exit_code(tmp_path: Path):
    with_summary(tmp_path, status=RunStatus.FAILED, failure=FAILURE)
    result = varsim(".")

    assert 1 == result.exit_code, result.stderr
    assert ["failed run", "  what      ValueError: no data"] == result.stdout.splitlines()[:2]
    assert "  where     p.py:20" in result.stdout
    found = json.loads(varsim(".", "--json").stdout)
    assert ("failed", "failed run") == (found["status"], found["findings"][0]["kind"])
    assert "divergence" == found["findings"][1]["kind"]


def test_the_failure_of_a_run_without_a_record_is_printed_first():
    Path("failed").mkdir()
    text = as_json(summary(status=RunStatus.FAILED, failure=FAILURE))
    Path("failed/summary.json").write_text(text, "utf-8")
    result = varsim("failed")

    assert 1 == result.exit_code
    assert ["failed run", "  what      ValueError: no data"] == result.stdout.splitlines()[:2]
    assert "has no history.db" in result.stdout
    found = json.loads(varsim("failed", "--json").stdout)
    assert ("failed", "failed run") == (found["status"], found["findings"][0]["kind"])
    Path("failed/summary.json").write_text(as_json(summary()), "utf-8")
    assert 2 == varsim("failed").exit_code


def test_a_broken_promise_takes_precedence_over_a_failed_run():
    folder = saved("reduction-invalid").parent
    (folder / "summary.json").write_text(
        as_json(summary(status=RunStatus.FAILED, failure=FAILURE)), "utf-8"
    )
    assert 3 == varsim().exit_code


def test_an_interrupted_run_is_judged_up_to_its_end(tmp_path: Path):
    with_summary(tmp_path, status=RunStatus.INTERRUPTED, step=3)
    result = varsim(".")

    assert 0 == result.exit_code, result.stderr
    assert result.stdout.startswith("The run was interrupted after 3 of 10 steps:")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"total_steps": None, "step": 1}, "after 1 step:"),
        ({"total_steps": None, "step": 0, "calls": 3}, "after 3 calls:"),
        ({"interrupted": ["training"], "step": 3}, "after 3 of 10 steps:"),
    ],
)
def test_the_progress_of_an_interrupted_run_is_printed(
    changes: dict[str, Any], said: str, tmp_path: Path
):
    with_summary(tmp_path, status=RunStatus.INTERRUPTED, **changes)
    assert said in varsim(".").stdout.splitlines()[0]


def test_an_interrupt_after_the_training_loses_no_events(tmp_path: Path):
    with_summary(tmp_path, status=RunStatus.INTERRUPTED, interrupted=["judging"])
    assert "interrupted" not in varsim(".").stdout


def test_a_record_that_a_lost_worker_ended_was_not_interrupted(tmp_path: Path):
    """Only the last incarnation was interrupted."""
    with_summary(tmp_path, status=RunStatus.INTERRUPTED, incarnation=1, incarnations=2)
    assert "interrupted" not in varsim(".").stdout
    with_summary(tmp_path, status=RunStatus.INTERRUPTED, incarnation=2, incarnations=2)
    assert "interrupted" in varsim(".").stdout


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": RunStatus.INTERRUPTED, "step": 3}, "The run was interrupted after 3 of 10"),
        ({"status": RunStatus.FAILED, "failure": FAILURE, "step": 3}, "The run failed after 3 of"),
        ({}, ""),
    ],
)
@pytest.mark.parametrize(
    "command", [["lens", "."], ["advise", "."], ["whatif", ".", "--set", "*=on_read"]]
)
def test_each_view_says_that_the_run_ended_early(
    command: list[str], changes: dict[str, Any], said: str, tmp_path: Path
):
    with_summary(tmp_path, **changes)
    result = CliRunner().invoke(main, command)

    assert 0 == result.exit_code, result.output
    assert said in result.stdout
    assert bool(said) == ("The rest of the program may" in " ".join(result.stdout.split()))
    in_json = CliRunner().invoke(main, [*command, "--json"])
    assert json.loads(in_json.stdout)
    assert said in in_json.stderr


def test_the_reason_for_a_missing_oracle_is_printed(tmp_path: Path):
    with_summary(tmp_path, no_oracle="the oracle was interrupted")
    said = "whether values equal those of a single device: the oracle was interrupted"
    assert said in [
        one["text"] for one in json.loads(varsim(".", "--json").stdout)["not_looked_at"]
    ]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (["--fail-on", "any"], 5),
        (["--fail-on", "stale-read,Divergence"], 5),
        (["--fail-on", "stale read", "--fail-on", "divergence"], 5),
        (["--fail-on", "stale-read"], 0),
        (["--fail-on", "read"], 0),  # a part of stale-read and others
        (["--fail-on", "mean-of-means"], 4),
        (["--fail-on", "any,unexplained-difference"], 5),
        (["--fail-on", "unexplained_difference"], 4),
        ([], 0),
    ],
)
def test_fail_on_sets_the_exit_code(asked: list[str], code: int, tmp_path: Path):
    """If a kind was not searched for, the exit code is 4, not 0."""
    parse_history(DIVERGED).write(tmp_path)
    assert code == varsim(".", *asked).exit_code


def test_the_help_says_that_a_part_of_a_kinds_name_is_enough():
    assert "A part of a name is enough: `conflict`" in " ".join(varsim("--help").stdout.split())


def test_fail_on_names_the_returned_values_that_differ():
    value = ReturnedValue(name="accuracy", got=3.45, wanted=0.8625, differs=True)
    same = ReturnedValue(name="loss", got=1.0, wanted=1.0)
    compared = Compared(
        values=1, locations=1, differences=(), uncompared=(), own=(), returned=(value, same)
    )
    found = Mock(compared=compared)

    assert "unexplained-difference of accuracy (returned by the program)" == fail_on.named(
        found, DIFFERENCE
    )


def test_the_error_for_an_unknown_kind_names_the_nearest_one(tmp_path: Path):
    parse_history(DIVERGED).write(tmp_path)
    result = varsim(".", "--fail-on", "stale-raed")

    assert 2 == result.exit_code
    assert "no such kind of finding; did you mean 'stale-read'" in result.stderr


@pytest.mark.parametrize("nothing", ["", ",", " , "])
def test_fail_on_without_a_kind_is_an_error(tmp_path: Path, nothing: str):
    parse_history(DIVERGED).write(tmp_path)
    result = varsim(".", "--fail-on", nothing)

    assert (2, True) == (result.exit_code, "does not name a kind of finding" in result.stderr)


def test_the_help_has_every_kind_of_finding():
    said = re.sub("[,;`]", " ", varsim("--help").stdout).split()
    assert [] == [word for word in asked_kinds.words() if word not in said]


def test_a_failed_run_takes_precedence_over_its_findings(tmp_path: Path):
    with_summary(tmp_path, status=RunStatus.FAILED, failure=FAILURE)
    assert 1 == varsim(".", "--fail-on", "any").exit_code


def test_an_event_is_shown_with_the_events_around_it(tmp_path: Path):
    parse_history(DIVERGED).write(tmp_path)
    result = varsim(".", "--event", "5")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]

    assert 0 == result.exit_code, result.stderr
    assert "event 5 of 15" == lines[0]
    for expected in (
        "process replica 0; event 1 of this process",
        "call in call 1 of strategy.run",
        "variable v (NONE, NONE, float32 []), created at program.py:1",
        "operation assign",
        "location p.py:5",
        "value float32 []: 1",
        "neighbouring events of v",
        "5 write v assign 1",
        "6 write v assign 2",
    ):
        assert expected in lines


def test_events_are_shown_as_json(tmp_path: Path):
    parse_history(DIVERGED).write(tmp_path)
    first, second = json.loads(varsim(".", "--json", "--event", "5", "--event", "2").stdout)

    assert (5, "write", 1.0, 1) == tuple(first[key] for key in ("event", "kind", "value", "step"))
    assert (2, "call", None) == tuple(second[key] for key in ("event", "kind", "value"))
    assert 5 in first["around"]


@pytest.mark.parametrize("number", ["99", "0", "-1", "9" * 30])
def test_an_unknown_event_is_refused(tmp_path: Path, number: str):
    parse_history(DIVERGED).write(tmp_path)
    result = varsim(".", "--event", number)
    assert (2, True) == (result.exit_code, "the record has events 1 to 15" in result.stderr)


def test_the_reason_for_a_missing_value_is_shown(tmp_path: Path):
    parse_history(DIVERGED.replace("location=p.py:5 = 1", "location=p.py:5 ~ 1")).write(tmp_path)
    assert "was recorded, because it is larger than 1 KiB: use --trace messages" in " ".join(
        varsim(".", "--event", "5").stdout.split()
    )
