"""The judge finds grants, barriers and values that the coordinator should not have sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.analysis.build import parse_history
from varsim.analysis.verdict import Outcome, judge

BEGIN = """
replicas 3
program call call=1 as start
0 begin call=1 after start
1 begin call=1 after start
2 begin call=1 after start
"""


def ask(replica_id: int, operation: str, note: str, *, arrives: bool = True) -> str:
    """Return the lines of a request."""
    name = f"r{replica_id}"
    lines = f"{replica_id} request call=1 operation={operation} note={note} as {name}\n"
    return lines + (f"program receive replica={replica_id} after {name}\n" if arrives else "")


def answer(replica_id: int, operation: str = "granted") -> str:
    return f"program answer call=1 replica={replica_id} operation={operation}\n"


def release(replica_id: int, lock: str = "a", *, arrives: bool = True) -> str:
    name = f"l{replica_id}"
    lines = f"{replica_id} release call=1 note={lock} as {name}\n"
    return lines + (f"program receive replica={replica_id} after {name}\n" if arrives else "")


def lock(replica_id: int, operation: str = "lock") -> str:
    return ask(replica_id, operation, "a") + answer(replica_id)


def said(text: str, folder: Path) -> tuple[Outcome, str]:
    """Return the verdict on a history that consists of these lines."""
    with parse_history(BEGIN + text).history(folder) as history:
        (verdict,) = (one for one in judge(history) if one.checker == "coordination")
    return verdict.outcome, verdict.reason


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (lock(0) + lock(1), "replica 1 gets lock 'a' while replica 0 holds it"),
        (lock(0) + lock(1, "read_lock"), "replica 1 gets lock 'a' while replica 0 holds it"),
        (lock(0, "read_lock") + lock(1), "replica 1 gets lock 'a' while replica 0 holds it"),
        (
            lock(0) + release(0, arrives=False) + lock(1),
            "replica 1 gets lock 'a' while replica 0 holds it",
        ),
        (
            lock(0) + ask(1, "lock", "a") + ask(2, "lock", "a") + release(0) + answer(2),
            "replica 2 gets lock 'a' before replica 1, which requested it earlier",
        ),
        (
            ask(0, "lock", "a", arrives=False) + answer(0),
            "the request of replica 0 is answered before it arrives",
        ),
        (answer(0), "replica 0 gets an answer without a request"),
        (release(0), "replica 0 releases lock 'a', which it does not hold"),
        (lock(0) + release(0, "b"), "replica 0 releases lock 'b', which it does not hold"),
        (
            ask(0, "barrier", "x") + ask(1, "barrier", "x") + answer(0),
            "a barrier ends for replica 0 before all replicas have arrived",
        ),
        (
            ask(0, "barrier", "x") + ask(1, "barrier", "x") + ask(2, "barrier", "y") + answer(0),
            "a barrier ends for replica 0 before all replicas have arrived",
        ),
        (
            ask(0, "send", "1") + answer(0),
            "a value of replica 0 is not passed on, and its send ends",
        ),
        (
            ask(0, "send", "2") + ask(1, "recv", "0") + answer(1, "passed"),
            "replica 1 gets a value that replica 0 has not sent to it",
        ),
        (
            ask(1, "recv", "0") + answer(1, "passed"),
            "replica 1 gets a value that replica 0 has not sent to it",
        ),
    ],
)
def test_a_wrong_answer_is_proved(text: str, problem: str, tmp_path: Path) -> None:
    assert (Outcome.INVALID, problem) == said(text, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        lock(0, "read_lock") + lock(1, "read_lock"),
        lock(0) + release(0) + lock(1),
        lock(0) + "0 return call=1 as end\nprogram receive replica=0 after end\n" + lock(1),
        lock(0) + "program abort call=1\n" + release(0) + release(0),
    ],
)
def test_a_right_answer_is_valid(text: str, tmp_path: Path) -> None:
    assert Outcome.VALID is said(text, tmp_path)[0]
