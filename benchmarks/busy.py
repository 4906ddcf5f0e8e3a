"""How long does each thread compute in a small step, and how often does a worker sleep?

A step writes ON_WRITE MEAN scalars. Column *coordinator* is the processor time of the program's
main thread in a step. *coordinator I/O* is the processor time of the program's other threads, which
belong to ZeroMQ. The two columns of a worker have the same meaning. *busy* is the processor time of
all processes in a step, divided by the time that all cores had during the step. *sleeps* counts how
often a worker released its core in a step. *preempted* counts how often the system took the core
away from a worker.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from typing import NamedTuple

import varsim as tf
from benchmarks.ours import cluster, on_write_mean, step_of
from benchmarks.record import Rows, keep, question, show
from varsim.processors import usable_processors

WORKERS = (1, 4, 64)
SCALARS = (1, 1000)
ONLY_ONE_FROM = 16  # from this number of workers on, only the step with one scalar is measured
WARM_UP = 30
STEPS = 200


class Used(NamedTuple):
    """The resources of a process since its start: seconds, and switches to other processes."""

    thread_s: float
    process_s: float
    sleeps: float
    preempted: float


def used() -> Used:
    """Return the resources that this process has used; `thread_s` is the calling thread's time."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Used(time.thread_time(), time.process_time(), usage.ru_nvcsw, usage.ru_nivcsw)


def measure(workers: int, scalars: int, steps: int) -> dict[str, object]:
    """Return one row of the table."""
    with cluster(workers) as strategy:
        step = step_of(on_write_mean(strategy, scalars, ()))
        for _ in range(WARM_UP):
            strategy.run(step)
        workers_before, before = of_workers(strategy), used()
        began = time.perf_counter()
        for _ in range(steps):
            strategy.run(step)
        took_s = (time.perf_counter() - began) / steps
        own = per_step(before, used(), steps)
        each = [
            per_step(then, now, steps)
            for then, now in zip(workers_before, of_workers(strategy), strict=True)
        ]
    worker = Used(*map(statistics.mean, zip(*each, strict=True)))
    cores = usable_processors()
    return {
        "workers": workers,
        "scalars": scalars,
        "step, µs": took_s * 1e6,
        "coordinator, µs": own.thread_s * 1e6,
        "coordinator I/O, µs": (own.process_s - own.thread_s) * 1e6,
        "worker, µs": worker.thread_s * 1e6,
        "worker I/O, µs": (worker.process_s - worker.thread_s) * 1e6,
        "busy": (own.process_s + workers * worker.process_s) / (cores * took_s),
        "sleeps": worker.sleeps,
        "preempted": worker.preempted,
    }


def of_workers(strategy: tf.distribute.Strategy) -> list[Used]:
    """Return the resources that each worker has used, in replica order."""
    found = strategy.experimental_local_results(strategy.run(tf.function(used)))
    return [Used(*map(float, one)) for one in found]


def per_step(before: Used, after: Used, steps: int) -> Used:
    """Return the average resources of one step, from a measurement before and one after."""
    return Used(*((now - then) / steps for then, now in zip(before, after, strict=True)))


def main() -> None:
    """Measure, print, and keep the results if asked."""
    options = question(__doc__, WORKERS).parse_args()
    rows: Rows = []
    for workers in options.workers:
        for scalars in SCALARS[: 1 if workers >= ONLY_ONE_FROM else None]:
            rows.append(measure(workers, scalars, options.rounds or STEPS))
            print(f"{workers} workers, {scalars} scalars measured", file=sys.stderr)
    show("in one step", rows)
    if options.keep:
        keep("busy", rows)


if __name__ == "__main__":
    main()
