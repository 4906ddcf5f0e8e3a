"""Network namespaces: enter them, find what is in them, and remove those that nothing uses.

The name of a namespace says which process made it. So a test run that was killed leaves
namespaces that the next lab finds and removes, and no lab touches those of a running one.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

from tests.waiting import MS, wait_for_exit

FOLDER: Final = Path("/run/netns")
"""Where `ip netns` keeps the names of namespaces."""

_PREFIX: Final = "varsim-lab"
_OWN: Final = "/proc/thread-self/ns/net"  # the namespace of the calling thread
_CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
_COMMAND_S: Final = 20_000 * MS


def run_ip(commands: Iterable[str], *, namespace: str | None = None) -> None:
    """Execute commands of `ip`, all in one process.

    Args:
        commands: Such as "link set lo up".
        namespace: The namespace in which they are executed; None: that of the calling thread.
    Raises:
        OSError: A command failed; the text has what it said.
    """
    where = () if namespace is None else ("-n", namespace)
    done = subprocess.run(
        ["ip", *where, "-batch", "-"],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        timeout=_COMMAND_S,
        check=False,
    )
    if done.returncode:
        raise OSError(f"ip failed: {done.stderr.strip()}")


def names_of_lab(lab: int, parts: Iterable[str]) -> list[str]:
    """Return the names of the namespaces of this process's lab with a number."""
    pid = os.getpid()
    return [f"{_PREFIX}-{pid}-{_start_time(pid)}-{lab}-{part}" for part in parts]


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Put the calling thread into a namespace. Its new sockets and processes stay there.

    A ZeroMQ context of which the first socket is made here belongs to the namespace, too: its
    thread for I/O starts here.
    """
    with Path(_OWN).open("rb") as own, (FOLDER / name).open("rb") as other:
        _set_namespace(other.fileno())
        try:
            yield
        finally:
            _set_namespace(own.fileno())


def processes_inside(name: str) -> list[int]:
    """Return the other processes whose main thread is in a namespace."""
    wanted = (FOLDER / name).stat().st_ino
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            with suppress(OSError):  # it has ended in the meantime
                if (process / "ns/net").stat().st_ino == wanted:
                    found.append(int(process.name))
    return found


def remove(names: Iterable[str]) -> None:
    """End the processes in namespaces, and remove the namespaces; ignore those that are gone."""
    present = [name for name in names if (FOLDER / name).exists()]
    for name in present:
        with suppress(OSError):  # another process removes the namespace, too
            for pid in processes_inside(name):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                wait_for_exit(pid)
    for name in present:
        try:
            run_ip([f"netns delete {name}"])
        except OSError:
            if (FOLDER / name).exists():
                raise


def remove_leftovers() -> None:
    """Remove the namespaces of labs whose processes have ended without removing them."""
    if not FOLDER.is_dir():
        return
    names = [path.name for path in FOLDER.iterdir() if path.name.startswith(f"{_PREFIX}-")]
    remove(name for name in names if not _owner_runs(name))


@cache
def why_impossible() -> str:
    """Return why this process cannot make hosts, and what to do; "" if it can."""
    if sys.platform != "linux":
        return "network namespaces exist only on Linux"
    if shutil.which("ip") is None:
        return "`ip` is not installed (Debian, Ubuntu: apt-get install iproute2)"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun is missing, or not for this user: run as root, with the module tun"
    (probe,) = names_of_lab(0, ["probe"])
    try:
        run_ip([f"netns add {probe}", f"netns delete {probe}"])
    except OSError as error:
        return f"network namespaces cannot be made: run as root ({error})"
    return ""


def _owner_runs(name: str) -> bool:
    pid, started = name.removeprefix(f"{_PREFIX}-").split("-")[:2]
    try:
        return _start_time(int(pid)) == started
    except OSError:
        return False


def _start_time(pid: int) -> str:
    """Return when a process started, in ticks since the system's start.

    The number of a process is used again; together with this time it is unique.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def _set_namespace(descriptor: int) -> None:
    # os.setns exists from Python 3.12 on.
    if _libc().setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
