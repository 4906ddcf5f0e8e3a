"""The documents of `varsim check`: `--json` with its schema, and `--sarif`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.analysis.build import parse_history
from tests.cli.test_check import DIVERGED
from tests.report.summaries import summary
from varsim.cli.main import main
from varsim.experiments.store import as_json
from varsim.report.check_json import CheckJson, schema
from varsim.report.sarif import _message
from varsim.report.summary import Failure, RunStatus

INCOMPLETE = "run complete=false\n"


@pytest.fixture(autouse=True)
def _record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parse_history(DIVERGED).write(tmp_path)


def varsim(*arguments: str) -> Any:
    """Return the document that a command prints."""
    return json.loads(CliRunner().invoke(main, list(arguments)).stdout)


def sarif(*arguments: str) -> Any:
    """Return the run in a SARIF log that has one."""
    (run,) = varsim("check", ".", "--sarif", *arguments)["runs"]
    return run


def test_a_finding_in_json_has_its_line_its_certainty_and_its_words() -> None:
    found = varsim("check", ".", "--json")["findings"]
    (finding,) = [one for one in found if one["kind"] == "divergence"]

    assert ("divergence", "divergence", "v") == tuple(
        finding[key] for key in ("kind", "word", "variable")
    )
    assert [
        {"file": "p.py", "line": 5, "count": 1},
        {"file": "p.py", "line": 9, "count": 1},
    ] == finding["locations"]
    assert ("pattern", True) == (finding["certainty"], finding["about_values"])
    assert finding["what"]
    assert finding["remedy"]


def test_the_schema_accepts_what_is_printed() -> None:
    printed = json.dumps(varsim("check", ".", "--json"))
    CheckJson.model_validate_json(printed, strict=True)

    assert schema() == varsim("schema", "check")


def test_the_schema_describes_every_member() -> None:
    for definition in schema()["$defs"].values():
        for name, member in definition["properties"].items():
            assert member.get("description"), f"{definition['title']}.{name}"


def test_a_finding_in_sarif_has_a_rule_a_level_and_a_line(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("")
    run = sarif()
    (result,) = [one for one in run["results"] if one["ruleId"] == "divergence"]
    rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]

    assert ("divergence", "warning") == (result["ruleId"], result["level"])
    assert "divergence" == rule["id"] == rule["shortDescription"]["text"]
    assert result["message"]["text"].startswith("v: ")
    assert [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "p.py", "uriBaseId": "SRCROOT"},
                "region": {"startLine": 5},
            }
        }
    ] == result["locations"]
    assert run["originalUriBaseIds"]["SRCROOT"]["uri"] == f"{tmp_path.as_uri()}/"


def test_sarif_names_the_file_that_the_program_was_run_from(tmp_path: Path) -> None:
    program = tmp_path.parent / f"{tmp_path.name}-program"
    program.mkdir()
    (program / "p.py").write_text("")
    (tmp_path / "origin.json").write_text(json.dumps({"program": str(program)}))
    run = sarif()
    place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]

    assert {"uri": "p.py", "uriBaseId": "PROGRAMROOT"} == place
    assert f"{program.as_uri()}/" == run["originalUriBaseIds"]["PROGRAMROOT"]["uri"]


def test_a_message_in_sarif_has_literal_braces_and_its_lines_to_paste_as_code() -> None:
    shown = _message("v_1*: {0} of 2", "Use this:", paste=["v = {}"])

    assert "v_1*: {{0}} of 2\n\nUse this:\n\nv = {{}}" == shown["text"]
    assert "v_1\\*: {{0}} of 2\n\nUse this:\n\n```python\nv = {{}}\n```" == shown["markdown"]
    assert {"text": "v = {{}}"} == _message("v = {}")


def test_sarif_says_what_was_not_looked_at_and_that_a_verdict_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "history.db").unlink()
    parse_history(DIVERGED + INCOMPLETE).write(tmp_path)
    (invocation,) = sarif()["invocations"]
    first, *others = invocation["toolExecutionNotifications"]

    assert "warning" == first["level"]
    assert "(UNKNOWN)" in first["message"]["text"]
    assert any("not looked at: findings" in one["message"]["text"] for one in others)


@pytest.mark.parametrize("recorded", [True, False])
def test_a_failed_run_is_an_error_in_sarif(tmp_path: Path, *, recorded: bool) -> None:
    failure = Failure(kind="ValueError", text="no rows", traceback="", location="p.py:5")
    text = as_json(summary(status=RunStatus.FAILED, failure=failure))
    (tmp_path / "summary.json").write_text(text)
    if not recorded:
        (tmp_path / "history.db").unlink()
    run = sarif()
    (failed,) = [one for one in run["results"] if one["ruleId"] == "failed-run"]

    assert not run["invocations"][0]["executionSuccessful"]
    assert "error" == failed["level"]
    assert "ValueError: no rows" in failed["message"]["text"]


def test_only_one_document_is_printed() -> None:
    result = CliRunner().invoke(main, ["check", ".", "--sarif", "--json"])

    assert (2, "") == (result.exit_code, result.stdout)
    assert "give only one of them" in result.stderr


def test_a_single_event_has_no_form_in_sarif() -> None:
    result = CliRunner().invoke(main, ["check", ".", "--sarif", "--event", "3"])

    assert 2 == result.exit_code
    assert "--json" in result.stderr
