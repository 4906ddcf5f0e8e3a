"""The machine and the versions that figures were measured with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import zmq

import varsim
from varsim.report.bench import Machine

_PACKAGES: Final = ("numpy", "pyzmq", "msgpack")


def this_machine() -> Machine:
    """What the system tells; its load is that before this program's own, if it is asked first."""
    return Machine(
        host=platform.node(),
        processor=_processor(),
        cores=_cores(),
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.release()}",
        load_before=_load(),
    )


def versions() -> dict[str, str]:
    """Of varsim, of Python, and of what moves and adds the bytes."""
    return {
        "varsim": varsim.__version__,
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "libzmq": zmq.zmq_version(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # put on the path by hand
        return "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None
