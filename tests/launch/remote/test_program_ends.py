"""Agents end their workers when the program is killed, also if no engine tells them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import MS, wait_for, wait_for_exit

PROGRAM = """
import os, signal, sys
import varsim as tf

launcher = {"join": {"hosts": 1, "listen": "127.0.0.1", "key": sys.argv[1]}}
strategy = tf.distribute.MirroredStrategy(["cpu:0"], launcher=launcher)
print(*strategy.experimental_local_results(strategy.run(os.getpid)), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.processes
@pytest.mark.thorough
def test_agents_end_with_a_killed_program(tmp_path: Path, private_temporary: Path) -> None:
    key = tmp_path / "key"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, key], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stderr is not None
        assert program.stdout is not None
        program.stderr.readline()
        endpoint = program.stderr.readline().split()[3].decode()
        command = ["-m", "varsim", "worker", "--coordinator", endpoint, "--key", str(key)]
        with subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE) as agent:
            assert agent.stderr is not None
            worker = int(program.stdout.readline())
            assert -signal.SIGKILL == program.wait()
            wait_for(lambda: agent.poll() is not None, 10_000 * MS, what="the end of the agent")
            assert b"any more: the program has ended" in agent.stderr.read()
            assert 1 == agent.returncode
    wait_for_exit(worker)
    assert [] == list(private_temporary.glob("varsim-*"))
    assert not key.exists(), "the key is removed as soon as all hosts have joined"
