"""Kill parts of clusters on three hosts, and say what the program got, and what was left.

`python -m tests.hosts.kills [NAME...]` does each of it ten times, and prints a table. Times are
from the kill: to the error in the program, and to the end of all processes and temporary files of
varsim on all hosts.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.hosts.engine_lab import EngineLab, command_of, why_no_engines
from tests.hosts.namespaces import why_impossible
from tests.waiting import MS, is_running, wait_for

LINK_LOSS_S: Final = 2.0
"""The program's `link_loss_s` if a host is cut: shorter than the default of 20 s."""

NOTICED_S: Final = 4.0
"""The longest time until a cut is noticed: a probe each second, which TCP repeats for 2 s."""

LIMITS_S: Final = {"ssh": 5.0, "mpirun": 8.0}
"""Within so many seconds, the program must have its error, and nothing may be left. Behind a cut,
the program waits for `NOTICED_S` and `LINK_LOSS_S` before. mpirun itself needs 3 to 4 s."""

PARTITION: Final = "partition"
_REPETITIONS: Final = 10
_START_S: Final = 60_000 * MS
_END_S: Final = 60_000 * MS
_CUT_HOST: Final = 1

PROGRAM: Final = """
import json, os, sys, time
import numpy as np
import varsim as tf

def where():
    server = os.getppid()
    with open(f"/proc/{server}/stat") as stat:
        agent = int(stat.read().rpartition(")")[2].split()[1])
    return {"worker": os.getpid(), "fork server": server, "agent": agent}

def step():
    return tf.distribute.get_replica_context().all_reduce("SUM", np.ones(100))

launcher, link_loss_s = json.loads(sys.argv[1])
devices = [f"cpu:{number}" for number in range(6)]
strategy = tf.distribute.MirroredStrategy(devices, launcher=launcher, link_loss_s=link_loss_s)
print(json.dumps(strategy.experimental_local_results(strategy.run(where))), flush=True)
try:
    while True:
        strategy.run(step)
except tf.errors.WorkerLost as error:
    at_s = time.monotonic()
    seen = {"at_s": at_s, "replicas": error.replica_ids, "reason": error.reason}
    print(json.dumps(seen), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running program with its cluster."""

    engines: EngineLab
    program: subprocess.Popen[str]
    of_replica: list[dict[str, int]]  # the processes of each replica's host

    def line(self, timeout_s: float = _END_S) -> dict[str, Any]:
        """Return the next line that the program prints; {} at the end of its output."""
        assert self.program.stdout is not None
        ready, _, _ = select.select([self.program.stdout], [], [], timeout_s)
        assert ready, f"the program printed nothing for {timeout_s:g} s"
        line = self.program.stdout.readline()
        return json.loads(line) if line else {}

    def command(self, pattern: str) -> int:
        """Return the child of the program whose command matches a pattern."""
        (found,) = (
            pid
            for pid in self.engines.processes()
            if _parent(pid) == self.program.pid and re.search(pattern, command_of(pid))
        )
        return found


@dataclass(frozen=True, slots=True)
class Kill:
    """What is killed, and what the program must get."""

    engine: str
    what: str
    find: Callable[[Cluster], int | None]  # the process to kill; None: the second host is cut
    replicas: tuple[int, ...]  # those whose workers are lost; (): the program itself is killed
    reason: str  # a pattern

    @property
    def limit_s(self) -> float:
        """Return the time limit, in seconds, for the error and for the end of everything."""
        return LIMITS_S[self.engine] + (NOTICED_S + LINK_LOSS_S if self.what == PARTITION else 0.0)

    def __str__(self) -> str:
        return f"{self.engine} {self.what}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened after a kill."""

    got: str
    wrong: str  # "" if all is right
    error_s: float | None  # None: the program itself was killed
    gone_s: float


def _of(replica_id: int, what: str) -> Callable[[Cluster], int]:
    return lambda cluster: cluster.of_replica[replica_id][what]


def _kills(engine: str, command: str, of_command: tuple[int, ...]) -> list[Kill]:
    """Return the kills under an engine.

    Args:
        command: A pattern of the engine's command.
        of_command: The replicas that are lost if the command ends.
    """
    host, ended = "was on host b, which", rf"which has ended: `{engine}` "
    left = f"^{host} has left: what started its agent has ended$"
    return [
        Kill(engine, "worker", _of(2, "worker"), (2,), "^was killed by SIGKILL$"),
        Kill(
            engine,
            "fork server",
            _of(2, "fork server"),
            (2, 3),
            "^ended, because the process that sta",
        ),
        Kill(engine, "agent", _of(2, "agent"), of_command, ended),
        Kill(
            engine, "command", lambda it: it.command(command), of_command, rf"{ended}was k|{left}"
        ),
        Kill(engine, "program", lambda it: it.program.pid, (), ""),
        Kill(engine, PARTITION, lambda _: None, (2, 3), rf"^{host} has had no connection for 2 "),
    ]


KILLS: Final = (
    *_kills("ssh", r"^ssh .* b exec ", (2, 3)),
    *_kills("mpirun", r"^mpirun ", tuple(range(6))),
)


def start(engines: EngineLab, engine: str, link_loss_s: float | None) -> Cluster:
    """Start the program on the first host, with two workers on each host."""
    settings = [{engine: {"hosts": list(engines.names)}}, link_loss_s]
    program = engines.popen(
        0,
        [sys.executable, "-c", PROGRAM, json.dumps(settings)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    cluster = Cluster(engines, program, [])
    cluster.of_replica.extend(cluster.line(_START_S))  # type: ignore[arg-type]
    return cluster


def try_once(engines: EngineLab, kill: Kill) -> Outcome:
    """Start a cluster, kill a part of it, and wait until nothing is left.

    Raises:
        AssertionError: The program does not end, or something is left for too long.
    """
    cluster = start(engines, kill.engine, LINK_LOSS_S if kill.what == PARTITION else None)
    with cluster.program:
        victim = kill.find(cluster)
        began_s = time.monotonic()
        if victim is None:
            engines.lab.switch.partition([_CUT_HOST])
        else:
            os.kill(victim, signal.SIGKILL)
        seen = cluster.line()
        cluster.program.wait(_END_S)
        of_cut = cluster.of_replica[2].values() if victim is None else ()
        # A host that is cut ends its part by itself; its ssh server sees only afterwards that the
        # other end has gone.
        wait_for(
            lambda: not any(map(is_running, of_cut)),
            _END_S,
            what="the end of the cut host",
        )
        cut_s = time.monotonic() - began_s
        engines.lab.switch.heal()
        wait_for(lambda: not _left(engines), _END_S, what=lambda: f"the end of {_left(engines)}")
        gone_s = cut_s if victim is None else time.monotonic() - began_s
    error_s = seen["at_s"] - began_s if seen else None
    got = f"{seen['replicas']}: {seen['reason']}" if seen else "–"
    wrong = []
    lost = set(seen.get("replicas", ()))
    # Workers of a fork server end one after the other: the error may know the first of them only.
    is_right = bool(lost) == bool(kill.replicas) and lost <= set(kill.replicas)
    if not is_right or not re.search(kill.reason, seen.get("reason", "")):
        wrong.append(f"expected {kill.replicas}: {kill.reason}")
    if max(gone_s, error_s or 0.0) > kill.limit_s * MS * 1_000:
        wrong.append("too late")
    return Outcome(got, "; ".join(wrong), error_s, gone_s)


def _left(engines: EngineLab) -> list[str]:
    """Return the processes on all hosts, and the files of varsim."""
    return [*engines.processes().values(), *engines.files("varsim-*")]


def _parent(pid: int) -> int:
    with suppress(OSError):  # it has ended in the meantime
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _row(kill: Kill, outcomes: list[Outcome]) -> str:
    right = sum(not one.wrong for one in outcomes)
    errors_s = [one.error_s for one in outcomes if one.error_s is not None]
    # Open MPI underlines its texts, and names processes by their numbers.
    texts = sorted({re.sub(r"-{9,}|(?<=PID )\d+|\s+", " ", one.got) for one in outcomes})
    cells = (
        kill.engine,
        kill.what,
        f"{right} of {len(outcomes)}",
        _times(errors_s),
        _times([one.gone_s for one in outcomes]),
        "; ".join(texts),
    )
    return f"| {' | '.join(cells)} |"


def _times(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f}, {max(seconds):.2f}" if seconds else "–"


def main() -> None:
    """Print the table; exit with 1 if something was wrong. Arguments: names of kills."""
    if why := why_impossible() or why_no_engines():
        raise SystemExit(why)
    chosen = [one for one in KILLS if not sys.argv[1:] or str(one) in sys.argv[1:]]
    right = True
    print("| engine | killed | right | s to the error (median, longest) | s to the end | got |")
    print("| --- | --- | ---: | ---: | ---: | --- |", flush=True)
    with EngineLab(3) as engines:
        for kill in chosen:
            outcomes = [try_once(engines, kill) for _ in range(_REPETITIONS)]
            right = right and not any(one.wrong for one in outcomes)
            print(_row(kill, outcomes), flush=True)
            for wrong in sorted({one.wrong for one in outcomes if one.wrong}):
                print(f"  {wrong}", flush=True)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
