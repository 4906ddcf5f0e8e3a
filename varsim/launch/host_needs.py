"""Check that the system provides what a cluster needs: open files, threads, standard streams.

Without these checks, libzmq would abort the program when the system refuses a file or a thread.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from varsim.errors import StartError
from varsim.threads import spare_threads
from varsim.transport.host_limits import ADDRESSES_BYTES, address_space

SPARE_FILES: Final = 64
"""Number of files for sockets, pipes, logs and the program, in addition to the open files."""

ZMQ_THREADS: Final = 2  # number of threads of each ZeroMQ context
_MOST_TRIED: Final = 256
"""Largest number of threads that are started as a test. Each thread takes about 20 µs."""

DOCTOR: Final = "`varsim doctor` shows the limits of this machine"

RAISE_PROCESSES: Final = (
    "raise the limit of processes (ulimit -u, or that of the container), or start fewer workers"
)
MORE_PROCESSES: Final = f"{RAISE_PROCESSES}. {DOCTOR}"


def ensure_host(num_workers: int) -> None:
    """Prepare this process for a cluster.

    Raises:
        StartError: The system does not provide what the cluster needs; the text says what to do.
        OSError: This process has no descriptor left.
    """
    ensure_open_files(num_workers)
    ensure_standard_streams()
    ensure_addresses()
    ensure_threads(num_workers)


def ensure_open_files(num_workers: int) -> None:
    """Raise the limit of open files to the number that the coordinator needs.

    Raises:
        StartError: The system does not allow so many files; the text says what to do.
    """
    if sys.platform == "win32":
        return
    import resource  # Windows does not have this module

    needed = files_needed(num_workers)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard < needed and hard != resource.RLIM_INFINITY:
        raise StartError(
            f"{num_workers} workers need about {needed} open files, but this process is allowed "
            f"only {hard}: raise the limit (ulimit -n {needed}), or start fewer workers. {DOCTOR}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def files_needed(num_workers: int) -> int:
    """Return how many open files the coordinator needs, including the files open now."""
    return num_workers + open_files() + SPARE_FILES


def open_files() -> int:
    """Return the number of open files of this process; 0 if the system does not show it."""
    # Do not leave a generator early: while Python closes a generator, a Ctrl-C is lost.
    for folder in (Path("/proc/self/fd"), Path("/dev/fd")):
        if folder.is_dir():
            return len(list(folder.iterdir()))
    return 0


def ensure_addresses() -> None:
    """Check that this process may use enough addresses for the threads of ZeroMQ.

    Raises:
        StartError: The limit is too low; the text says what to do.
    """
    spare = address_space()
    if spare is not None and spare < ADDRESSES_BYTES:
        raise StartError(
            f"this process may use only {spare // 2**20} MiB more of addresses, and a cluster "
            f"needs {ADDRESSES_BYTES // 2**20} MiB: raise the limit (ulimit -v). {DOCTOR}"
        )


def threads_needed(num_workers: int) -> int:
    """Return how many threads and processes a cluster of these workers adds."""
    fork_server, worker = 1, 1 + ZMQ_THREADS
    return ZMQ_THREADS + fork_server + num_workers * worker


def threads_tried(num_workers: int) -> int:
    """Return how many of these threads to start as a test that the system allows them."""
    # With limited addresses, try few threads: each reserves 64 MiB of addresses for its memory.
    if address_space() is not None:
        return ZMQ_THREADS
    return min(threads_needed(num_workers), _MOST_TRIED)


def ensure_threads(num_workers: int) -> None:
    """Check that the system allows the threads and processes of a cluster.

    Raises:
        StartError: The system does not allow so many; the text says what to do.
    """
    needed, tried = threads_needed(num_workers), threads_tried(num_workers)
    possible = spare_threads(tried)
    if possible < tried:
        raise StartError(
            f"{num_workers} workers need {needed} more processes and threads, but the system "
            f"allows only {possible} more: {MORE_PROCESSES}"
        )


def ensure_standard_streams() -> None:
    """Open a closed stdin, stdout or stderr of this process on /dev/null.

    Otherwise a socket gets the descriptor 0, 1 or 2, and the next program that prints to stderr
    writes into the socket.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        os.set_inheritable(descriptor, True)  # child processes inherit standard streams
        descriptor = os.dup(descriptor)
    os.close(descriptor)
