"""The reported error of a host's clock is at least the real one.

The hosts of a lab have one clock, so the real difference is 0. A network that is slower in one
direction makes a reading wrong by half of the difference between the directions.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.hosts.engine_lab import EngineLab
from tests.hosts.launchers import arguments
from tests.hosts.runs_on_hosts import run

pytestmark = [pytest.mark.hosts, pytest.mark.processes]

DELAY_S = 0.04
BEGINS = """
    SELECT min(begun.time_s - called.time_s) FROM events AS begun JOIN events AS called
    USING (call) WHERE begun.kind = 'begin' AND called.kind = 'call' AND begun.process = ?
"""


@pytest.mark.parametrize("sender", [0, 1], ids=["to the host", "from the host"])
def test_a_reading_is_as_wrong_as_it_says(engines: EngineLab, tmp_path: Path, sender: int) -> None:
    engines.lab.switch.shape([sender], [1 - sender], delay_s=DELAY_S)
    there = run(engines, "ssh", arguments("digits", "on_write"), tmp_path / "run")
    assert 0 == there.code, there.said

    with closing(sqlite3.connect(tmp_path / "run/latest/history.db")) as history:
        ((hosts,),) = history.execute("SELECT value FROM run WHERE key = 'hosts'")
        ((begins_s,),) = history.execute(BEGINS, (there.hosts["b"][0],))
    (error_s,) = (one["clock_error_s"] for one in json.loads(hosts) if one["name"] == "b")

    assert DELAY_S / 2 <= error_s
    # A call begins on the host one delay after the program has begun it; the reading is too late
    # or too early by half of the delay.
    arrives_s = DELAY_S if sender == 0 else 0.0
    assert arrives_s - error_s <= begins_s
