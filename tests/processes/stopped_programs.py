"""A program that is stopped, and stops a worker, for longer than the heartbeat's time-out."""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

import varsim as tf
from tests.replica_context import replica_id
from tests.waiting import MS, wait_for
from varsim.transport import sockets

STOPPED_S = 150 * MS  # several times the heartbeat's time-out


def state(process_id: int) -> str:
    return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]


def stop_for_a_while(process_id: int) -> None:
    """Stop a process, and let it continue after `STOPPED_S`."""
    os.kill(process_id, signal.SIGSTOP)
    wait_for(lambda: state(process_id) == "T")
    select.select([], [], [], STOPPED_S)  # a heartbeat fails only after its time-out
    os.kill(process_id, signal.SIGCONT)


def main() -> None:
    sockets._HEARTBEAT_IVL_MS = 10  # type: ignore[misc]
    sockets._HEARTBEAT_TIMEOUT_MS = 50  # type: ignore[misc]
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], transport="tcp")
    with strategy, strategy.scope():
        v = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM)
        process_ids = [int(one) for one in strategy.run(os.getpid).values]

        def step(stopped: int) -> float:
            v.assign_add(1.0)
            if stopped and replica_id() == 0:
                stop_for_a_while(stopped)
            return float(v.read_value())

        stops = (0, process_ids[1], 0, os.getpid(), 0)
        sys.stdout.write(f"{[strategy.run(step, args=(one,)) for one in stops]}")


if __name__ == "__main__":
    main()
