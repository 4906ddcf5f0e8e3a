"""A host that is not of the cluster opens connections all the time; the cluster starts anyway."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.hosts.engine_lab import EngineLab
from tests.hosts.talking import Talking
from varsim.transport.strangers import MOST_STRANGERS

pytestmark = [pytest.mark.hosts, pytest.mark.processes, pytest.mark.timeout(120)]

PORT: Final = 7000  # of agents; that of workers is the next one
FLOOD: Final = 4 * MOST_STRANGERS
OWN_DESCRIPTORS: Final = 100

PROGRAM: Final = """
import json, os, sys
import varsim as tf

def step():
    return tf.distribute.get_replica_context().all_reduce("SUM", 1.0)

def descriptors():
    return len(os.listdir("/proc/self/fd"))

print(json.dumps("starts"), flush=True)
strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], launcher=json.loads(sys.argv[1]))
for _ in range(2):
    values = [float(one) for one in strategy.experimental_local_results(strategy.run(step))]
    print(json.dumps([values, descriptors()]), flush=True)
    sys.stdin.readline()
strategy.close()
"""

STRANGER: Final = """
import json, select, socket, sys

opened, refused, rounds = [], 0, 0
address, port, flood = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def connect(port, timeout_s):
    try:
        opened.append(socket.create_connection((address, port), timeout_s))
        return 1
    except OSError:
        return 0

while not select.select([sys.stdin], [], [], 0.001)[0]:  # until the cluster has started
    for one in (port, port + 1):
        connect(one, 0.2)
    if len(opened) >= flood:
        break
print(json.dumps(len(opened)), flush=True)
sys.stdin.readline()
print(json.dumps(sum(connect(one, 0.3) for one in (port, port + 1))), flush=True)
sys.stdin.readline()
"""


def test_a_cluster_starts_while_a_stranger_opens_connections(engines: EngineLab) -> None:
    address = engines.lab.hosts[0].address
    stranger = Talking(engines, 2, STRANGER, address, str(PORT), str(FLOOD))
    launcher = {"ssh": {"hosts": ["a", "b"], "listen": f"{address}:{PORT}"}}
    program = Talking(engines, 0, PROGRAM, json.dumps(launcher))
    assert "starts" == program.answer()

    values, descriptors = program.answer()

    assert [2.0, 2.0] == values
    assert descriptors <= 2 * MOST_STRANGERS + OWN_DESCRIPTORS
    stranger.go_on()
    assert stranger.answer() > MOST_STRANGERS, "there were more than the program keeps"
    stranger.go_on()
    assert 0 == stranger.answer(), "a host that is not of the cluster cannot connect any more"
    program.go_on()
    assert [2.0, 2.0] == program.answer()[0]
    program.go_on()
    assert 0 == program.end()
    stranger.end()
