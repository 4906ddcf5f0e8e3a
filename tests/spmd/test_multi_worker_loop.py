"""TensorFlow's tutorial for several workers, on the simulated cluster and on processes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from varsim.cli.main import main
from varsim.testing import simulated_cluster

SCRIPT = Path(__file__).with_name("multi_worker_loop.py")
LINE = re.compile(r"\[replica (\d)\] Epoch: (\d), accuracy: ([\d.]+), train_loss: ([\d.]+)\.")


def lines_of(output: str) -> dict[int, list[str]]:
    """Return what each worker has printed: the numbers of each epoch."""
    found: dict[int, list[str]] = {}
    for replica, *numbers in LINE.findall(output):
        found.setdefault(int(replica), []).append(" ".join(numbers))
    return found


def test_the_loop_trains_and_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """All workers print the same losses. The second run begins with the third epoch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    command = ["exec", "--spmd", "-q", "-n", "2", str(SCRIPT)]
    with simulated_cluster():
        first = CliRunner().invoke(main, command)
    monkeypatch.setenv("EPOCHS", "3")
    with simulated_cluster():
        second = CliRunner().invoke(main, command)
        checked = CliRunner().invoke(main, ["check", "runs/latest"])

    assert 0 == first.exit_code, first.stderr
    losses = lines_of(first.stdout)
    assert [0, 1] == sorted(losses)
    assert losses[0] == losses[1]
    assert ["0", "1"] == [line[0] for line in losses[0]]
    assert float(losses[0][1].split()[-1]) < float(losses[0][0].split()[-1])
    assert ["2"] == [line[0] for line in lines_of(second.stdout)[1]], second.stderr
    assert ["checkpoint", "ckpt-3.safetensors"] == sorted(
        path.name for path in (tmp_path / "ckpt").iterdir()
    )
    assert 0 == checked.exit_code, checked.stdout


@pytest.mark.processes
@pytest.mark.thorough
def test_processes_print_the_losses_of_the_simulated_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with simulated_cluster():
        simulated = CliRunner().invoke(main, ["exec", "--spmd", "-q", "-n", "2", str(SCRIPT)])
    real = tmp_path / "real"
    real.mkdir()
    command = [sys.executable, "-m", "varsim", "exec", "--spmd", "-q", "-n", "2", str(SCRIPT)]
    ended = subprocess.run(command, cwd=real, capture_output=True, text=True, timeout=50)

    assert 0 == ended.returncode, ended.stderr
    assert 2 == len(lines_of(ended.stdout))
    assert lines_of(simulated.stdout) == lines_of(ended.stdout)
