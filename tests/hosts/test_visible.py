"""What a run on three hosts says of them: amounts, the delays that the network has, and names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hosts.engine_lab import EngineLab
from tests.hosts.launchers import arguments
from tests.hosts.runs_on_hosts import run
from varsim.tracing.history import open_history

pytestmark = [pytest.mark.hosts, pytest.mark.processes]

DELAY_S = 0.02
OVERHEAD = 4
"""At most so many times the bytes of messages are on the wire: most messages are small."""


def test_bytes_delays_and_the_slowest_link(engines: EngineLab, tmp_path: Path) -> None:
    """The program is on a; packets between a and c need 30 ms one way, and 10 ms the other way."""
    switch = engines.lab.switch
    switch.shape([0], [2], delay_s=1.5 * DELAY_S)
    switch.shape([2], [0], delay_s=0.5 * DELAY_S)
    before = switch.counts()
    there = run(engines, "ssh", arguments("digits", "on_write"), tmp_path / "run")
    after = switch.counts()
    assert 0 == there.code, there.said

    with open_history(tmp_path / "run/latest") as history:
        traffic = history.traffic
        assert traffic is not None
        assert ["a", "a", "b", "b", "c", "c"] == [history.host_of(i) for i in range(6)]
    summary = json.loads((tmp_path / "run/latest/summary.json").read_text("utf-8"))
    assert summary["traffic"] == traffic.packed()
    assert (["a"], ["", "c"], "") == (traffic.program_on, traffic.slowest, traffic.uncounted)
    of_a, of_b, of_c = traffic.links
    assert (True, False, False) == (of_a.within, of_b.within, of_c.within)
    assert of_c.delay_s is not None
    assert of_b.delay_s is not None
    assert DELAY_S <= of_c.delay_s <= 1.5 * DELAY_S, "the mean of both ways, not the clocks' error"
    assert of_b.delay_s < DELAY_S
    for link, number in ((of_b, 1), (of_c, 2)):
        wires = [(0, number), (number, 0)]
        on_wire = sum(after[wire].delivered_bytes - before[wire].delivered_bytes for wire in wires)
        assert link.size_bytes < on_wire < OVERHEAD * link.size_bytes
        assert link.messages == pytest.approx(of_a.messages, rel=0.05)
    assert "The slowest link between hosts: the program – c." in " ".join(there.said.split())
