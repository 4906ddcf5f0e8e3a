"""Settings of launchers for several hosts: wrong ones are refused with a remedy."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

import varsim as tf
from varsim.errors import ConfigError, StartError
from varsim.launch.backends import LAUNCHERS, named_launcher
from varsim.launch.remote.engine_ranks import rank_and_size
from varsim.launch.remote.host_launcher import CommandLauncher, split
from varsim.launch.remote.join_key import JoinKey
from varsim.launch.remote.settings import HostSettings
from varsim.transport.keys import KeyPair

PORT = 7_000
TF_CONFIG = json.dumps(
    {
        "cluster": {"worker": ["b:1", "c:1"], "chief": ["a:1"], "ps": ["d:1"]},
        "task": {"type": "worker", "index": 1},
    }
)
KEY = JoinKey(KeyPair(b"p" * 40, b"s" * 40), b"v" * 40)


@pytest.mark.parametrize(
    ("launcher", "said"),
    [
        ("shh", "invalid launcher 'shh': .*did you mean 'ssh'"),
        ({"ssh": {}, "join": {}}, "launcher names 2 launchers"),
        ({"ssh": ["a"]}, "the settings of launcher 'ssh' must be a mapping"),
        ({"ssh": {"host": ["a"]}}, "launcher 'ssh' has no setting 'host': .*did you mean 'hosts'"),
        ({"ssh": {"hosts": []}}, "hosts is \\[\\], and must be a list of names of hosts"),
        ({"join": {"hosts": 0}}, "hosts is 0, and must be a list of names of hosts, or their num"),
        ({"join": {"hosts": True}}, "hosts is True"),
        ({"join": {"listen": 7}}, "listen is 7, and must be a text"),
        ({"srun": {"options": "-p short"}}, "options is '-p short', and must be a list of texts"),
        *(
            ({name: {"start_timeout_s": wrong}}, f"start_timeout_s is {wrong}, and must be a posi")
            for name in ("join", "ray")
            for wrong in (0, True, float("inf"))
        ),
        ({"process": {"hosts": 2}}, "launcher 'process' has no settings"),
    ],
)
def test_wrong_settings_are_refused(launcher: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        named_launcher(launcher)
    with pytest.raises(ConfigError, match=said):
        tf.distribute.MirroredStrategy(["cpu:0"], launcher=launcher)


def commands(launcher: str, **settings: Any) -> list[tuple[str, ...]]:
    """Return the arguments of a launcher's commands."""
    given = {"python": "python3", **settings}
    made: CommandLauncher = LAUNCHERS.load(launcher).from_settings(given)
    found = made.commands(
        f"tcp://203.0.113.1:{PORT}", KEY, Path(settings.get("key", "/none")).parent
    )
    return [one.arguments for one in found]


def test_no_command_has_the_key(tmp_path: Path) -> None:
    """Other users of a host can read the arguments of a process."""
    agent = f"python3 -P -m varsim worker --coordinator tcp://203.0.113.1:{PORT} --key"
    key = str(tmp_path / "key")
    ssh = commands("ssh", hosts=["a", "b"], options=["-p", "2222"])
    mpirun = commands("mpirun", hosts=["a", "b"], key=key)
    srun = commands("srun", hosts=2, options=["--partition=short"], key=key)

    assert [
        ("ssh", "-o", "BatchMode=yes", "-p", "2222", host, f"exec {agent} - --rank {rank}")
        for rank, host in enumerate("ab")
    ] == ssh
    placed = "mpirun --map-by ppr:1:node --bind-to none -np 2 --host a,b"
    assert [(*placed.split(), *agent.split(), key)] == mpirun
    placed = "srun --ntasks-per-node=1 --kill-on-bad-exit=0 --cpu-bind=none --nodes=2"
    assert [(*placed.split(), "--partition=short", *agent.split(), key)] == srun
    said = "".join(map(shlex.join, (*ssh, *mpirun, *srun)))
    assert not any(key in said for key in ("p" * 40, "s" * 40, "v" * 40))


def test_the_command_to_run_by_hand_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key"
    assert [] == commands("join", hosts=2, key=str(key))
    said = capsys.readouterr().err
    assert f"varsim worker --coordinator tcp://203.0.113.1:{PORT} --key {key}\n" in said
    assert 0o600 == key.stat().st_mode & 0o777


@pytest.mark.parametrize(("launcher", "said"), [("ssh", "names of the hosts"), ("join", "number")])
def test_hosts_are_needed(launcher: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        commands(launcher)


def test_the_address_to_listen_at() -> None:
    assert ("tcp://203.0.113.1:*", "tcp://203.0.113.1:*") == HostSettings(
        listen="203.0.113.1"
    ).endpoints()
    both = HostSettings(listen=f"203.0.113.1:{PORT}").endpoints()
    assert (f"tcp://203.0.113.1:{PORT}", f"tcp://203.0.113.1:{PORT + 1}") == both
    assert "tcp://127.0.0.1:*" == HostSettings(("me@127.0.0.1",)).endpoints()[0]
    for wrong in ("203.0.113.1:x", "203.0.113.1:0", "203.0.113.1:65535"):
        with pytest.raises(ConfigError, match=f"listen: '{wrong}' must be ADDRESS"):
            HostSettings(listen=wrong).endpoints()


def test_an_address_that_is_not_known_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostbyname", lambda _: "127.0.1.1")
    with pytest.raises(StartError, match=r"name it, such as listen: 203\.0\.113\.1"):
        HostSettings().endpoints()


def test_tf_config_names_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", TF_CONFIG)
    assert (("a", "b", "c"), 3) == (HostSettings().names, HostSettings().number)
    assert ("x",) == HostSettings(("x",)).names
    assert ((), 2) == (HostSettings(2).names, HostSettings(2).number)
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["worker-0", "worker-1"]}}))
    assert () == HostSettings().names, "names without ports are no addresses"
    for wrong in ("{", "[]", '{"cluster": 7}', '{"cluster": {"worker": 7}}'):
        monkeypatch.setenv("TF_CONFIG", wrong)
        with pytest.raises(ConfigError, match="TF_CONFIG cannot be understood: it must be JSON"):
            assert HostSettings().number is None


@pytest.mark.parametrize(
    ("replicas", "hosts", "expected"),
    [(4, 2, [2, 2]), (5, 2, [3, 2]), (3, 3, [1, 1, 1]), (7, 3, [3, 2, 2]), (1, 1, [1])],
)
def test_each_host_has_neighbouring_replicas(
    replicas: int, hosts: int, expected: list[int]
) -> None:
    shares = split(replicas, hosts)
    assert expected == [len(one) for one in shares]
    assert list(range(replicas)) == [replica_id for one in shares for replica_id in one]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (None, None)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "3"}, (1, 3)),
        ({"PMI_RANK": "0", "PMI_SIZE": "2"}, (0, 2)),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "4"}, (2, 4)),
        ({"JOB_COMPLETION_INDEX": "5"}, (5, None)),
        ({"SLURM_PROCID": "x"}, (None, None)),
        ({"TF_CONFIG": TF_CONFIG}, (2, 3)),
        ({"TF_CONFIG": TF_CONFIG, "SLURM_PROCID": "0"}, (0, None)),
        ({"TF_CONFIG": TF_CONFIG.replace('"index": 1', '"index": 2')}, (None, None)),
        ({"TF_CONFIG": "{}"}, (None, None)),
    ],
)
def test_an_engine_numbers_the_hosts(
    environment: dict[str, str], expected: tuple[int | None, int | None]
) -> None:
    assert expected == rank_and_size(environment)
