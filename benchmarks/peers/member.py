"""A process of a peer's group: takes steps when it is told to, and blocks when it is not.

All members of a group read the same lines from the benchmark, one socket each:

    CASE STEPS      such as "1048576 20": take 20 steps of case 1048576

and each answers a line of JSON: the seconds that each step took. Between lines they wait in `recv`,
so that a group whose turn it is not takes no processor from the one whose turn it is.
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
    """Takes steps until the benchmark closes the connection.

    Args:
        member: The place of this process in its group; 0 is the one whose seconds count.
        versions: What is measured, for the record.
        prepare: Gives a case's step, after it has checked that the step computes what it should.
            Called by all members for the same case.
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
                step = _nothing  # what the last case held is freed before the next one
                case, step = asked, prepare(asked)
            _say(lines, {"seconds": [_timed(step) for _ in range(int(count))]})


def check(found: float, expected: float) -> None:
    """A contender that computes something else is not measured."""
    if abs(found - expected) > 1e-6 * abs(expected):
        raise ValueError(f"the step gives {found}, and not {expected}")


def _say(lines: IO[str], answer: object) -> None:
    print(json.dumps(answer), file=lines, flush=True)


def _nothing() -> None:
    pass


def _timed(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
