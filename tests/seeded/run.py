"""Run one seed, and name what must happen in many seeds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from typing import Final
from unittest import mock

from tests.seeded.programs import Drawing
from tests.seeded.running import SeededRun
from varsim.sync import deferred

COMMON: Final = frozenset(
    {
        *(
            f"sends {name}"
            for name in "Abort Commit Create Define Fetch FetchPolicyState Forget HostResult "
            "Merged PullDeltas Reduced ScatterCommit SetPolicyState Start".split()
        ),
        *(
            f"program: {name}"
            for name in "AssignComponents BareComponentScatter BareComponentWrite BareFetch "
            "BareProgramScatter BareProgramWrite CrossRead".split()
        ),
        *(f"dense write: {name}" for name in "AUTO NONE ON_READ ON_WRITE local_sgd:3".split()),
        *(f"sparse write: {name}" for name in "AUTO NONE ON_WRITE local_sgd:3".split()),
        *(f"function {how}" for how in "raised returned unwound".split()),
        *(
            f"call {how}"
            for how in (
                "fails because a replica raises",
                "fails: MismatchError",
                "fails: WorkerLost",
                "is abandoned",
                "succeeds",
            )
        ),
        *(
            f"program goes on after {name}"
            for name in "AggregationError Interrupted MismatchError OperationError ProgramRaises "
            "ReplicaRaises WorkerLost".split()
        ),
        *(f"duplicate {name}" for name in "Abort Layout Left commit".split()),
        *(f"refused: {name}" for name in "AggregationError OperationError WorkerLost".split()),
        *(f"lost: {name}" for name in "INITIAL MEAN NOTHING ZERO".split()),
        *(f"restart: {name}" for name in "NoRecovery Recovery".split()),
        *(f"shrink: {name}" for name in "NoRecovery Recovery".split()),
        "deadline passes",
        "death",
        "event of a former worker",
        "failure is caught in a merge_call",
        "host call",
        "interrupt",
        "look for stalls",
        "merge_call",
        "next incarnation",
        "restart by the program",
        "stall",
        "state: fetched",
        "state: set",
        "start is skipped",
        "the replica of an operation is gone",
        "warning of a stall",
        "write waits because its log is full",
        "write waits for an average",
    }
)
"""Names of what must happen in some hundreds of seeds."""

RARE: Final = frozenset(
    {
        *(f"lost: {name}" for name in "CHECKPOINT COPY NO_SHARE WRITTEN ZEROS".split()),
        "call fails: CallTimeout",
        "interrupt of a start",
        "loss during a start",
        "lost: deferred writes",
        "process of a stalled replica is ended",
        "refused: StillRunning",
        "replicas are located",
        "start fails",
    }
)
"""Names of what must happen in some thousands of seeds."""


def run_seed(seed: int, counts: Counter[str]) -> None:
    """Draw a program, run it with its faults, and check it; count what has happened."""
    rng = random.Random(seed)
    program = Drawing(rng).program()
    limit = rng.choice((deferred.MAX_ENTRIES, 3))
    with mock.patch.object(deferred, "MAX_ENTRIES", limit):
        SeededRun(program, rng, counts).run()


def run_seeds(seeds: Iterable[int]) -> Counter[str]:
    """Run seeds; return the counts of what has happened.

    Raises:
        Exception: A seed fails; a note has the command that replays it.
    """
    counts: Counter[str] = Counter()
    for seed in seeds:
        try:
            run_seed(seed, counts)
        except Exception as error:
            error.add_note(f"replay it: .venv/bin/python -m tests.seeded {seed}")
            raise
    return counts
