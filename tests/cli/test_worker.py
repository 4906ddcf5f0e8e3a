"""`varsim worker`: wrong use is refused, and a program that does not answer is named."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from varsim.cli.main import main
from varsim.launch.remote import agent
from varsim.launch.remote.join_key import JoinKey, write_key
from varsim.transport.keys import KeyPair

KEY = JoinKey(KeyPair.generate(), KeyPair.generate().public)


@pytest.mark.parametrize(
    ("coordinator", "key", "said"),
    [
        ("127.0.0.1:1", "key", "--coordinator '127.0.0.1:1' must be tcp://ADDRESS:PORT"),
        ("tcp://host", "key", "--coordinator 'tcp://host' must be tcp://ADDRESS:PORT"),
        ("tcp://127.0.0.1:{port}", "none", "none cannot be read: No such file or directory"),
        ("tcp://127.0.0.1:{port}", "-", "stdin is not the key of a cluster"),
    ],
)
def test_wrong_use_is_refused(coordinator: str, key: str, said: str, tmp_path: Path) -> None:
    write_key(tmp_path / "key", KEY)
    path = key if key == "-" else str(tmp_path / key)
    endpoint = coordinator.format(port=1)
    result = CliRunner().invoke(main, ["worker", "--coordinator", endpoint, "--key", path])
    assert 2 == result.exit_code
    assert said in " ".join(result.stderr.split())


def test_a_program_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the handlers are for a whole process
    write_key(tmp_path / "key", KEY)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        words = ["worker", "--coordinator", endpoint, "--key", str(tmp_path / "key")]
        monkeypatch.setattr(agent, "TELL_S", 0.01)
        result = CliRunner().invoke(main, [*words, "--wait", "0.05"])
        assert 1 == result.exit_code
        assert f"no answer from {endpoint} to this key; waiting, at most 0.05 s" in result.stderr
        assert f"no coordinator answers at {endpoint} within 0.05 s" in result.stderr

        monkeypatch.setenv("TF_CONFIG", "{")
        result = CliRunner().invoke(main, words)
        assert 2 == result.exit_code
        assert "TF_CONFIG cannot be understood" in result.stderr
