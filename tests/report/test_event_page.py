"""One event, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from tests.analysis.build import parse_history
from varsim.report.event_page import event_plain, event_text
from varsim.tracing.history import open_history

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
