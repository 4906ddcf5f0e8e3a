"""The shell commands of the README succeed in their order."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.waiting import MS
from varsim.cli.main import main as cli

ROOT = Path(__file__).parents[1]
LINES = [
    line.split("  #")[0].strip()
    for line in (ROOT / "README.md").read_text("utf-8").splitlines()
    if re.match(r"    (make|varsim|python|pip|\.) ", line)
]
COMMANDS = [line for line in LINES if line.startswith("varsim ")]
MEASURES = "varsim bench"
NEEDS_HOSTS = "--launcher"  # tests/hosts starts clusters on hosts


def test_the_environment_is_active_before_the_command_is_used():
    """The lines create the environment and activate it before they call the command."""
    assert ["make", "make", "."] == [line.split()[0] for line in LINES[:3]]
    assert ". .venv/bin/activate" == LINES[2]
    assert len(LINES) - 3 == len(COMMANDS)


def test_the_makefile_has_all_targets_of_the_readme():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert {line.split()[1] for line in LINES if line.startswith("make ")} <= targets


@pytest.mark.parametrize("line", COMMANDS)
def test_the_varsim_command_accepts_each_line(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The test only parses the line and checks the types of its options."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    latest = tmp_path / "runs" / "latest"
    latest.mkdir(parents=True)
    (tmp_path / "runs" / "latest-bench").mkdir()
    monkeypatch.chdir(tmp_path)

    name, *arguments = shlex.split(line)[1:]
    context = click.Context(cli, info_name="varsim", **cli.context_settings)
    command = cli.get_command(context, name)

    assert command is not None
    command.make_context(name, arguments, parent=context)


@pytest.mark.parametrize(
    "words", ["pip install '/path/to/this/checkout[report]'", "(docs/notebooks.md)"]
)
def test_what_a_user_needs_beside_the_commands_is_named(words: str):
    """The packages of a report, and the page about notebooks."""
    assert words in " ".join((ROOT / "README.md").read_text("utf-8").split())


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.timeout(600)  # seconds; 30 on an idle machine
def test_the_lines_work_in_order(tmp_path: Path):
    """The lines run with real processes, except those that measure the host or need other ones.

    The folder has files of a checkout, and git ignores all that the lines write into it.
    """
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    for name in ("README.md", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    for line in COMMANDS:
        if not line.startswith(MEASURES) and NEEDS_HOSTS not in line:
            done = subprocess.run(
                shlex.split(line),
                cwd=tmp_path,
                env=os.environ | {"PATH": path},
                capture_output=True,
                text=True,
                timeout=60_000 * MS,
            )
            assert 0 == done.returncode, f"{line}\n{done.stdout}\n{done.stderr}"
    written = {path.name for path in tmp_path.iterdir()} - {"configs", "README.md", ".gitignore"}
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert written <= {line.strip("/") for line in ignored}
