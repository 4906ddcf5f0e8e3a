"""Play golden scenarios: operations, and below `----` the messages and values that follow.

    # ON_WRITE + MEAN: a write is a merge of all replicas, and every component gets the mean.
    cluster replicas=2
    variable w synchronization=ON_WRITE aggregation=MEAN
    assign replica=0 w 1.0
    assign replica=1 w 3.0
    ----
    0 -> coordinator: Contribution w assign 1.0
    1 -> coordinator: Contribution w assign 3.0
    coordinator -> 0: Commit w v1 assign 2.0
    coordinator -> 1: Commit w v1 assign 2.0
    replica 0: w = 2.0
    replica 1: w = 2.0

A block has commands, `----` and their output; it ends with a blank line. The output has the
messages in the order of sending, the values that the program and the replicas read, and at the end
the changed components. Values are Python values without spaces; `0:1.0 1:3.0` is one value per
replica.

The location of an operation is `program.py:N` for the N-th command of the file, unless its line
ends with `at FILE:LINE`.

    cluster replicas=2 strict=False auto=on_write
    variable w synchronization=AUTO aggregation=NONE dtype=float32 shape=() value=0
    assign|assign_add|assign_sub replica=0 w 1.0        in replica context
    read replica=0 w · raise replica=0 TEXT · host_call replica=0 TEXT
    all_reduce replica=0 SUM 1.0 · all_gather replica=0 AXIS [1.0] · broadcast replica=0 ROOT 1.0
    reduce_scatter replica=0 SUM AXIS [1.0,2.0] · scan replica=0 exclusive=1 SUM 1.0
    all_to_all replica=0 {'0':1.0,'1':[2.0]} · all_reduce replica=0 weight=3 MEAN 1.0
    merge_call replica=0 TEXT, then commands of the program, until `merged VALUE` or `fail TEXT`
    (all collectives accept name=NAME; a value may be a dict)
    call … end replica=0 …          one strategy.run; without `call`, each block is one strategy.run
    write w assign 1.0 · read w · values w · update w assign 1.0 · update w read · drop w
    hold 0 -> coordinator · deliver 0 -> coordinator 1 · release 0 -> coordinator
    wait 0.5                        0.5 seconds pass without a message
    show all                        also show Create, Define, Start and Returned

The program uses a real strategy with its `Coordinator`; the scenario delivers its messages. Each
replica is a `ReplicaState` without a process.

    python -m tests.scenarios.scenario [--rewrite] PATH…     compare, or rewrite the output
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.scenarios.runner import ScenarioRunner


def play(path: Path) -> ScenarioRunner:
    """Play the scenario of a file, and return its runner. A note on an exception names the file."""
    runner = ScenarioRunner(path.read_text("utf-8"))
    try:
        runner.play()
    except BaseException as error:
        error.add_note(f"in {path}, after this output:\n" + "\n".join(runner.lines))
        raise
    return runner


def difference(path: Path, runner: ScenarioRunner) -> str:
    """Return the difference between a scenario's output and its file, or an empty text."""
    before = path.read_text("utf-8").splitlines(keepends=True)
    now = runner.text.splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, now, str(path), "current output"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare or rewrite scenarios. Return 1 if the output of a scenario differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios.scenario")
    parser.add_argument("--rewrite", action="store_true", help="rewrite the expected parts")
    parser.add_argument("paths", nargs="+", type=Path, help="files, or folders of .txt files")
    options = parser.parse_args(arguments)
    differs = False
    for path in (p for given in options.paths for p in (sorted(given.glob("*.txt")) or [given])):
        runner = play(path)
        shown = difference(path, runner)
        differs = differs or bool(shown)
        sys.stdout.write(shown)
        if options.rewrite:
            path.write_text(runner.text, "utf-8")
    return int(differs and not options.rewrite)


if __name__ == "__main__":
    # The main function is that of an imported module: as `__main__` this module would have another
    # name, and locations are found by module names.
    sys.exit(importlib.import_module("tests.scenarios.scenario").main())
