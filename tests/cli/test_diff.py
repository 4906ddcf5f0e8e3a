"""The command `varsim diff`: where two runs first differ, and what could not be compared."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import varsim as tf
from varsim.cli.main import main

PROGRAM = '''
"""A program with a small, a large and a local variable."""
import numpy as np
import varsim as tf

def run(job, *, wrong_call: int = 0, wrong_large: int = 0, more: int = 0, other: bool = False,
        size: int = 20_000):
    with job.strategy.scope():
        small = tf.Variable(0.0, name="small", aggregation=tf.VariableAggregation.SUM)
        large = tf.Variable(np.zeros(size), name="large", aggregation=tf.VariableAggregation.MEAN)
        if other:
            tf.Variable(np.ones(size), name="other")
    def step(call):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        small.assign_add(1.5 if call == wrong_call and replica == 1 else 1.0)
        value = np.full(size, float(call))
        if call == wrong_large and replica == 1:
            value[7] = -1.0
        large.assign_add(value)
        if call <= more:
            small.assign_add(0.0)
        return small.read_value()
    for number in job.each_step(3):
        job.strategy.run(step, args=(number + 1,))
        job.log(small=small)
    return {"small": small, "nan": float("nan")}
'''


@pytest.fixture(autouse=True)
def _program(in_one_process: Path) -> None:
    (in_one_process / "program.py").write_text(PROGRAM)


def ran(*, workers: int = 2, mode: str = "on_write", **params: Any) -> str:
    run = tf.run_experiment("program.py", workers=workers, mode=mode, params=params)
    assert "done" == run.status.value
    return str(run.path)


def varsim(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def diff(*words: str) -> tuple[int, dict[str, Any]]:
    done = varsim("diff", *words, "--json")
    return done.exit_code, json.loads(done.stdout)


def test_a_repeated_run_has_no_difference():
    one, other = ran(), ran()
    done = varsim("diff", one, other)

    assert 0 == done.exit_code, done.output
    assert "No difference was found" in done.stdout
    assert "not compared" not in done.stdout


def test_the_first_value_that_differs_is_named_with_its_place():
    """A difference of replica 1 is the first, and all that read it come later."""
    one, other = ran(), ran(wrong_call=2)
    code, told = diff(one, other)
    first = told["differences"][0]

    assert 1 == code
    assert ("small", "value", 2, 1) == tuple(
        first[key] for key in ("variable", "kind", "call", "replica")
    )
    assert [1.0, 1.5] == [first[side]["value"] for side in ("first", "second")]
    assert "program.py:15" == first["first"]["location"]
    assert ["small", None] == [
        each["variable"] for each in told["differences"]
    ]  # and what is taken
    assert [{"name": "small", "step": 2, "one": 4.0, "other": 4.5}] == told["metrics"]
    assert ["small"] == [each["name"] for each in told["result"]]
    assert ["params.wrong_call"] == [each["name"] for each in told["settings"]]

    page = varsim("diff", one, other).stdout
    said = (
        "The runs differ first in variable small: in call 2 of strategy.run, replica 1 calls "
        "assign_add at program.py:15: the values differ. first: 1.0 second: 1.5"
    )
    assert said in " ".join(page.split())


def test_large_values_are_compared_by_their_digests():
    """The element that differs is not in the sample that a record keeps of 160,000 bytes."""
    code, told = diff(ran(), ran(wrong_large=3))
    (first, *_) = told["differences"]

    assert (1, "large", 3, 1) == (code, first["variable"], first["call"], first["replica"])
    assert None is first["element"]
    assert first["first"]["digest"] != first["second"]["digest"]


def test_other_operations_are_differences_too():
    code, told = diff(ran(more=1), ran())
    (first, *_) = told["differences"]

    assert (1, "operation", "small", 1, 0) == (
        code,
        *(first[key] for key in ("kind", "variable", "call", "replica")),
    )
    assert ["assign_add", "read"] == [first[side]["operation"] for side in ("first", "second")]


def test_shapes_that_differ_are_shown():
    text = varsim("diff", ran(other=True, size=8), ran(other=True, size=9)).stdout

    assert "first:  float64 [8]: 0 0" in text
    assert "float64 [8]  float64 [9]" in text


def test_runs_with_other_settings_are_compared_as_their_program_sees_them():
    """Writes under ON_READ and ON_WRITE correspond to each other; the first read differs."""
    code, told = diff(ran(), ran(mode="on_read"))
    (first, *_) = told["differences"]

    assert (1, "value", "read") == (code, first["kind"], first["first"]["operation"])
    assert [2.0, 1.0] == [first[side]["value"] for side in ("first", "second")]


def test_what_only_one_run_has_is_not_compared_and_said():
    code, told = diff(ran(), ran(workers=3, other=True))

    assert 1 == code
    text = "\n".join(told["not_compared"])
    assert "other: only the second run has it" in text
    assert "replica 2: only one run has it. The runs have 2 and 3 replicas" in text


def test_values_that_are_left_out_leave_the_question_open():
    run = ran()
    assert 0 == varsim("export", run, "sent.tgz", "--no-values").exit_code
    with tarfile.open("sent.tgz") as archive:
        archive.extractall("sent", filter="data")
    code, told = diff(run, f"sent/{Path(run).name}")

    assert 4 == code
    assert [] == told["differences"]
    assert any("values of small: not recorded, or left out" in one for one in told["not_compared"])


def test_a_run_without_a_record_is_compared_in_what_it_has():
    off = str(tf.run_experiment("program.py", workers=2, mode="on_write", trace="off").path)
    code, told = diff(ran(), off)

    assert 4 == code
    assert "it ran with `trace: off`" in told["not_compared"][0]
    assert "No value of the records could be compared." in varsim("diff", off, off).stdout
    assert 2 == varsim("diff", off, "2020").exit_code
