"""Each block of Python in the documents runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents.python_blocks import WAYS, Block, Way, blocks, ways_of, written
from tests.waiting import MS

NOT_HERE = ("another test", "nothing")
RUN_HERE = [(block, way) for block in blocks() for way in ways_of(block) if way.by not in NOT_HERE]


def test_each_block_has_one_way_to_run_it():
    """A new block needs an entry in WAYS; an entry without a block must go."""
    assert [] == [str(block) for block in blocks() if len(ways_of(block)) != 1]
    unused = [way for way in WAYS if not any(way in ways_of(block) for block in blocks())]
    assert [] == unused
    assert all(way.reason for way in WAYS if way.by in NOT_HERE)


@pytest.mark.thorough
@pytest.mark.processes
@pytest.mark.parametrize(("block", "way"), RUN_HERE, ids=[str(block) for block, _ in RUN_HERE])
def test_a_block_runs(block: Block, way: Way, tmp_path: Path):
    program = written(block, way, tmp_path).name
    command = {
        "python": [program],
        "varsim run": ["-m", "varsim", "run", program, "--workers", "2", *way.options],
        "varsim exec --spmd": ["-m", "varsim", "exec", "-n", "2", "--spmd", program],
    }[way.by]

    done = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30_000 * MS,
    )

    assert 0 == done.returncode, f"{done.stdout}\n{done.stderr}"
