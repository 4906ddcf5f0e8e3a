"""Records that end early because workers were lost: judged, and told in the finding."""

from __future__ import annotations

from pathlib import Path

from tests.analysis.build import parse_history
from varsim.analysis.examination import Examination, examine
from varsim.analysis.failures import FAILED, Ending
from varsim.analysis.outcome import Outcome, overall

KILLED = "its worker was killed by SIGKILL"
ENDING = Ending(status=FAILED, kind="WorkerLost", text="replica 1: worker was killed by SIGKILL")

BEFORE = """
replicas 3
variable w ON_WRITE MEAN float32 []
program create w v=0 = 0.0
program call call=1                                              as start
0 begin call=1                                                   after start
1 begin call=1                                                   after start
2 begin call=1                                                   after start
0 write w assign_add call=1 position=0 location=t.py:5 = 1.0     as w0
1 write w assign_add call=1 position=0 location=t.py:5 = 2.0     as w1
2 write w assign_add call=1 position=0 location=t.py:5 = 3.0     as w2
program receive replica=0                                        after w0
program receive replica=1                                        after w1
program receive replica=2                                        after w2
program commit w assign call=1 position=0 v=1 = 2.0              as c1
0 install w v=1 call=1                                           after c1
2 install w v=1 call=1                                           after c1
"""
"""The record of replica 1 ends before it has installed the commit."""

LOST = """
0 arrive operation=all_reduce call=1 position=1 location=t.py:6            as a0
program lost replica=1 note=was_killed_by_SIGKILL
program finish call=1 error=WorkerLost note=WorkerLost:_replica_1:_worker_was_killed_by_SIGKILL
program abort call=1 note=replica_1
"""


def examined(text: str, folder: Path) -> Examination:
    story = parse_history(text)
    told = [(one, one.note) for one in story.events]
    story.events = [one._replace(note=note and note.replace("_", " ")) for one, note in told]
    story.run |= {"complete": False, "missing": ["not closed"], "cut_short": {"1": KILLED}}
    with story.history(folder) as history:
        return examine(history, ending=ENDING)


def test_a_record_is_judged_up_to_a_loss_and_of_the_survivors_after_it(tmp_path: Path) -> None:
    """One note says what was not judged, and why."""
    found = examined(BEFORE + LOST, tmp_path)

    assert {Outcome.VALID} == {one.outcome for one in found.verdicts}
    assert "the record is in causal order; that of replica 1 ends with the worker" == (
        found.verdicts[0].reason
    )
    notes = [one.text for one in found.not_looked_at]
    assert f"what replica 1 did after assign_add of w at t.py:5, in call 1: {KILLED}" == notes[0]
    assert not [one for one in notes if "not whole" in one]


def test_the_failure_says_what_was_done_last_and_what_the_others_hold(tmp_path: Path) -> None:
    finding = examined(BEFORE + LOST, tmp_path).findings[0]

    assert [
        "WorkerLost: replica 1: worker was killed by SIGKILL",
        "The error occurred in call 1 on replica 1.",
        "The last operation in the record of replica 1: assign_add of w at t.py:5, in call 1.",
        "The last operation of replica 0 in that call: all_reduce at t.py:6.",
        "The last operation of replica 2 in that call: assign_add of w at t.py:5.",
        "At the end of the record, replicas 0, 2 hold",
        "  w: 2.0 (version 1)",
    ] == finding.what.splitlines()


def test_the_failure_says_that_a_replica_did_nothing_in_the_failed_call(tmp_path: Path) -> None:
    again = """
program finish call=1
program call call=2
0 begin call=2
program lost replica=1 note=was_killed_by_SIGKILL
program finish call=2 error=WorkerLost note=WorkerLost:_replica_1:_worker_was_killed_by_SIGKILL
program abort call=2 note=replica_1
"""
    (finding,) = examined(BEFORE + again, tmp_path).findings

    assert (
        "The last operation in the record of replica 1: assign_add of w at t.py:5, in call 1. It "
        "has no operation of the failed call."
    ) in finding.what.splitlines()


def test_a_promise_that_is_broken_before_a_loss_is_found(tmp_path: Path) -> None:
    text = (BEFORE + LOST).replace("v=1 = 2.0", "v=1 = 7.0")

    assert Outcome.INVALID is examined(text, tmp_path).outcome


SENT_LATE = """
replicas 2
program call call=1                                              as start
0 begin call=1                                                   after start
1 begin call=1                                                   after start
0 arrive operation=merge_call call=1 position=0                  as a0
1 arrive operation=merge_call call=1 position=0                  as a1
program receive replica=0                                        after a0
program receive replica=1                                        after a1
program lost replica=1 note=was_killed_by_SIGKILL
program finish call=1 error=WorkerLost note=WorkerLost:_replica_1
program answer operation=merged call=1 position=0
program abort call=1 note=replica_1
"""


def test_what_was_decided_before_a_loss_may_be_sent_after_the_failure(tmp_path: Path) -> None:
    """The program records the failure before it sends its last messages."""
    invalid = [
        one for one in examined(SENT_LATE, tmp_path).verdicts if one.outcome is Outcome.INVALID
    ]

    assert [] == invalid


def test_a_write_of_the_program_may_fail_after_a_loss(tmp_path: Path) -> None:
    """It has no commit, and the program reads the value before it."""
    later = "program write w assign = 9.0\nprogram read w v=1 = 2.0"

    assert Outcome.VALID is examined(f"{BEFORE}{LOST}{later}", tmp_path).outcome


def test_a_commit_to_a_worker_that_has_ended_is_not_recorded(tmp_path: Path) -> None:
    """The program may write before it knows of the end. No event shows what it then reads."""
    text = """
replicas 3
variable w ON_WRITE MEAN float32 []
program create w v=0 = 0.0
program write w assign replica=0 = 4.0
program write w assign replica=1 = 4.0
program write w assign replica=2 = 4.0
program commit w assign replica=0 v=1 = 4.0
program commit w assign replica=2 v=1 = 4.0
program read w replica=1 v=1 = 4.0
program read w v=1 = 4.0
"""

    verdicts = examined(text, tmp_path).verdicts
    assert {"read-your-writes"} == {
        one.checker for one in verdicts if one.outcome is not Outcome.VALID
    }
    assert Outcome.UNKNOWN is overall(verdicts)
