"""Kill parts of clusters on three hosts, and say what the program got, and what was left.

`python -m tests.hosts.kills [--times N] [NAME...]` does each of it ten times, and prints a table. A
name is that of an engine, or of a kill, such as "ssh worker". Times are from the kill: to the error
in the program, and to the end of all processes and temporary files of varsim on all hosts.
"""

from __future__ import annotations

import argparse
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
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from tests.hosts import namespaces
from tests.hosts.engine_lab import NOTICE, EngineLab, command_of, why_no_engines
from tests.hosts.namespaces import why_impossible
from tests.hosts.ray_cluster import RECONNECT_S, RayCluster, ray_for, why_no_ray
from tests.waiting import MS, is_running, wait_for

RAY: Final = "ray"

LINK_LOSS_S: Final = 2.0
"""The program's `link_loss_s` if a host is cut: shorter than the default of 20 s."""

NOTICED_S: Final = 4.0
"""The longest time until a cut is noticed: a probe each second, which TCP repeats for 2 s."""

LIMITS_S: Final = {"ssh": 5.0, "mpirun": 8.0, RAY: 5.0}
"""Within so many seconds, the program must have its error, and nothing may be left. Behind a cut,
the program waits for `NOTICED_S` and `LINK_LOSS_S` before. mpirun itself needs 3 to 4 s."""

PARTITION: Final = "partition"
HEAD: Final = "head"
LONGER_S: Final = {PARTITION: NOTICED_S + LINK_LOSS_S, HEAD: float(RECONNECT_S)}
"""How much longer it may take: only Ray can notice the end of its head, within its own limit."""

_REPETITIONS: Final = 10
_START_S: Final = 60_000 * MS
_END_S: Final = 60_000 * MS
_VICTIM: Final = 1
"""The number of the host of which parts are killed. The program runs on host 0."""


_HOST: Final = re.compile(r"(?<=host )[^,]+")
_VARYING: Final = re.compile(r"-{9,}|(?<=PID )\d+|[0-9a-f]{40,}|\[20\d\d-[^]]*]|\s+")
"""What differs between texts: lines and spaces of Open MPI, numbers and times of Ray."""


class Lost(Enum):
    """The workers that are lost."""

    ONE = "one of the host"
    HOST = "all of the host"
    ALL = "all of the cluster"
    NONE = "none: the program itself is killed"


PROGRAM: Final = """
import json, os, sys, time
import numpy as np
import varsim as tf

def where():
    server = os.getppid()
    with open(f"/proc/{server}/stat") as stat:
        agent = int(stat.read().rpartition(")")[2].split()[1])
    network = os.stat("/proc/self/ns/net").st_ino
    return {"worker": os.getpid(), "fork server": server, "agent": agent, "network": network}

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
    of_replica: list[dict[str, int]]  # the processes of each replica's host, and its network
    ray: RayCluster | None

    def lost(self, lost: Lost) -> set[int]:
        """Return the replicas that are lost."""
        folder, victim = namespaces.FOLDER, self.engines.lab.hosts[_VICTIM]
        network = (folder / victim.namespace).stat().st_ino
        of_host = [i for i, one in enumerate(self.of_replica) if one["network"] == network]
        return {
            Lost.ONE: set(of_host[:1]),
            Lost.HOST: set(of_host),
            Lost.ALL: set(range(len(self.of_replica))),
            Lost.NONE: set(),
        }[lost]

    @property
    def processes(self) -> dict[str, int]:
        """Return the processes of the first replica of the host."""
        return self.of_replica[min(self.lost(Lost.HOST))]

    def raylet(self) -> int:
        """Return the process of Ray that serves the host."""
        assert self.ray is not None, "a cluster in Ray"
        return self.ray.raylet(_VICTIM)

    def head(self) -> int:
        """Return the process of Ray that serves the cluster."""
        assert self.ray is not None, "a cluster in Ray"
        return self.ray.head()

    def line(self, timeout_s: float = _END_S) -> dict[str, Any]:
        """Return the next line that the program prints; {} at the end of its output."""
        assert self.program.stdout is not None
        ready, _, _ = select.select([self.program.stdout], [], [], timeout_s)
        assert ready, f"the program printed nothing for {timeout_s:g} s"
        line = self.program.stdout.readline()
        while line.startswith(NOTICE):
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
    find: Callable[[Cluster], int | None]  # the process to kill; None: the host is cut
    lost: Lost
    reason: str  # a pattern

    @property
    def limit_s(self) -> float:
        """Return the time limit, in seconds, for the error and for the end of everything."""
        return LIMITS_S[self.engine] + LONGER_S.get(self.what, 0.0)

    def __str__(self) -> str:
        return f"{self.engine} {self.what}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened after a kill."""

    got: str
    wrong: str  # "" if all is right
    error_s: float | None  # None: the program itself was killed
    gone_s: float


def _kills(engine: str, command: str, of_command: Lost, ended: str) -> list[Kill]:
    """Return the kills under an engine.

    Args:
        command: A pattern of the engine's command.
        of_command: The replicas that are lost if the command ends.
        ended: A pattern of what is said then.
    """
    host = "was on host [^,]+, which"
    left = f"^{host} has left: what started its agent has ended$"
    of_agent = Lost.HOST if engine == RAY else of_command
    dies = f"{host} has ended: `varsim worker` was killed" if engine == RAY else ended
    return [
        Kill(engine, "worker", lambda it: it.processes["worker"], Lost.ONE, "^was killed by SIGK"),
        Kill(
            engine,
            "fork server",
            lambda it: it.processes["fork server"],
            Lost.HOST,
            "^ended, because the process that sta",
        ),
        Kill(engine, "agent", lambda it: it.processes["agent"], of_agent, dies),
        Kill(
            engine, "command", lambda it: it.command(command), of_command, rf"{ended}was k|{left}"
        ),
        Kill(engine, "program", lambda it: it.program.pid, Lost.NONE, ""),
        Kill(
            engine, PARTITION, lambda _: None, Lost.HOST, rf"^{host} has had no connection for 2 "
        ),
    ]


KILLS: Final = (
    *_kills("ssh", r"^ssh .* b exec ", Lost.HOST, "which has ended: `ssh` "),
    *_kills("mpirun", r"^mpirun ", Lost.ALL, "which has ended: `mpirun` "),
    *_kills(RAY, r"ray_driver", Lost.ALL, "which has ended: `Ray's driver` "),
    Kill(RAY, "raylet", Cluster.raylet, Lost.HOST, "which has (left|ended): "),
    Kill(RAY, HEAD, Cluster.head, Lost.ALL, "which has (left|ended): "),
)


def start(
    engines: EngineLab, engine: str, link_loss_s: float | None, ray: RayCluster | None
) -> Cluster:
    """Start the program on the first host, with two workers on each host."""
    of_engine: dict[str, Any] = {"hosts": list(engines.names)}
    if ray is not None:
        ray.restore()
        of_engine = {"hosts": len(engines.names), "address": ray.address}
    settings = [{engine: of_engine}, link_loss_s]
    program = engines.popen(
        0,
        [sys.executable, "-c", PROGRAM, json.dumps(settings)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    cluster = Cluster(engines, program, [], ray)
    cluster.of_replica.extend(cluster.line(_START_S))  # type: ignore[arg-type]
    return cluster


def try_once(engines: EngineLab, kill: Kill, ray: RayCluster | None = None) -> Outcome:
    """Start a cluster, kill a part of it, and wait until nothing is left.

    Args:
        ray: The Ray cluster on the hosts, for kills under Ray.
    Raises:
        AssertionError: The program does not end, or something is left for too long.
    """
    loss_s = LINK_LOSS_S if kill.what == PARTITION else None
    cluster = start(engines, kill.engine, loss_s, ray)
    expected = cluster.lost(kill.lost)
    with cluster.program:
        victim = kill.find(cluster)
        began_s = time.monotonic()
        if victim is None:
            engines.lab.switch.partition([_VICTIM])
        else:
            os.kill(victim, signal.SIGKILL)
        seen = cluster.line()
        cluster.program.wait(_END_S)
        names = ("worker", "fork server", "agent") if victim is None else ()
        of_cut = [cluster.of_replica[one][name] for one in expected for name in names]
        # A host that is cut ends its part by itself; its ssh server sees only afterwards that the
        # other end has gone.
        wait_for(
            lambda: not any(map(is_running, of_cut)),
            _END_S,
            what="the end of the cut host",
        )
        cut_s = time.monotonic() - began_s
        engines.lab.switch.heal()
        wait_for(lambda: not engines.left(), _END_S, what=lambda: f"the end of {engines.left()}")
        gone_s = cut_s if victim is None else time.monotonic() - began_s
    error_s = seen["at_s"] - began_s if seen else None
    got = f"{seen['replicas']}: {seen['reason']}" if seen else "–"
    wrong = []
    lost = set(seen.get("replicas", ()))
    # Workers of a fork server end one after the other: the error may know the first of them only.
    is_right = bool(lost) == bool(expected) and lost <= expected
    if not is_right or not re.search(kill.reason, seen.get("reason", "")):
        wrong.append(f"expected {expected}: {kill.reason}")
    if max(gone_s, error_s or 0.0) > kill.limit_s * MS * 1_000:
        wrong.append("too late")
    return Outcome(got, "; ".join(wrong), error_s, gone_s)


def _parent(pid: int) -> int:
    with suppress(OSError):  # it has ended in the meantime
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _row(kill: Kill, outcomes: list[Outcome]) -> str:
    right = sum(not one.wrong for one in outcomes)
    errors_s = [one.error_s for one in outcomes if one.error_s is not None]
    texts = sorted({_VARYING.sub(" ", _HOST.sub("b", one.got)) for one in outcomes})
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
    """Print the table; exit with 1 if something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=_REPETITIONS)
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    if why := why_impossible() or why_no_engines():
        raise SystemExit(why)
    chosen = [one for one in KILLS if not given.names or {str(one), one.engine} & set(given.names)]
    if why := why_no_ray():
        print(why)
        chosen = [one for one in chosen if one.engine != RAY]
    tried = right = 0
    print("| engine | killed | right | s to the error (median, longest) | s to the end | got |")
    print("| --- | --- | ---: | ---: | ---: | --- |", flush=True)
    for engine in dict.fromkeys(one.engine for one in chosen):
        with ExitStack() as stack:
            engines = stack.enter_context(EngineLab(3))
            ray = stack.enter_context(ray_for(engines)) if engine == RAY else None
            for kill in (one for one in chosen if one.engine == engine):
                outcomes = [try_once(engines, kill, ray) for _ in range(given.times)]
                tried += len(outcomes)
                right += sum(not one.wrong for one in outcomes)
                print(_row(kill, outcomes), flush=True)
                for wrong in sorted({one.wrong for one in outcomes if one.wrong}):
                    print(f"  {wrong}", flush=True)
    print(f"\n{right} of {tried}")
    sys.exit(0 if right == tried else 1)


if __name__ == "__main__":
    main()
