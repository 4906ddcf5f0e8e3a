"""Failures of a run: the replica, the location, and whether the program continued."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.analysis.build import HistoryBuilder, parse_history
from varsim.analysis.examination import Examination, examine
from varsim.analysis.failures import (
    DONE,
    FAILED,
    FAILED_CALL,
    FAILED_RUN,
    INTERRUPTED,
    UNKNOWN,
    Ending,
    failed_run,
)
from varsim.analysis.findings.model import Finding

RAISED = """
replicas 2
program call call=1                                         as start-1
0 begin call=1                                              after start-1
1 begin call=1                                              after start-1
1 raise call=1 location=p.py:7 error=ValueError note=ValueError:_empty          as raised-1
program receive replica=1                                   after raised-1
program finish call=1 error=ValueError note=ValueError:_empty
program abort call=1 note=another_replica_raised
"""
UNWRITTEN = (
    "replicas wait for replicas that will not arrive: only replica 0: w.assign; 'w' makes the "
    "replicas wait: in replica context, a write to it uses the mean of all replicas' values."
)
SUCCEEDED = """
program call call=2                                         as start-2
0 begin call=2                                              after start-2
1 begin call=2                                              after start-2
0 return call=2                                             as done-0
1 return call=2                                             as done-1
program receive replica=0                                   after done-0
program receive replica=1                                   after done-1
program finish call=2
"""
AGAIN = RAISED.partition("\n")[2].partition("\n")[2].replace("-1", "-3").replace("call=1", "call=3")

RAN = Ending(status=DONE)
FAILED_SO = Ending(status=FAILED, kind="ValueError", text="empty", location="p.py:20")


def examined(text: str, folder: Path, ending: Ending | None = RAN, **run: object) -> Examination:
    story: HistoryBuilder = parse_history(text)
    story.run |= run
    story.events = [
        one if one.note is None else one._replace(note=one.note.replace("_", " "))
        for one in story.events
    ]
    with story.history(folder) as history:
        return examine(history, ending=ending)


def only(found: Examination) -> Finding:
    (finding,) = found.findings
    return finding


def test_a_failed_call_that_the_program_caught_is_a_finding(tmp_path: Path):
    found = examined(RAISED + SUCCEEDED, tmp_path)
    finding = only(found)

    assert FAILED_CALL is finding.kind
    assert "call 1 failed on replica 1: ValueError: empty" == finding.what
    assert ((("p.py:7", 1),), (4, 6)) == (finding.locations, finding.events)
    assert not found.run_failed


def test_similar_failed_calls_are_one_finding(tmp_path: Path):
    finding = only(examined(RAISED + SUCCEEDED + AGAIN + SUCCEEDED.replace("2", "4"), tmp_path))

    assert 2 == finding.count
    assert finding.what.endswith("\n1 later call failed in the same way; the last one is call 3.")


def test_a_failed_run_and_its_failed_call_are_one_finding(tmp_path: Path):
    """The finding has the replica and the location of the failed call in the record."""
    found = examined(RAISED, tmp_path, FAILED_SO)
    finding = only(found)

    assert FAILED_RUN is finding.kind
    assert "ValueError: empty\nThe error occurred in call 1 on replica 1." == finding.what
    assert (("p.py:7", 1),) == finding.locations
    assert found.run_failed


def test_a_script_that_every_worker_runs_is_named_instead_of_its_call(tmp_path: Path):
    found = examined(RAISED, tmp_path, replace(FAILED_SO, spmd=True))

    assert "ValueError: empty\nThe error occurred in the script on replica 1." == only(found).what


@pytest.mark.parametrize("text", [RAISED + SUCCEEDED, SUCCEEDED.replace("\n", "\nreplicas 2\n", 1)])
def test_a_run_may_fail_outside_all_calls(text: str, tmp_path: Path):
    found = examined(text, tmp_path, FAILED_SO)
    first = found.findings[0]

    assert (FAILED_RUN, "ValueError: empty") == (first.kind, first.what)
    assert (("p.py:20", 1),) == first.locations


def test_without_a_summary_the_failure_is_that_of_the_last_call(tmp_path: Path):
    found = examined(RAISED, tmp_path, None)

    assert only(found).what.endswith("\nNo later call is in the record.")
    assert found.run_failed
    assert any(note.text.startswith("how the program ended") for note in found.not_looked_at)
    assert not examined(RAISED + SUCCEEDED, tmp_path, None).run_failed


def test_a_failure_is_found_in_an_incomplete_record(tmp_path: Path):
    """A killed worker does not complete its record, so no other findings are searched for."""
    found = examined(
        """
        replicas 2
        program call call=1                                 as start
        0 begin call=1                                      after start
        1 begin call=1                                      after start
        1 arrive call=1 position=0 location=p.py:5
        program lost replica=1 note=was_killed
        program finish call=1 error=WorkerLost note=WorkerLost:_replica_1;_w_at_p.py:4
        """,
        tmp_path,
        Ending(status=FAILED, kind="WorkerLost", text="replica 1"),
        complete=False,
    )

    assert not found.is_whole
    assert "WorkerLost: replica 1\nThe error occurred in call 1 on replica 1." == only(found).what
    assert (("p.py:5", 1),) == only(found).locations


LOST = """
replicas 2
program call call=1                                         as start
0 begin call=1                                              after start
1 begin call=1                                              after start
program lost replica=1 note=was_killed
program finish call=1 error=WorkerLost note=WorkerLost:_replica_1
"""


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (RAN, "After it, the strategy could not run or write any more; on_worker_lost"),
        (
            Ending(status=DONE, incarnation=2, incarnations=3),
            "The strategy went on with new workers, as incarnation 3 of 3.",
        ),
        (None, "It is not known whether the strategy went on with new workers."),
        (Ending(status=UNKNOWN), "It is not known whether the strategy went on with new workers."),
        (
            Ending(status=UNKNOWN, incarnations=2),
            "The strategy went on with new workers, as incarnation 2 of 2.",
        ),
        (
            Ending(status=DONE, incarnations=2, unstarted=True),
            "did not go on, because the workers of incarnation 2 did not start.",
        ),
    ],
)
def test_a_finding_about_lost_workers_says_what_the_strategy_did_then(
    ending: Ending | None, said: str, tmp_path: Path
):
    assert said in only(examined(LOST, tmp_path, ending, complete=False)).remedy


@pytest.mark.parametrize(
    ("ending", "run_failed"),
    [
        (Ending(status=UNKNOWN), True),
        (Ending(status=UNKNOWN, incarnations=2), False),
        (Ending(status=UNKNOWN, incarnations=2, unstarted=True), True),
    ],
)
def test_a_killed_run_has_failed_if_the_last_call_of_its_last_incarnation_has(
    ending: Ending, run_failed: bool, tmp_path: Path
):
    found = examined(LOST, tmp_path, ending, complete=False)
    assert run_failed == found.run_failed
    assert run_failed == only(found).what.endswith("No later call is in the record.")
    assert any("how the program ended" in one.text for one in found.not_looked_at)


def test_only_the_last_incarnation_has_the_call_that_ended_the_run(tmp_path: Path):
    failed = Ending(status=FAILED, kind="WorkerLost", text="replica 1", incarnations=2)
    found = examined(LOST, tmp_path, failed, complete=False)
    assert [FAILED_RUN, FAILED_CALL] == [one.kind for one in found.findings]


def test_the_finding_has_the_replicas_locations_in_the_error(tmp_path: Path):
    said = (
        "MismatchError:_x\n__replica_0:_v_at_a_b.py:3\n__'v'_created_at_c.py:1,\n__1:_w_at_d.py:4"
    )
    text = RAISED.replace(
        "1 raise call=1 location=p.py:7 error=ValueError note=ValueError:_empty  ",
        "1 return call=1",
    )
    story = parse_history(text)
    story.events = [
        one._replace(note=said.replace("_", " ")) if one.kind == "finish" else one
        for one in story.events
    ]
    with story.history(tmp_path) as history:
        finding = only(examine(history, ending=RAN))
    assert (("a b.py:3", 1), ("d.py:4", 1)) == finding.locations


def test_the_first_location_of_a_stuck_replica_is_its_line_in_the_program(tmp_path: Path):
    said = (
        "CallTimeout: replica 1 has made no progress:\n  replica 1 is blocked\n"
        "    its Python stack, innermost first:\n      numpy/load.py:9 in load\n"
        "      p.py:32 in batch\n      p.py:40 in step\n  replicas 0, 2: wait at p.py:34"
    )
    text = RAISED.replace(
        "1 raise call=1 location=p.py:7 error=ValueError note=ValueError:_empty  ",
        "1 return call=1",
    )
    story = parse_history(text)
    story.events = [
        one._replace(note=said) if one.kind == "finish" else one for one in story.events
    ]
    with story.history(tmp_path) as history:
        finding = only(examine(history, ending=RAN))
    assert (("p.py:32", 1), ("p.py:34", 1)) == finding.locations


@pytest.mark.parametrize(
    ("kind", "text", "says", "pastes"),
    [
        ("varsim.errors.MismatchError", "replicas did different things: x", "decide alike", True),
        ("MismatchError", "replicas wait for replicas that will not arrive", "only one", True),
        ("MismatchError", UNWRITTEN, "aggregation=ONLY_FIRST_REPLICA", False),
        ("MismatchError", "replicas gave values that do not match", "summary.json", False),
        ("CallTimeout", "no progress", "stall_fail_s", False),
        ("WorkerLost", "worker was killed by SIGKILL", "memory", False),
        ("WorkerLost", "worker ended with exit code 3", "printed last", False),
        ("WorkerLost", "worker ended with exit code 3", "`--on-worker-lost restart`", False),
    ],
)
def test_the_remedy_of_a_failed_run_follows_its_error(
    kind: str, text: str, says: str, pastes: bool
):
    finding = failed_run(Ending(status=FAILED, kind=kind, text=text))
    assert says in finding.remedy
    assert bool(finding.paste) is pastes


def test_an_interrupt_is_not_a_failure(tmp_path: Path):
    text = RAISED.replace(
        "program finish call=1 error=ValueError note=ValueError:_empty",
        "program finish call=1 error=KeyboardInterrupt note=KeyboardInterrupt",
    )
    found = examined(text, tmp_path, Ending(status=INTERRUPTED, reached="after 1 of 4 steps"))
    assert ((), False) == (found.findings, found.run_failed)
