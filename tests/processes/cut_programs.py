"""A program that takes the loopback interface of its own network namespace down and up again.

`unshare -rn python -m tests.processes.cut_programs` starts it.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time

import varsim as tf
from tests.replica_context import replica_id
from varsim.errors import WorkerLost
from varsim.transport.sockets import NOTICED_AFTER_S

LINK_LOSS_S = 3.0


def set_loopback(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


def cut(time_s: float) -> None:
    """Let the loopback interface drop all packets for a while."""
    set_loopback("down")
    select.select([], [], [], time_s)
    set_loopback("up")


def main() -> None:
    set_loopback("up")
    with tf.distribute.MirroredStrategy(
        ["cpu:0", "cpu:1"], transport="tcp", link_loss_s=LINK_LOSS_S, stall_warn_s=0
    ) as strategy:
        with strategy.scope():
            v = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM)

        def step(cut_s: float) -> float:
            v.assign_add(1.0)
            if cut_s and replica_id() == 0:
                cut(cut_s)
            return float(v.read_value())

        cuts_s = (0.0, 1.0, 0.0, NOTICED_AFTER_S + LINK_LOSS_S / 2, 0.0)
        values = [float(strategy.run(step, args=(cut_s,))) for cut_s in cuts_s]
        sys.stdout.write(f"{values}\n")

        set_loopback("down")
        started_s = time.monotonic()
        try:
            strategy.run(step, args=(0.0,))
        except WorkerLost as error:
            sys.stdout.write(f"{error}\n")
        sys.stdout.write(f"{time.monotonic() - started_s > LINK_LOSS_S}\n")


if __name__ == "__main__":
    main()
