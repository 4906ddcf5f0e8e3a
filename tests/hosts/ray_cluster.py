"""A Ray cluster on the hosts of a lab: a head on the first host, and a node on each other one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

from tests.hosts import namespaces
from tests.hosts.engine_lab import EngineLab, command_of
from tests.hosts.lab import Host, Lab
from tests.leaks import MARK
from tests.waiting import MS, is_running, wait_for, wait_for_exit

PORT: Final = 6379
START_S: Final = 90_000 * MS
_MEMORY_BYTES: Final = 80 * 2**20  # of a node's object store: these tests store nothing there

HEALTH_CHECKS: Final = {"period_ms": 500, "timeout_ms": 10_000}
"""How soon Ray looks again at a node that has refused a connection. A node of a busy machine that
answers late is not lost."""

RECONNECT_S: Final = 10
"""How long the processes of Ray wait for a head that has ended."""

_HEAD: Final = "gcs/gcs_server"
_RAYLET: Final = "raylet/raylet"
_OF_RAY: Final = re.compile(r"/ray/|ray\.scripts|^ray::(?!RayAgent)")


def why_no_ray() -> str:
    """Return why these tests cannot run; "" if they can."""
    return "" if find_spec("ray") else "Ray is not installed (make ray)"


def require_ray() -> None:
    """Skip the test if Ray is not installed; fail if the tests must have it."""
    if why := why_no_ray():
        if os.environ.get("VARSIM_TEST_RAY") == "required":
            pytest.fail(f"Ray is required: {why}", pytrace=False)
        pytest.skip(why)


class RayCluster:
    """Nodes of Ray, each on a host of a lab, with two processors.

    Args:
        folder: A folder with a short path, because sockets are in it.
        temporary: Returns the folder for temporary files of a host; None: that of this process.
    """

    def __init__(
        self,
        lab: Lab,
        folder: Path,
        processors: int = 2,
        temporary: Callable[[int], Path] | None = None,
    ) -> None:
        self.lab = lab
        self.address = f"{lab.hosts[0].address}:{PORT}"
        checks = {f"RAY_health_check_{name}": str(one) for name, one in HEALTH_CHECKS.items()}
        self.settings = {
            **checks,
            "RAY_health_check_failure_threshold": "3",
            "RAY_gcs_rpc_server_reconnect_timeout_s": str(RECONNECT_S),
            "RAY_AUTH_MODE": "disabled",  # the lab is closed
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self.environment = {
            **{name: one for name, one in os.environ.items() if not name.startswith("RAY_")},
            **self.settings,
            "HOME": str(folder),  # Ray writes a key into it
        }
        self._folder = folder
        self.temporary = folder / "temporary"
        """The folder for temporary files of all processes on the nodes, if `temporary` is None."""
        self.temporary.mkdir()
        self.environment["TMPDIR"] = str(self.temporary)
        self._of_head = folder / "0"
        self._processors = processors
        self._temporary = temporary
        self.start()

    def start(self) -> None:
        """Start Ray on the hosts without it, and wait until it is there."""
        for host in self.lab.hosts:
            if not self.processes(host.number, _RAYLET):
                self._start(host, self._processors)
        wait_for(self._is_complete, START_S, what="a raylet on each host")

    def restore(self) -> None:
        """Start again what has ended: a node, or with the head the whole cluster."""
        has_head = bool(self.processes(0, _HEAD))
        for host in self.lab.hosts:
            if not (has_head and self.processes(host.number, _RAYLET)):
                self.end(host)
        if not has_head:  # it would find the address of the old one there
            shutil.rmtree(self._of_head, ignore_errors=True)
        self.start()

    def end(self, host: Host) -> None:
        """End all processes of a host, except services that belong to no cluster of Ray."""
        for process in self.processes(host.number, ""):
            with suppress(OSError):
                if is_of_ray(command_of(process)):
                    os.kill(process, signal.SIGKILL)
                    wait_for_exit(process)

    def _start(self, host: Host, processors: int) -> None:
        is_head = host.number == 0
        role = (
            ["--head", f"--port={PORT}", "--include-dashboard=false"]
            if is_head
            else [f"--address={self.address}"]
        )
        sizes = [f"--num-cpus={processors}", f"--object-store-memory={_MEMORY_BYTES}"]
        command = [
            "start",
            *role,
            f"--temp-dir={self._of_head}",
            *sizes,
            f"--node-ip-address={host.address}",
            "--block",
        ]
        self.lab.popen(
            host,
            [*self._mounting(host), sys.executable, "-m", "ray.scripts.scripts", *command],
            # Ray starts processes at any time, so the check for leaks must not count them. They
            # end with the lab.
            env={name: one for name, one in self._environment_of(host).items() if name != MARK},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if is_head:
            wait_for(lambda: _listens(host, PORT), START_S, what="the head of Ray")

    def _mounting(self, host: Host) -> list[str]:
        """Return the begin of a command that gives a host a folder of its own for sockets.

        Ray uses the same path on all nodes. The head's folder is at this path for programs, too.
        """
        own = self._folder / str(host.number)
        own.mkdir(exist_ok=True)
        if own == self._of_head:
            return []
        script = 'mount --bind "$1" "$2"; shift 2; exec "$@"'
        return ["unshare", "--mount", "sh", "-ec", script, "sh", str(own), str(self._of_head)]

    def _environment_of(self, host: Host) -> dict[str, str]:
        if self._temporary is None:
            return self.environment
        return {**self.environment, "TMPDIR": str(self._temporary(host.number))}

    def _is_complete(self) -> bool:
        return all(self.processes(host.number, _RAYLET) for host in self.lab.hosts)

    def popen(self, arguments: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program on the host of the head."""
        return self.lab.popen(self.lab.hosts[0], arguments, env=self.environment, **options)

    def raylet(self, number: int) -> int:
        """Return the process of Ray that serves a node."""
        return self.processes(number, _RAYLET)[0]

    def head(self) -> int:
        """Return the process of Ray that knows the state of the cluster."""
        return self.processes(0, _HEAD)[0]

    def processes(self, number: int, part: str) -> list[int]:
        """Return the processes of a host whose command has a part."""
        found = []
        for process in namespaces.processes_inside(self.lab.hosts[number].namespace):
            try:
                command = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if part in command and is_running(process):
                found.append(process)
        return found


def is_of_ray(command: str) -> bool:
    """Return whether a command is one of Ray itself: not an actor that runs an agent of varsim."""
    return _OF_RAY.search(command) is not None


@contextmanager
def ray_for(engines: EngineLab) -> Iterator[RayCluster]:
    """Return a Ray cluster on the hosts of a lab, whose programs can use it."""
    with ray_cluster(engines.lab, engines.temporary) as made:
        engines.variables.update(made.settings)
        engines.is_service = is_of_ray
        yield made


def _listens(host: Host, port: int) -> bool:
    with namespaces.inside(host.namespace):
        lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()
    return any(
        line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines[1:]
    )


@contextmanager
def ray_cluster(lab: Lab, temporary: Callable[[int], Path] | None = None) -> Iterator[RayCluster]:
    """Return a Ray cluster on all hosts of a lab. It ends with the lab's processes.

    Args:
        temporary: See `RayCluster`.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    try:
        yield RayCluster(lab, folder, temporary=temporary)
    finally:
        killed = [one for host in lab.hosts for one in namespaces.processes_inside(host.namespace)]
        for process in killed:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for process in killed:  # one that still ends writes into the folder
            wait_for_exit(process)
        shutil.rmtree(folder, ignore_errors=True)
