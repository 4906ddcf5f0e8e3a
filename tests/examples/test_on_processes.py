"""The policies of examples/policies on real workers: their invariants, and valid records."""

from __future__ import annotations

import doctest
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.effort import many
from tests.examples.policy_programs import PROBLEMS, Program, checked, policy_of

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


def on_workers(keyword: str, seed: int) -> str:
    return checked(Program(seed), policy_of(keyword, seed), nullcontext)


@pytest.mark.thorough
@pytest.mark.parametrize("keyword", PROBLEMS)
def test_a_program_on_real_workers_keeps_the_invariant(keyword):
    assert "" == on_workers(keyword, 3)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("keyword", PROBLEMS)
def test_forty_programs_on_real_workers_keep_the_invariant(keyword):
    assert [""] * many(40) == [on_workers(keyword, 100 + seed) for seed in range(many(40))]


@pytest.mark.thorough
def test_the_policy_of_a_script_works_on_real_workers(tmp_path):
    """The script is the example of docs/policies.md. Workers get its class with the variable."""
    text = (ROOT / "docs" / "policies.md").read_text("utf-8")
    examples = doctest.DocTestParser().get_examples(text)
    script = tmp_path / "script.py"
    script.write_text(
        "".join(one.source for one in examples).replace(
            "from varsim.testing import simulated_cluster",
            "from contextlib import nullcontext as simulated_cluster",
        )
    )

    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)

    assert (0, "") == (done.returncode, done.stderr)
    assert examples[-1].want == done.stdout
