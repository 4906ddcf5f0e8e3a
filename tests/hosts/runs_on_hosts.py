"""Run `varsim run` on the hosts of a lab, and compare the values of two runs bit for bit."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.hosts.engine_lab import EngineLab
from tests.hosts.ray_cluster import PORT
from tests.waiting import MS

LOCAL: Final = "process"
"""The launcher of one host."""

RAY: Final = "ray"
"""The launcher for which the hosts must have a Ray cluster (`ray_cluster.ray_for`)."""

TIMEOUT_S: Final = 120_000 * MS

_COMPARED: Final = ("status", "step", "total_steps", "metrics", "result")
_OF_VARIABLES: Final = ("name", "synchronization", "writes", "reads", "merges", "size_bytes")
_VALUES: Final = """
    SELECT process, kind, name, operation, version, position, replica, call, digest, times
    FROM events JOIN variables USING (variable)
    WHERE kind IN ('create', 'write', 'read', 'commit') ORDER BY process, number
"""


@dataclass(frozen=True, slots=True)
class RunOnHosts:
    """A run that has ended, and all that a program or a reader of its record sees of values."""

    code: int
    said: str  # the end of its output
    seen: dict[str, Any] = field(default_factory=dict)
    events: tuple[Any, ...] = ()  # all writes, reads and commits, with digests of their values
    hosts: dict[str, list[int]] = field(default_factory=dict)  # the replicas of each host

    def differences(self, other: RunOnHosts) -> list[str]:
        """Return what differs between the values of two runs; [] if all are equal."""
        found = [
            f"{name}: {self.seen.get(name)!r} and {other.seen.get(name)!r}"
            for name in sorted(self.seen.keys() | other.seen.keys())
            if self.seen.get(name) != other.seen.get(name)
        ]
        if self.code != other.code:
            found.append(f"exit codes {self.code} and {other.code}: {self.said} and {other.said}")
        if len(self.events) != len(other.events):
            found.append(f"{len(self.events)} and {len(other.events)} events")
        for mine, theirs in zip(self.events, other.events, strict=False):
            if mine != theirs:
                return [*found, f"the first different event: {mine} and {theirs}"]
        return found

    @property
    def checksum(self) -> str:
        """Return a checksum of all values, to compare tables of two machines."""
        content = json.dumps([self.seen, self.events], sort_keys=True, default=repr)
        return f"{zlib.crc32(content.encode()):08x}"


def start(
    engines: EngineLab, launcher: str, arguments: Iterable[str], out: Path
) -> subprocess.Popen[str]:
    """Start `varsim run` on the first host, with workers on all hosts.

    Args:
        launcher: Its name; "": `arguments` name it, with its settings.
        out: A new folder for the run.
    """
    hosts: tuple[str, ...] = ()
    if launcher == RAY:
        address = f"{engines.lab.hosts[0].address}:{PORT}"
        hosts = ("--address", address, "--hosts", str(len(engines.names)))
    elif launcher not in (LOCAL, ""):
        hosts = ("--hosts", ",".join(engines.names))
    chosen = ("--launcher", launcher, *hosts) if launcher else ()
    command = ("-m", "varsim", "run", *arguments, *chosen, "--out", str(out))
    return engines.popen(
        0,
        [sys.executable, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], out: Path) -> RunOnHosts:
    """Wait for the end of a run; return its values.

    Raises:
        subprocess.TimeoutExpired: The run does not end.
    """
    output, _ = process.communicate(timeout=TIMEOUT_S)
    said = output[-1_500:]
    if not (out / "latest/history.db").exists():  # the run has not begun
        return RunOnHosts(process.returncode, said)
    return read(out / "latest", process.returncode, said)


def read(folder: Path, code: int = 0, said: str = "") -> RunOnHosts:
    """Read a run that has ended.

    Args:
        code: The exit code of its command.
        said: The end of its output.
    """
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    seen = {name: summary[name] for name in _COMPARED}
    for number, variable in enumerate(summary["variables"]):
        seen[f"variable {number}"] = {name: variable[name] for name in (*_OF_VARIABLES, "lens")}
    with closing(sqlite3.connect(folder / "history.db")) as history:
        events = tuple(history.execute(_VALUES))
        (found,) = history.execute("SELECT value FROM run WHERE key = 'hosts'").fetchall() or [()]
    hosts = {one["name"]: one["replicas"] for one in json.loads(found[0])} if found else {}
    return RunOnHosts(code, said, seen, events, hosts)


def run(engines: EngineLab, launcher: str, arguments: Iterable[str], out: Path) -> RunOnHosts:
    """Run `varsim run` on the first host, with workers on all hosts; see `start` and `finish`."""
    return finish(start(engines, launcher, arguments, out), out)
