"""Check what this machine offers to a cluster, for `varsim doctor`: one function per subject.

A check and the start of a cluster call the same functions, so they have the same result. If a check
is not possible on this system, its result is NOT_CHECKED, and not OK.
"""

from __future__ import annotations

import mmap
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

import zmq

from varsim.errors import ConfigError, StartError
from varsim.launch import host_needs
from varsim.launch.logs import MAX_KEPT, kept_logs, remove_kept_logs
from varsim.processors import usable_processors
from varsim.texts.facts import times
from varsim.threads import spare_threads
from varsim.transport import arena
from varsim.transport.folders import (
    SOCKET_NAME,
    PrivateFolder,
    leftovers,
    new_path,
    new_socket_path,
    path_bytes_left,
    places,
    remove_leftovers,
    unusable_place,
)
from varsim.transport.host_limits import ADDRESSES_BYTES, address_space

OLDEST_PYTHON: Final = (3, 11)
OLDEST_LIBZMQ: Final = (4, 2)
"""The oldest libzmq that can use a port that is already open: the transport "tcp" needs this."""

LEAST_DISK_BYTES: Final = 100 * 2**20
"""Less free space is a problem: a short run needs less, but traces grow with the steps."""

LEAST_FILES: Final = 1000  # a run creates about 20 files; other programs also create files
LEAST_REGION_BYTES: Final = 2**24  # a smaller region has no room for a few large values
LEAST_MEMORY_BYTES: Final = 2**28
_DEV_SHM: Final = "/dev/shm"  # noqa: S108  # it is only looked at
_PROBE_BYTES: Final = 2**20
_DAY_S: Final = 86_400
_RUNS: Final = "folder of runs"


class State(Enum):
    """The result of a check."""

    OK = "ok"
    PROBLEM = "problem"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Check:
    """One checked subject."""

    subject: str
    state: State
    found: str  # what this machine has
    remedy: str = ""  # what to do; only for a problem


@dataclass(frozen=True, slots=True)
class Request:
    """What the user wants to do on this machine."""

    num_workers: int  # on this machine
    runs: Path | None  # the folder of the runs; None on a host that has none


Result = tuple[State, str] | tuple[State, str, str]


def check_host(request: Request) -> list[Check]:
    """Return the result of every check; a host without runs has no check of their folder."""
    without = _RUNS if request.runs is None else ""
    return [Check(subject, *check(request)) for subject, check in CHECKS if subject != without]


# ---------------------------------------------------------------- software


def _python(_: Request) -> Result:
    found = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return State.PROBLEM, found, f"use Python {_dotted(OLDEST_PYTHON)} or newer"
    return State.OK, found


def _zeromq(_: Request) -> Result:
    found = f"libzmq {zmq.zmq_version()}, pyzmq {zmq.pyzmq_version()}"
    if zmq.zmq_version_info()[:2] < OLDEST_LIBZMQ:
        oldest = _dotted(OLDEST_LIBZMQ)
        return State.PROBLEM, found, f"install a pyzmq with libzmq {oldest} or newer"
    return State.OK, found


def _curve(_: Request) -> Result:
    if zmq.has("curve"):
        return State.OK, "available, for transport: tcp"
    remedy = "use transport: ipc, or install pyzmq as a wheel, which contains CURVE"
    return State.PROBLEM, "not available, and transport: tcp needs it", remedy


# ---------------------------------------------------------------- limits


def _processors(request: Request) -> Result:
    usable = usable_processors()
    found = f"{usable} usable"
    if request.num_workers > usable:  # it is slow, and no problem
        return State.OK, f"{found}, which {request.num_workers} workers share"
    return State.OK, found


def _addresses(_: Request) -> Result:
    spare = address_space()
    if spare is None:
        return State.OK, "not limited"
    found = f"{_size(spare)} more; a cluster needs {_size(ADDRESSES_BYTES)} and its shared memory"
    if spare < ADDRESSES_BYTES:
        return State.PROBLEM, found, "raise the limit (ulimit -v)"
    return State.OK, found


def _shared_memory(request: Request) -> Result:
    if not arena.shared_memory_exists():
        return State.NOT_CHECKED, "this system has no anonymous files (memfd); exchange: star works"
    owners = request.num_workers + 1
    try:
        limit = arena.limit_bytes() // owners
        region = arena.region_size(limit, owners)
        _try_shared_memory(owners * region)
    except (OSError, ConfigError) as error:
        remedy = "use exchange: star, or raise the limits that the error names (ulimit -f, -v)"
        return State.PROBLEM, f"cannot be used: {error}", remedy
    found = f"up to {_size(owners * min(limit, region))} for {times(request.num_workers, 'worker')}"
    if region < min(limit, LEAST_REGION_BYTES):
        return (
            State.PROBLEM,
            f"{found}, because addresses are limited",
            "raise the limit (ulimit -v)",
        )
    free = _available_bytes()
    if free is None:
        return State.OK, f"{found}; the free memory is not checked on this system"
    found += f"; {_size(free)} of memory is free"
    if free < LEAST_MEMORY_BYTES:
        return State.PROBLEM, found, "end other programs, or use fewer workers"
    return State.OK, found


def _try_shared_memory(address_bytes: int) -> None:
    """Create, map and fill shared memory as a cluster does.

    Raises:
        OSError: The system does not allow it.
    """
    descriptor = arena.create_file()
    try:
        os.ftruncate(descriptor, address_bytes)
        with mmap.mmap(descriptor, address_bytes, mmap.MAP_SHARED):
            os.posix_fallocate(descriptor, 0, min(_PROBE_BYTES, address_bytes))
    finally:
        os.close(descriptor)


def _available_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def _dev_shm(_: Request) -> Result:
    folder = Path(_DEV_SHM)
    if not folder.is_dir():
        return State.NOT_CHECKED, "this system has no /dev/shm; varsim does not use it"
    usage = shutil.disk_usage(folder)
    found = f"{_size(usage.free)} of {_size(usage.total)} is free"
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return (
            State.NOT_CHECKED,
            f"{found}; not writable ({error.strerror}); varsim does not use it",
        )
    return State.OK, f"{found}; writable; varsim does not use it, but other libraries do"


def _open_files(request: Request) -> Result:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = host_needs.files_needed(request.num_workers)
    found = f"{_limit(soft)}, can be raised to {_limit(hard)}; a cluster needs about {needed:,}"
    if hard != resource.RLIM_INFINITY and hard < needed:
        return State.PROBLEM, found, f"raise the limit (ulimit -n {needed}), or use fewer workers"
    return State.OK, found


def _processes(request: Request) -> Result:
    needed = host_needs.threads_needed(request.num_workers)
    is_limited = address_space() is not None  # each thread reserves addresses
    tried = host_needs.threads_tried(request.num_workers) if is_limited else needed
    possible = spare_threads(tried)
    limit = _limit(resource.getrlimit(resource.RLIMIT_NPROC)[0])
    found = f"a cluster adds {needed:,}; possible: {possible:,}; limit of this user: {limit}"
    if possible < tried:
        return State.PROBLEM, found, host_needs.RAISE_PROCESSES
    if tried < needed:
        return State.NOT_CHECKED, f"{found}; more were not tried, because addresses are limited"
    return State.OK, found


# ---------------------------------------------------------------- files


def _socket_path(_: Request) -> Result:
    try:
        folder = new_socket_path()
    except StartError as error:
        return State.PROBLEM, str(error), "set TMPDIR to a directory with a short path"
    left = path_bytes_left(folder / SOCKET_NAME)
    found = f"in {folder.parent}, {left} bytes shorter than the limit"
    if folder.parent != places()[0]:
        found += f"; the path of {places()[0]} is too long"
    return State.OK, found


def _temporary_files(_: Request) -> Result:
    path = new_path()
    try:
        with PrivateFolder(path):
            note = f"; {unusable_place()} cannot be used" if unusable_place() else ""
            return _room_in(path.parent, "set TMPDIR to a directory with more room", note)
    except OSError as error:
        remedy = "set TMPDIR to a directory in which you can create files"
        return State.PROBLEM, f"{path.parent}: {error.strerror}", remedy


def _run_directory(request: Request) -> Result:
    folder = request.runs
    assert folder is not None, "`check_host` leaves this check out"
    try:
        folder = folder.absolute()
        while not folder.exists():
            folder = folder.parent
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        remedy = "run in another directory, or use --out with a directory that you can write"
        return State.PROBLEM, f"{folder}: {error.strerror}", remedy
    return _room_in(folder, "remove old runs (varsim runs --limit), or use --out")


def _room_in(folder: Path, remedy: str, note: str = "") -> Result:
    """Return whether a file system has room for a run; add a note about the folder."""
    space = os.statvfs(folder)
    free_bytes, free_files = space.f_bavail * space.f_frsize, space.f_favail
    found = f"{folder} is writable; {_size(free_bytes)} is free{note}"
    if free_bytes < LEAST_DISK_BYTES:
        return State.PROBLEM, found, remedy
    if space.f_files and free_files < LEAST_FILES:  # some file systems do not count files
        return State.PROBLEM, f"{found}; only {free_files} more files (inodes)", remedy
    return State.OK, found


def _clock(_: Request) -> Result:
    now_s, installed_s = time.time(), Path(__file__).stat().st_mtime
    found = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now_s))
    if now_s < installed_s - _DAY_S:
        return (
            State.PROBLEM,
            f"{found}, before the day on which varsim was installed",
            "set the clock; the names of runs and their order depend on it",
        )
    if time.get_clock_info("monotonic").adjustable:
        return State.PROBLEM, f"{found}; the monotonic clock can be set", "use another system"
    return State.OK, found


def _leftovers(_: Request) -> Result:
    where = ", ".join(map(str, places()))
    found = leftovers()
    if not found:
        return State.OK, f"no folders of killed programs in {where}"
    listed = ", ".join(
        f"{one.path} (process {one.process_id})" if one.process_id else str(one.path)
        for one in found
    )
    remedy = "`varsim doctor --clean` removes them, and so does the next start of a cluster"
    return State.PROBLEM, f"folders of killed programs: {listed}", remedy


def _lost_logs(_: Request) -> Result:
    found = kept_logs()
    if not found:
        return State.OK, "none is kept"
    listed = ", ".join(map(str, found))
    return State.OK, f"{listed} (at most {MAX_KEPT})", "`varsim doctor --clean` removes them"


def clean() -> list[Path]:
    """Remove the folders of killed programs and the logs of lost workers; return their paths."""
    return [*(one.path for one in remove_leftovers()), *remove_kept_logs()]


# ---------------------------------------------------------------- texts


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))


def _limit(number: int) -> str:
    return "unlimited" if number == resource.RLIM_INFINITY else f"{number:,}"


def _size(size_bytes: int) -> str:
    for unit, bytes_of_unit in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if size_bytes >= bytes_of_unit:
            return f"{size_bytes / bytes_of_unit:.1f} {unit}"
    return f"{size_bytes:,} bytes"


CHECKS: Final[Sequence[tuple[str, Callable[[Request], Result]]]] = (
    ("Python", _python),
    ("ZeroMQ", _zeromq),
    ("CURVE", _curve),
    ("processors", _processors),
    ("addresses", _addresses),
    ("shared memory", _shared_memory),
    (_DEV_SHM, _dev_shm),
    ("open files", _open_files),
    ("processes and threads", _processes),
    ("path of sockets", _socket_path),
    ("temporary files", _temporary_files),
    (_RUNS, _run_directory),
    ("clock", _clock),
    ("leftovers", _leftovers),
    ("logs of lost workers", _lost_logs),
)
"""The subjects in the order in which they are shown, and their checks."""
