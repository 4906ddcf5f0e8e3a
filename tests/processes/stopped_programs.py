"""A program whose replica 0 stops replica 1, and later the program, longer than a cut may last."""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

import varsim as tf
from tests.replica_context import replica_id
from tests.waiting import MS, wait_for

LINK_LOSS_S = 50 * MS
STOPPED_S = 3 * LINK_LOSS_S


def state(process_id: int) -> str:
    return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]


def stop_for_a_while(process_id: int) -> None:
    """Stop a process, and let it continue after `STOPPED_S`."""
    os.kill(process_id, signal.SIGSTOP)
    wait_for(lambda: state(process_id) == "T")
    select.select([], [], [], STOPPED_S)  # longer than the limit of a cut link
    os.kill(process_id, signal.SIGCONT)


def main() -> None:
    strategy = tf.distribute.MirroredStrategy(
        ["cpu:0", "cpu:1"], transport="tcp", link_loss_s=LINK_LOSS_S
    )
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
