"""The commands in the documents, and the files that they name.

The pages of `docs.transcripts` and the README have tests of their own. Here are the other ones:
lines that begin with `varsim`, indented by four blanks or in a block without a language.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from docs.generate import ROOT, documents
from docs.transcripts import documents as run_as_a_whole
from varsim.cli.main import main

PROGRAMS: Final = {
    "my_program.py": '''\
"""A program with the variables that commands in the documents name."""

import varsim as tf


def run(job, *, learning_rate=0.1):
    with job.strategy.scope():
        weights = tf.Variable(1.0, name="weights", aggregation=tf.VariableAggregation.MEAN)
        loss = tf.Variable(0.0, name="loss", aggregation=tf.VariableAggregation.SUM)
        moving = tf.Variable(0.0, name="moving_mean", aggregation=tf.VariableAggregation.SUM)

    def step():
        loss.assign_add(1.0)
        weights.assign_sub(learning_rate * weights)
        moving.assign(0.5)

    for _ in job.each_step(120):
        job.strategy.run(step)
    return {"loss": loss, "weights": weights, "moving_mean": moving}
''',
    "my_script.py": """\
import argparse

import varsim as tf

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1)
strategy = tf.distribute.MirroredStrategy()
with strategy.scope():
    weights = tf.Variable(1.0, name="weights", aggregation=tf.VariableAggregation.MEAN)
for _ in range(parser.parse_args().epochs):
    strategy.run(lambda: weights.assign_sub(0.1 * weights))
print(weights.numpy())
""",
    "vars.yaml": """\
workload: inventory
steps: 3
params:
  variables:
  - {name: embedding/table, shape: [8, 4], dtype: float32}
  - {name: dense/kernel, shape: [4, 4], dtype: float32}
""",
}
"""Files of a reader, which the documents do not show."""

SAME: Final = {"my_file.py": "my_program.py", "train.py": "my_program.py"}

NOT_RUN: Final = {
    "varsim inventory": "needs TensorFlow, which is not a package of the tests",
    "varsim completion": "prints a script for a shell, which tests/cli runs",
}

EXIT_CODES: Final = {
    'varsim run --workers 4 --fault "kill replica=2 step=30"': 1,
    "varsim check --fail-on any": 5,
}
"""Commands that do not end with 0, as their documents say."""


@dataclass(frozen=True)
class Line:
    """A command in a document."""

    document: str
    number: int
    text: str

    @property
    def exit_code(self) -> int:
        """Return the exit code that the document promises."""
        return next((code for end, code in EXIT_CODES.items() if self.text.endswith(end)), 0)


def lines_of(path: Path) -> Iterator[Line]:
    """Yield the commands of a document in their order."""
    names = "|".join(main.list_commands(click.Context(main)))
    command = re.compile(rf"varsim (?:{names})\b")
    fence = None
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.startswith("```"):
            fence = line if fence is None else None
            continue
        text = line.removeprefix("    ") if fence is None else line if fence == "```" else ""
        if (fence or line != text) and command.match(text) and not line.endswith("."):
            said = re.split(r"\s+#", text)[0].strip()
            yield Line(path.relative_to(ROOT).as_posix(), number, said)


def with_commands() -> dict[str, list[Line]]:
    """Return the commands of each document that has commands."""
    others = {*run_as_a_whole(), ROOT / "README.md", ROOT / "CHANGELOG.md"}
    paths = [*documents(), ROOT / "configs" / "README.md"]
    found = {path: list(lines_of(path)) for path in paths if path not in others}
    return {path.relative_to(ROOT).as_posix(): lines for path, lines in found.items() if lines}


def make_folder(folder: Path) -> None:
    """Make the folder of a reader: files, earlier runs, a sweep, and a run from a colleague."""
    folder.mkdir()
    shutil.copytree(ROOT / "configs", folder / "configs")
    for name, text in PROGRAMS.items():
        (folder / name).write_text(text, "utf-8")
    for name, source in SAME.items():
        shutil.copy(folder / source, folder / name)
    for arguments in (
        ("sweep", "mode=on_write,on_read", "--workers", "2", "--steps", "2", "--quiet"),
        ("run", "my_program.py", "--workers", "2", "--quiet"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "varsim", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stderr
    run = (folder / "runs" / "latest").resolve()
    for name in (
        "runs/20260101-010203-mine",
        "runs/20260102-030405-mine",
        "from_a_colleague/20260102-030405-mine",
    ):
        shutil.copytree(run, folder / name)
