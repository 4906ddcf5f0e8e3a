"""A cluster starts and computes on a network whose round trips take longer than a second."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

import pytest

from tests.hosts.engine_lab import EngineLab
from tests.hosts.talking import Talking
from tests.waiting import MS, wait_for

pytestmark = [pytest.mark.hosts, pytest.mark.processes, pytest.mark.timeout(180)]

DELAY_S: Final = 0.6  # each way
PORT: Final = 7000
START_S: Final = 240.0
"""The limit for round trips of up to 2 s: no start here takes nearly as long."""

PROGRAM: Final = """
import json, sys
import varsim as tf

def step():
    return tf.distribute.get_replica_context().all_reduce("SUM", 1.0)

launcher = json.loads(sys.argv[1])
strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], launcher=launcher)
for _ in range(2):
    values = [float(one) for one in strategy.experimental_local_results(strategy.run(step))]
    print(json.dumps(values), flush=True)
    sys.stdin.readline()
strategy.close()
"""


def test_a_cluster_on_links_with_long_round_trips(engines: EngineLab) -> None:
    """The program is on another host than the workers."""
    address, key = engines.lab.hosts[0].address, engines.folder / "key"
    engines.lab.switch.shape(delay_s=DELAY_S)
    settings = {"hosts": 2, "listen": f"{address}:{PORT}", "key": str(key)}
    launcher = {"join": {**settings, "start_timeout_s": START_S}}
    program = Talking(engines, 0, PROGRAM, json.dumps(launcher))
    wait_for(key.exists, 20_000 * MS, what="the key")
    agents = [
        engines.popen(
            host,
            [
                *(sys.executable, "-m", "varsim", "worker"),
                *("--coordinator", f"tcp://{address}:{PORT}", "--key", str(key)),
            ],
            stdin=subprocess.DEVNULL,
        )
        for host in (1, 2)
    ]

    assert [2.0, 2.0] == program.answer()
    program.go_on()
    assert [2.0, 2.0] == program.answer()
    program.go_on()
    assert 0 == program.end()
    assert [0, 0] == [one.wait(20_000 * MS) for one in agents]
