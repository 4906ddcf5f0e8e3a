"""`varsim doctor`: what it prints, and its exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from varsim.cli.main import main
from varsim.launch import host_checks, logs
from varsim.launch.host_checks import Check, Request, State
from varsim.launch.remote import host_checkup
from varsim.launch.remote.host_launcher import HostLauncher
from varsim.transport import folders
from varsim.transport.folders import PrivateFolder, new_path

LONG = "a long text about what was found, which does not fit into one line of a terminal " * 2


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VARSIM_WORKERS", raising=False)
    monkeypatch.setattr(folders, "places", lambda: [tmp_path])
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Replace the checks by one check for each state; provide the requests of the first check."""
    requests: list[Request] = []

    def ok(request: Request) -> host_checks.Result:
        requests.append(request)
        return State.OK, "all there"

    checks = (
        ("first", ok),
        ("second", lambda _: (State.PROBLEM, LONG, "do this")),
        ("third", lambda _: (State.NOT_CHECKED, "not on this system")),
    )
    monkeypatch.setattr(host_checks, "CHECKS", checks)
    return requests


def doctor(*words: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *words], env={"COLUMNS": "80"})


def test_a_real_check_shows_python_and_finds_no_leftovers() -> None:
    result = doctor()
    assert "Python: 3." in result.output
    assert "leftovers: no folders of killed programs in" in result.output


def test_each_state_is_shown_with_its_remedy(asked: list[Request]) -> None:
    result = doctor()
    lines = result.output.splitlines()

    assert 1 == result.exit_code
    assert "ok           first: all there" == lines[0]
    assert lines[1].startswith("problem      second: a long text")
    assert "             → do this" in lines
    assert "not checked  third: not on this system" in lines
    assert "1 of 3 ok, 1 with a problem, 1 not checked on this system" == lines[-1]
    assert max(map(len, lines)) <= 80


def test_json_has_the_same_checks(asked: list[Request]) -> None:
    result = doctor("--json")
    said = json.loads(result.output)
    assert (1, False, []) == (result.exit_code, said["ok"], said["removed"])
    assert {"subject": "second", "state": "problem", "found": LONG, "remedy": "do this"} == said[
        "checks"
    ][1]


def test_what_was_not_checked_does_not_change_the_exit_code(
    asked: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_checks, "CHECKS", host_checks.CHECKS[::2])
    assert 0 == doctor().exit_code
    assert json.loads(doctor("--json").output)["ok"]


@pytest.mark.parametrize("state", [State.OK, State.PROBLEM])
def test_each_host_of_a_launcher_is_shown(
    asked: list[Request], monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    """A problem on one host is named, and makes the exit code 1."""
    monkeypatch.setattr(host_checks, "CHECKS", host_checks.CHECKS[:1])
    launchers: list[HostLauncher] = []

    def check_hosts(launcher: HostLauncher, num_workers: int) -> object:
        launchers.append(launcher)
        found = Check("agent", state, f"{num_workers} workers", "do that")
        return [Check("room", State.OK, "enough")], [("a", [found]), ("b", [])]

    monkeypatch.setattr(host_checkup, "check_hosts", check_hosts)
    words = ("--launcher", "ssh", "--hosts", "a,b", "-n", "3")
    result = doctor(*words)

    assert ("a", "b") == launchers[0].settings.names
    lines = result.output.splitlines()
    assert ["this machine", "host a", "host b"] == [
        one for one in lines if one.startswith(("this", "host"))
    ]
    assert "agent: 3 workers" in result.output
    problem = "2 of 3 ok, 1 with a problem; hosts with a problem: a"
    assert {State.OK: "3 of 3 ok", State.PROBLEM: problem}[state] == lines[-1]
    said = json.loads(doctor(*words, "--json").output)
    assert (state is State.OK) == said["ok"] == (result.exit_code == 0)
    assert ["a", "b"] == [one["host"] for one in said["hosts"]]
    assert ["first", "room"] == [one["subject"] for one in said["checks"]]


def test_settings_of_a_launcher_need_it() -> None:
    result = doctor("--hosts", "a,b")
    assert (2, True) == (result.exit_code, "--hosts is a setting of a launcher" in result.output)


@pytest.mark.parametrize(
    ("words", "environment", "workers"),
    [((), None, 2), ((), "7", 7), (("-n", "5"), "7", 5)],
)
def test_the_checks_use_the_number_of_workers(
    asked: list[Request],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    environment: str | None,
    workers: int,
) -> None:
    if environment is not None:
        monkeypatch.setenv("VARSIM_WORKERS", environment)
    doctor(*words, "--out", "elsewhere")
    assert [Request(workers, Path("elsewhere"))] == asked


def test_a_wrong_number_of_workers_exits_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2 == doctor("-n", "0").exit_code
    monkeypatch.setenv("VARSIM_WORKERS", "many")
    result = doctor()
    assert (2, True) == (result.exit_code, "VARSIM_WORKERS='many'" in result.output)


def test_leftovers_are_removed_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "places", list)  # logs of other programs are not found
    folder = PrivateFolder(new_path())
    os.close(folder._lock)
    folder._lock = -1

    assert 1 == doctor().exit_code
    assert folder.path.exists()
    removed = json.loads(doctor("--clean", "--json").output)["removed"]
    assert [str(folder.path)] == removed
    assert not folder.path.exists()
