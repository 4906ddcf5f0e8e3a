"""The commands in the documents run, in their order and with the exit codes that are promised."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents.commands import NOT_RUN, make_folder, with_commands
from tests.waiting import MS

DOCUMENTS = with_commands()


def test_commands_are_found():
    """If commands had another form, the next test would find none, and would pass."""
    assert {"docs/cli.md", "docs/faults.md", "docs/whatif.md"} <= set(DOCUMENTS)
    assert 40 < sum(map(len, DOCUMENTS.values()))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a reader, to copy for each document."""
    folder = tmp_path_factory.mktemp("documents") / "reader"
    make_folder(folder)
    return folder


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.timeout(600)  # seconds; 60 for the longest document on an idle machine
@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_commands_of_a_document_work_in_order(document: str, reader: Path, tmp_path: Path):
    folder = tmp_path / "reader"
    shutil.copytree(reader, folder, symlinks=True)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    wrong = []
    for line in DOCUMENTS[document]:
        if line.text.startswith(tuple(NOT_RUN)):
            continue
        done = subprocess.run(
            ["/usr/bin/env", "bash", "-c", line.text],
            cwd=folder,
            env=os.environ | {"PATH": path, "BROWSER": "true"},  # `--open` starts BROWSER
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120_000 * MS,
        )
        if done.returncode != line.exit_code:
            wrong.append(f"{line}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    assert not wrong, "\n".join(wrong)
