"""`varsim doctor` on several "hosts", which are agents of this host."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from varsim.launch import host_checks
from varsim.launch.host_checks import CHECKS, Check, State
from varsim.launch.remote import host_checkup
from varsim.launch.remote.agent_checks import checks_of_this_host
from varsim.launch.remote.greeting import Greeting
from varsim.launch.remote.host_checkup import HostChecks, check_hosts
from varsim.launch.remote.settings import HostSettings
from varsim.launch.remote.ssh import SshLauncher
from varsim.tracing.host_clocks import ClockReading

SSH = """\
#!/bin/sh
for command; do host=$next; next=$command; done
case $host in
    refused) echo "ssh: connect to host refused port 22: Connection refused"; exit 255;;
    silent) exec cat;;
    *) exec sh -c "$command";;
esac
"""


def checked(*hosts: str, limit_s: float = 30.0) -> dict[str, dict[str, Check]]:
    """Return the checks of hosts: name → subject → check."""
    settings = HostSettings(hosts, listen="127.0.0.1", start_timeout_s=limit_s)
    more, found = check_hosts(SshLauncher(settings), 5)
    assert [] == more
    return by_subject(found)


def by_subject(found: object) -> dict[str, dict[str, Check]]:
    assert isinstance(found, list)
    hosts: list[HostChecks] = found
    return {name: {one.subject: one for one in checks} for name, checks in hosts}


@pytest.mark.processes
@pytest.mark.thorough
def test_each_host_runs_the_checks_of_this_machine(commands: Path) -> None:
    (commands / "ssh").write_text(SSH)
    found = checked("one", "refused", "two")

    assert ["one", "two", "refused"] == list(found)
    of_machine = {subject for subject, _ in CHECKS} - {"folder of runs"}
    for name in ("one", "two"):
        checks = found[name]
        assert {"agent", "versions", "clock offset", "port for workers"} == (
            checks.keys() - of_machine
        )
        assert of_machine <= checks.keys()
        assert all(checks[one].state is State.OK for one in checks.keys() - of_machine)
        assert "2 workers" in checks["shared memory"].found, "5 workers on 3 hosts"
    (refused,) = found["refused"].values()
    assert State.PROBLEM is refused.state
    assert "not reached: has ended: `ssh` exited with code 255" in refused.found
    assert "Connection refused" in refused.found
    assert "nothing else was checked there" in refused.remedy


@pytest.mark.processes
@pytest.mark.thorough
def test_a_host_with_other_releases_is_asked_nothing_else(
    commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (commands / "ssh").write_text(SSH)
    here = Greeting.of_this_host()._replace(varsim="0.0.9")
    monkeypatch.setattr(host_checkup, "Greeting", _Newer(here))
    found = checked("one")["one"]

    assert ["agent", "versions"] == list(found)
    assert State.PROBLEM is found["versions"].state
    assert "and the program has 0.0.9" in found["versions"].found
    assert "install the same releases on all hosts" in found["versions"].remedy


class _Newer:
    """A stand-in for the class of greetings: this host has another release."""

    def __init__(self, here: Greeting) -> None:
        self._here = here
        self.from_value = Greeting.from_value

    def of_this_host(self) -> Greeting:
        return self._here


@pytest.mark.processes
def test_a_host_that_does_not_join_in_time_is_a_problem(commands: Path) -> None:
    (commands / "ssh").write_text(SSH)
    (check,) = checked("silent", limit_s=0.2)["silent"].values()
    assert "not reached: no agent has joined tcp://127.0.0.1:" in check.found
    assert "within 0.2 s" in check.found
    assert "a firewall that closes this port" in check.remedy


def test_the_port_for_workers_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_checks, "CHECKS", [])
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        value = {"workers": 2, "endpoint": endpoint}
        assert [["port for workers", "ok", f"{endpoint} accepts a connection", ""]] == (
            checks_of_this_host(value)
        )
    ((_, state, found, remedy),) = checks_of_this_host(value)
    assert ("problem", f"{endpoint} cannot be reached: Connection refused") == (state, found)
    assert "allow this port in the firewall" in remedy


def test_clocks_that_differ_are_named_with_a_remedy_and_stop_nothing() -> None:
    steady = [ClockReading(0, 10**15, 2_000_000)]
    near = host_checkup._clock(steady, ClockReading(0, -300_000, 100_000))
    assert (State.OK, "") == (near.state, near.remedy)
    assert (
        "0.3 ms behind this machine, known to 0.1 ms; in records, times are right to 2.0 ms"
        == near.found
    )
    far = host_checkup._clock(steady, ClockReading(0, 5 * 10**9, 100_000))
    assert State.OK is far.state
    assert far.found.startswith("5000.0 ms ahead of this machine")
    assert "set the clock" in far.remedy
    assert State.NOT_CHECKED is host_checkup._clock([], None).state
