"""The output of `varsim check` for runs that failed on the simulated cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from varsim.cli.main import main

PROGRAM = '''
"""A user's program with several mistakes."""
import varsim as tf


def run(job, *, trouble: str, caught: bool = False):
    with job.strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.MEAN)
        w = tf.Variable(0.0, name="w", aggregation=tf.VariableAggregation.MEAN)

    def step(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        if number == 1 and trouble == "raise" and me == 1:
            raise ValueError("no rows for me")  # raised here
        if number == 1 and trouble == "refused":
            w.scatter_max(tf.IndexedSlices([1.0], [0]))  # refused here
        if number == 1 and trouble == "mismatch" and me == 0:
            v.assign(2.0)  # alone
        else:
            w.assign(1.0)  # the others

    for number in range(3):
        try:
            job.strategy.run(step, args=(number,))
        except Exception:
            if not caught:
                raise
    if trouble == "outside":
        raise KeyError("nothing there")  # outside
'''
LINES = {
    line.partition("  # ")[2]: number
    for number, line in enumerate(PROGRAM.splitlines(), start=1)
    if "  # " in line
}


@pytest.fixture(autouse=True)
def _program(in_one_process: Path) -> None:
    (in_one_process / "program.py").write_text(PROGRAM)


def ran(trouble: str, *, caught: bool = False) -> int:
    told = (f"params.trouble={trouble}", f"params.caught={str(caught).lower()}")
    done = CliRunner().invoke(main, ["run", "program.py", "-n", "3", "-q", *told])
    return done.exit_code


def checked(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments])


def flat(result: Result) -> str:
    return " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("trouble", "said", "lines"),
    [
        (
            "raise",
            "ValueError: no rows for me The error occurred in call 2 on replica 1.",
            ["raised here"],
        ),
        (
            "refused",
            "UnsupportedOperation: variable 'w' at program.py:",
            ["refused here"],
        ),
        ("mismatch", "MismatchError: replicas did different things", ["alone", "the others"]),
        ("outside", "KeyError: 'nothing there'", ["outside"]),
    ],
)
def test_check_first_shows_the_error_of_a_failed_run(trouble: str, said: str, lines: list[str]):
    assert 1 == ran(trouble)
    result = checked()

    assert 1 == result.exit_code, result.stderr
    assert flat(result).startswith(f"failed run what {said}")
    where = result.stdout.partition("  what to do")[0]
    assert all(f"program.py:{LINES[one]}" in where for one in lines)
    assert "failed call" not in result.stdout, "the error is shown twice"
    assert "the run failed, so" not in result.stdout, "no oracle was requested"
    assert "no finding" not in result.stdout, "the error is a finding"


@pytest.mark.parametrize("trouble", ["raise", "mismatch"])
def test_a_failed_call_that_the_program_catches_is_a_finding(trouble: str):
    assert 0 == ran(trouble, caught=True)
    result = checked()

    assert 0 == result.exit_code, result.stderr
    assert "failed call what call 2 failed" in flat(result)
    assert 5 == checked("--fail-on", "failed-call").exit_code
