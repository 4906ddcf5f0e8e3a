"""Commands on a run whose strategy has lost a worker, and was to go on with new ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from varsim.cli.main import main

PROGRAM = """
import shutil

import varsim as tf
from varsim.errors import StartError, WorkerLost

CLUSTER = []


def fail(options, program):
    raise StartError("no more processes")


def run(job, *, trouble: str):
    CLUSTER[:] = [job.strategy.incarnations._launcher]
    with job.strategy.scope():
        total = tf.Variable(0.0, name="total", aggregation=tf.VariableAggregation.SUM)

    def step(number):
        total.assign_add(1.0)
        if number == 2 and tf.distribute.get_replica_context().replica_id_in_sync_group == 1:
            CLUSTER[0].lose(1)

    for number in range(1, 5):
        if number == 4 and trouble == "killed":
            shutil.copytree("runs/latest", "killed")  # as if the process were killed here
        try:
            job.strategy.run(step, args=(number,))
        except WorkerLost:
            if trouble == "start":
                CLUSTER[0].launch = fail
"""


@pytest.fixture(autouse=True)
def _program(in_one_process: Path) -> None:
    (in_one_process / "program.py").write_text(PROGRAM)


def ran(trouble: str) -> Result:
    """Run the program; it loses a worker in call 2, and catches the error."""
    words = ["run", "program.py", "-n", "2", "-q", "--on-worker-lost", "restart"]
    return varsim(*words, "max_restarts=1", f"params.trouble={trouble}")


def varsim(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def flat(result: Result) -> str:
    return " ".join(result.stdout.split())


NO_SUMMARY = "The run has no summary.json: it was killed, or the file could not be written"


@pytest.fixture
def killed(_program: None) -> str:
    assert 0 == ran("killed").exit_code
    assert not list(Path("killed").rglob("summary.json"))
    return "killed"


@pytest.mark.parametrize("words", [["advise"], ["whatif", "--set", "total=on_read"]])
def test_of_a_killed_run_the_last_incarnation_is_shown(killed: str, words: list[str]):
    said = flat(varsim(words[0], killed, *words[1:]))

    assert said.startswith("This run has 2 records, and only one is shown: incarnation 2 of 2.")
    assert f"give it instead of the run: {killed}/history.db (incarnation 1 of 2)." in said
    assert f"{NO_SUMMARY}: the following is about the operations until then." in said
    assert "The record is not whole: not every process's record ended properly" in said
    first = flat(varsim(words[0], f"{killed}/history.db", *words[1:]))
    assert "only one is shown: incarnation 1 of 2." in first
    assert NO_SUMMARY not in first, "the strategy went on after this record"


def test_the_lens_shows_all_incarnations_of_a_killed_run(killed: str):
    said = varsim("lens", killed, "total").stdout
    assert ["1 of 2", "2 of 2"] == [one[:6] for one in said.split("\nincarnation ")[1:]]
    assert NO_SUMMARY in " ".join(said.split())
    second = said.partition("incarnation 2 of 2")[2]
    assert "The record is not whole: not every process's" in " ".join(second.split())

    rows = json.loads(varsim("lens", killed, "total", "--json").stdout)
    assert [(1, 0), (1, 1), (1, 2), (2, 2), (2, 3)] == [
        (one["incarnation"], one["step"]) for one in rows
    ]


def test_all_incarnations_of_a_killed_run_are_judged(killed: str):
    result = varsim("check", killed)
    first, second = flat(result).split("killed/strategy-2 (incarnation 2 of 2):")

    assert 4 == result.exit_code
    assert first.startswith("killed (incarnation 1 of 2): ")
    assert "The strategy went on with new workers, as incarnation 2 of 2." in first
    assert "summary.json say" not in first
    assert NO_SUMMARY not in first
    assert second.startswith(f" {NO_SUMMARY}: the following is about the events recorded until")
    assert "UNKNOWN" in second
    told = json.loads(varsim("check", killed, "--json").stdout)
    assert [None, None] == [told["status"], *(one["status"] for one in told["further"])]


@pytest.mark.parametrize(
    ("named", "number"),
    [
        ("", 1),
        pytest.param("/history.db", 1, marks=pytest.mark.thorough),
        pytest.param("/strategy-2", 2, marks=pytest.mark.thorough),
        ("/strategy-2/history.db", 2),
    ],
)
def test_an_event_is_shown_with_its_incarnation(named: str, number: int):
    assert 0 == ran("none").exit_code
    said = varsim("check", f"latest{named}", "--event", "1").stdout
    part = f"incarnation {number} of 2"
    assert " ".join(said.split()).startswith(
        f"This run has 2 records, and only one is shown: {part}."
    )
    assert f"\n{part}\nevent 1 of " in said

    result = varsim("check", f"latest{named}", "--event", "1", "--json")
    (event,) = json.loads(result.stdout)
    assert (number, 1) == (event["incarnation"], event["event"])
    assert f"only one is shown: {part}." in result.stderr


def test_check_says_that_the_start_of_new_workers_failed():
    assert 1 == ran("start").exit_code
    result = varsim("check", "latest")
    said = flat(result)

    assert 1 == result.exit_code
    assert said.startswith("failed run what StartError: no more processes")
    assert "failed call what call 2 failed on replica 1: " in said
    assert (
        "The strategy did not go on, because the workers of incarnation 2 did not start. The "
        "failure of the run says why."
    ) in said
    assert "went on" not in said
    assert "The run failed after" in flat(varsim("lens", "latest", "total"))
    assert "failed run what StartError: no more" in flat(varsim("check", "latest/strategy-2"))
