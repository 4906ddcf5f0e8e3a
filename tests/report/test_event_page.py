"""One event, as text and as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.analysis.build import parse_history
from varsim.report.event_page import event_plain, event_text
from varsim.report.event_sentence import sentence_of
from varsim.tracing.history import KINDS, open_history

HISTORY = """
variable w NONE NONE float32 [9,2]
program create w v=0
0 write w scatter_add at [7,0] = [[1.0,2.0],[3.0,4.0]]
"""


def test_a_sparse_write_shows_its_rows(tmp_path: Path):
    with open_history(parse_history(HISTORY).write(tmp_path)) as history:
        text = [" ".join(line.split()) for line in event_text(history, 2, 80)]
        plain = event_plain(history, 2)

    assert "value float32 [2, 2]: 1 2 3 4" in text
    assert "rows 7 0" in text
    assert ([7, 0], [[1.0, 2.0], [3.0, 4.0]]) == (plain["indices"], plain["value"])
    assert json.loads(json.dumps(plain)) == plain


MERGE = """
replicas 2
variable w ON_WRITE MEAN float32 []
variable v ON_WRITE NONE float32 []
program create w v=0 = 0
program create v v=0 = 0
program call call=1                                              as start
0 begin call=1                                                   after start
1 begin call=1                                                   after start
0 write w assign call=1 position=0 location=t.py:5 = 1.0         as w0
1 write w assign call=1 position=0 location=t.py:5 = 3.0         as w1
program receive replica=0                                        after w0
program receive replica=1                                        after w1
program commit w assign call=1 position=0 v=1 = 2.0              as c1
0 install w v=1 call=1                                           after c1
1 install w v=1 call=1                                           after c1
0 read w v=1 call=1 location=t.py:6 = 2.0
1 write v assign call=1 location=t.py:7 = 4.0
1 read v call=1 location=t.py:8 = 4.0
0 arrive operation=all_reduce call=1 position=1 location=t.py:9  as a0
1 arrive operation=all_reduce call=1 position=1 location=t.py:9  as a1
program answer operation=reduced call=1 position=1               after a0
"""
MERGED = (
    "What belongs together: writes 6, 7 (replicas 0, 1) → commit 10 (version 1) → installs 11, 12 "
    "(replicas 0, 1) → first read 13 (replica 0)."
)
IN = ", in call 1 of strategy.run."
COLLECTIVE = "What belongs together: arrivals 16, 17 (replicas 0, 1) → answer 18 (the program)."


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (3, "The program called a function on all replicas, as call 1 of strategy.run."),
        (4, "Replica 0 began call 1 of strategy.run."),
        (
            6,
            f"Replica 0 wrote w by assign of 1 at t.py:5{IN} It is a "
            f"contribution to a merge of all replicas. {MERGED}",
        ),
        (
            10,
            f"The program committed w as version 1, by assign of 2{IN} {MERGED}",
        ),
        (
            13,
            f"Replica 0 read its component of w: 2 (version 1) at t.py:6{IN} {MERGED}",
        ),
        (
            14,
            f"Replica 1 wrote v by assign of 4 at t.py:7{IN} It changed only "
            "its own component. What belongs together: write 14 (replica 1) → next read 15 "
            "(replica 1).",
        ),
        (16, f"Replica 0 arrived at all_reduce at t.py:9{IN} {COLLECTIVE}"),
        (
            18,
            f"The program answered the collective: reduced{IN} {COLLECTIVE}",
        ),
    ],
)
def test_an_event_is_told_in_a_sentence_with_what_belongs_to_it(
    number: int, said: str, tmp_path: Path
):
    with open_history(parse_history(MERGE).write(tmp_path)) as history:
        text = " ".join(" ".join(event_text(history, number, 80)).split())

    assert f"event {number} of 18 {said} kind " in text


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_event_has_a_sentence(kind: str, tmp_path: Path):
    with open_history(parse_history(HISTORY).write(tmp_path)) as history:
        event = next(history.events("1"))._replace(kind=kind)
        said = sentence_of(history, event)

    assert "recorded an event of the kind" not in said
    assert not re.search(r"None|[{}]| \.|\s\s", said), said
