"""Run a process of a peer's group: take steps when the benchmark requests them, else wait.

Each member of a group has its own connection. The benchmark sends the same line to all members:

    CASE STEPS      such as "1048576 20": take 20 steps of case 1048576

Each member answers with a line of JSON: the seconds of each step. Between lines the members wait in
`recv`, so that a waiting group does not use the processor.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from typing import IO

ADDRESS = "BENCH_ADDRESS"
"""The environment variable with the path of the benchmark's socket."""

Step = Callable[[], object]


def serve(member: int, versions: str, prepare: Callable[[str], Step]) -> None:
    """Take steps until the benchmark closes the connection.

    Args:
        member: The rank of this process in its group. Only the seconds of rank 0 are used.
        versions: The peer's version, which is saved with the results.
        prepare: A function that returns a case's step, after a check of the step's result. All
            members call the function for the same case.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[ADDRESS])
        lines = connection.makefile("rw", encoding="utf-8")
        _say(lines, {"member": member, "versions": versions})
        case = ""
        step: Step = _nothing
        for line in lines:
            asked, count = line.split()
            if asked != case:
                step = _nothing  # free the memory of the last case before the next one
                case, step = asked, prepare(asked)
            _say(lines, {"seconds": [_timed(step) for _ in range(int(count))]})


def check(found: float, expected: float) -> None:
    """Assert that a contender computes the right result."""
    if abs(found - expected) > 1e-6 * abs(expected):
        raise ValueError(f"the step gives {found} instead of {expected}")


def _say(lines: IO[str], answer: object) -> None:
    print(json.dumps(answer), file=lines, flush=True)


def _nothing() -> None:
    pass


def _timed(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
