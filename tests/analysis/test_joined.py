"""The judge of calls in which replicas have joined: only the other replicas contribute."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.analysis.golden import verdicts
from varsim.analysis.outcome import Outcome

JOINED = """
replicas 3
variable w ON_WRITE MEAN float32 []

program create w v=0 = 0.0
program call call=1 present=2 as start
0 begin call=1 after start
1 begin call=1 after start
0 write w assign call=1 position=0 = 2.0 as sent0
1 write w assign call=1 position=0 = 4.0 as sent1
program receive replica=0 after sent0
program receive replica=1 after sent1
program commit w assign call=1 position=0 v=1 = 3.0 as w1
0 install w v=1 call=1 after w1
1 install w v=1 call=1 after w1
2 install w v=1 after w1
0 arrive call=1 position=1 operation=merge_call as came0
1 arrive call=1 position=1 operation=merge_call as came1
program receive replica=0 after came0
program receive replica=1 after came1
program answer call=1 position=1 operation=merged as answer
0 return call=1 as end0
1 return call=1 as end1
program receive replica=0 after end0
program receive replica=1 after end1
program finish call=1
"""


LATE = """\
program forget w
2 install w v=1 after w1
program call call=2 as later
0 begin call=2 after later
1 begin call=2 after later
2 begin call=2 after later
0 return call=2 as last0
1 return call=2 as last1
2 return call=2 as last2
program receive replica=0 after last0
program receive replica=1 after last1
program receive replica=2 after last2
program finish call=2
"""
FORGOTTEN = JOINED.replace("2 install w v=1 after w1\n", "") + LATE
"""The absent replica installs a commit of a variable that the program has dropped meanwhile."""


def wrong(text: str, folder: Path) -> dict[str, str]:
    """Return the reasons of the verdicts that are not VALID."""
    found = verdicts(text, folder)
    return {name: one.reason for name, one in found.items() if one.outcome is not Outcome.VALID}


def test_a_mean_over_the_present_replicas_is_valid(tmp_path: Path):
    assert {} == wrong(JOINED, tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("present=2 ", "", {"atomic": "w: a commit has 2 of 3 contributions"}),
        (
            "v=1 = 3.0",
            "v=1 = 2.0",
            {"reduction": "w: the commit differs from the reduction of the writes"},
        ),
        (
            "0 write w assign call=1",
            "2 begin call=1 after start\n0 write w assign call=1",
            {"atomic": "replica 2 runs a call in which it takes no part"},
        ),
        (
            "program receive replica=0 after sent0",
            "2 write w assign call=1 position=0 = 9.0 as sent2\n"
            "program receive replica=2 after sent2\nprogram receive replica=0 after sent0",
            {"record": "replica 2 acts in call 1, which is not running there"},
        ),
        (
            "program receive replica=1 after came1\n",
            "",
            {"atomic": "a collective is answered before all replicas have arrived"},
        ),
        (
            "2 install w v=1 after w1\n",
            "",
            {"atomic": "w: version 1 had not reached replica 2 when the record ended"},
        ),
        (
            "finish call=1",
            "finish call=1 present=2",
            {"record": "2 is not a valid number of replicas"},
        ),
    ],
    ids=[
        "all",
        "mean over all",
        "begins",
        "contributes",
        "answered",
        "not installed",
        "another event",
    ],
)
def test_a_wrong_record_of_the_call_is_not_valid(tmp_path: Path, before, after, expected):
    assert before in JOINED
    found = wrong(JOINED.replace(before, after), tmp_path)

    assert all(reason in found.get(name, "") for name, reason in expected.items()), found


def test_an_absent_replica_may_install_a_commit_of_a_dropped_variable(tmp_path: Path):
    assert {} == wrong(FORGOTTEN, tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            "2 install w v=1 after w1\n",
            "",
            {
                "lost-update": "w: version 1 has not reached replica 2 before a later call began "
                "there",
                "atomic": "w: version 1 had not reached replica 2 when the record ended",
            },
        ),
        (
            "2 install w v=1 after w1\n",
            "2 install w v=1 after w1\n2 install w v=1 after w1\n",
            {
                "atomic": "w: replica 2 installs a commit that was not sent to it",
                "versions": "w: replica 2 installs version 1 after 1",
            },
        ),
    ],
)
def test_a_dropped_variable_has_its_commits_once_everywhere(
    before: str, after: str, expected: dict[str, str], tmp_path: Path
):
    assert expected == wrong(FORGOTTEN.replace(before, after), tmp_path)
